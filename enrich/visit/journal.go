package visit

import (
	"slices"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// journal is the events of one identity that may still change a visit. It is
// either open, with its entries at hand, or packed.
type journal struct {
	id         ID
	who        Identity
	consentSeq uint64
	// applied is the highest offset seen; a record at or below it changes nothing.
	applied        int64
	lastReceivedMs int64

	packed []byte // nil while open

	entries []Entry
	tags    []uint64 // of the entries' ids, to look one up
	spans   []span
	tail    tail // of the last span
	// textBytes is about what the entries' texts take in a record.
	textBytes int
	rules     uint64
	folded    *base // what the first span goes on from
	foldedTo  *position

	// dirty: a visit or a removal has not been sent. written: the journal stands on
	// visits.state as it is.
	dirty, written bool
	removals       []*metivav1.Visit
	size, openSize int64 // as counted by the set

	older, newer *journal // by applied
}

// position is a place in the order of entries.
type position struct {
	atMs int64
	id   ID
}

// result is what became of an entry.
type result int

const (
	added    result = iota
	addedOut        // of order
	repeated
	lost // before what is folded away
)

// add takes one event in. It needs an open journal.
func (j *journal) add(r *Rules, e *Entry) result {
	known := j.find(&e.ID)
	if known >= 0 && !e.replaces(&j.entries[known]) {
		return repeated
	}
	if p := j.foldedTo; p != nil && !comesBefore(p.atMs, &p.id, e.AtMs, &e.ID) {
		return lost
	}
	n := len(j.entries)
	if known < 0 && (len(j.spans) == 0 || j.rules == r.hash) && (n == 0 || j.entries[n-1].before(e)) {
		j.append(r, e)
		return added
	}
	before := j.heads()
	if known >= 0 {
		j.entries, j.tags = slices.Delete(j.entries, known, known+1), slices.Delete(j.tags, known, known+1)
	}
	at := len(j.entries)
	for at > 0 && e.before(&j.entries[at-1]) {
		at--
	}
	j.entries, j.tags = slices.Insert(j.entries, at, *e), slices.Insert(j.tags, at, tag(&e.ID))
	j.weigh()
	j.respan(r, before, at, e.Offset)
	if n == 0 || at == n {
		return added
	}
	return addedOut
}

// find is the place of the entry with an id, or -1.
func (j *journal) find(id *ID) int {
	t := tag(id)
	for i := len(j.tags) - 1; i >= 0; i-- {
		if j.tags[i] == t && j.entries[i].ID == *id {
			return i
		}
	}
	return -1
}

// append adds an event after all others.
func (j *journal) append(r *Rules, e *Entry) {
	j.rules = r.hash
	if len(j.spans) == 0 || j.tail.begins(r, e) {
		j.spans = append(j.spans, span{})
		j.tail.first(r, e)
	} else {
		j.tail.next(e)
	}
	last := &j.spans[len(j.spans)-1]
	last.n++
	last.offset, last.dirty = e.Offset, true
	j.textBytes += e.textBytes(j.last())
	j.entries, j.tags = append(j.entries, *e), append(j.tags, tag(&e.ID))
}

// last is the last entry, or nil.
func (j *journal) last() *Entry {
	if len(j.entries) == 0 {
		return nil
	}
	return &j.entries[len(j.entries)-1]
}

// weigh computes textBytes anew.
func (j *journal) weigh() {
	j.textBytes = 0
	var previous *Entry
	for i := range j.entries {
		j.textBytes += j.entries[i].textBytes(previous)
		previous = &j.entries[i]
	}
}

// head is what a visit is known by, and what its removal has to say.
type head struct {
	span
	id            ID
	visitKey      ID
	startedMs     int64
	resolution    *metivav1.Resolution
	retentionDays uint32
}

// heads are those of the present spans.
func (j *journal) heads() []head {
	out := make([]head, 0, len(j.spans))
	rest := j.entries
	for i, sp := range j.spans {
		h := head{span: sp}
		entries := rest[:sp.n]
		rest = rest[sp.n:]
		if i == 0 && j.folded != nil {
			v := j.folded.sum.v
			h.id, h.visitKey, h.startedMs = ID(v.GetVisitId()), ID(v.GetVisitKey()), v.GetStartedAtMs()
			h.resolution, h.retentionDays = v.GetResolution(), v.GetRetentionDays()
		} else {
			first := &entries[0]
			h.id, h.visitKey, h.startedMs, h.resolution = j.who.visitID(&first.ID), first.VisitKey, first.AtMs, first.Resolution
		}
		for k := range entries {
			h.retentionDays = max(h.retentionDays, entries[k].RetentionDays)
			if accountOf(h.resolution) == "" && entries[k].account() != "" {
				h.resolution = entries[k].Resolution
			}
		}
		out = append(out, h)
	}
	return out
}

// respan divides the entries anew after the record at an offset has put an entry at
// a place, and marks what that has changed. A visit depends on its own entries only,
// which are consecutive and begin with the one it is named after: with the same first
// and as many, and without the new one, they are the same.
func (j *journal) respan(r *Rules, before []head, at int, offset int64) {
	j.spans, j.tail = spansOf(j.spans, r, j.folded, j.entries)
	j.rules = r.hash
	after := j.heads()
	start := 0
	for i := range after {
		now := &after[i]
		was := headOf(before, &now.id)
		holds := start <= at && at < start+now.n
		start += now.n
		sp := &j.spans[i]
		if was == nil || was.n != now.n || holds {
			sp.offset, sp.dirty = offset, true
		} else {
			sp.offset, sp.dirty = was.offset, was.dirty
		}
		if was != nil {
			if account := accountOf(was.resolution); account != "" && account != accountOf(now.resolution) {
				j.remove(was)
			}
		}
	}
	for i := range before {
		if headOf(after, &before[i].id) == nil {
			j.remove(&before[i])
		}
	}
}

func headOf(heads []head, id *ID) *head {
	for i := range heads {
		if heads[i].id == *id {
			return &heads[i]
		}
	}
	return nil
}

// remove says that a visit, as it was last known, is no more.
func (j *journal) remove(h *head) {
	j.removals = append(j.removals, &metivav1.Visit{
		VisitId: bytesOf(&h.id), CompanyId: j.who.CompanyID, BrandId: j.who.BrandID, SiteId: j.who.SiteID, VisitKey: bytesOf(&h.visitKey),
		StartedAtMs: h.startedMs, RetentionDays: h.retentionDays, Resolution: h.resolution, Removed: true, Version: versionOf(h.offset) + 1,
	})
}

// take moves what has not been sent to dst.
func (j *journal) take(dst []*metivav1.Visit) []*metivav1.Visit {
	dst = append(dst, j.removals...)
	j.removals = nil
	rest := j.entries
	for i := range j.spans {
		sp := &j.spans[i]
		if sp.dirty {
			dst = append(dst, visitOf(&j.who, j.baseOf(i), rest[:sp.n], sp.offset))
			sp.dirty = false
		}
		rest = rest[sp.n:]
	}
	j.dirty = false
	return dst
}

func (j *journal) baseOf(span int) *base {
	if span == 0 {
		return j.folded
	}
	return nil
}

// textBytesMax keeps a journal's record under what Kafka takes: with the texts of
// its entries and a folded visit it is below 512 KiB.
const textBytesMax = 192 << 10

// fold makes room when there are more entries than entriesMax, or more text than
// textBytesMax: the oldest visits leave, then the oldest events of the last one become sums. What has not been sent is
// moved to dst first. It reports how many entries went.
func (j *journal) fold(r *Rules, entriesMax int, dst []*metivav1.Visit) ([]*metivav1.Visit, int) {
	had := len(j.entries)
	if had <= entriesMax && j.textBytes <= textBytesMax {
		return dst, 0
	}
	entriesMax = min(entriesMax, had)
	keep := entriesMax - entriesMax/4
	dst = append(dst, j.removals...)
	j.removals = nil
	for len(j.spans) > 1 && len(j.entries) > keep {
		first := j.spans[0]
		if first.dirty {
			dst = append(dst, visitOf(&j.who, j.folded, j.entries[:first.n], first.offset))
		}
		j.drop(first.n)
		j.spans = slices.Delete(j.spans, 0, 1)
		j.folded = nil
	}
	if n := len(j.entries) - keep; n > 0 {
		s := sumOf(&j.who, j.folded, j.entries[:n])
		_, t := spansOf(nil, r, j.folded, j.entries[:n])
		j.folded = &base{tail: t, sum: s}
		j.drop(n)
		j.spans[0].n -= n
		j.spans[0].offset, j.spans[0].dirty = j.applied, true // it says so (Visit.folded)
	}
	j.weigh()
	return dst, had - len(j.entries)
}

// drop takes the first entries away.
func (j *journal) drop(n int) {
	if n == 0 {
		return
	}
	last := &j.entries[n-1]
	j.foldedTo = &position{atMs: last.AtMs, id: last.ID}
	j.entries, j.tags = slices.Delete(j.entries, 0, n), slices.Delete(j.tags, 0, n)
}

// removeAll says that every visit of the journal is no more.
func (j *journal) removeAll() {
	for _, h := range j.heads() {
		j.remove(&h)
	}
}
