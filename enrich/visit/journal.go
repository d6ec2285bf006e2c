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

	rows
	spans    []span
	only     [1]span // the memory of spans for most journals
	tail     tail    // of the last span
	rules    uint64
	folded   *base // what the first span goes on from
	foldedTo *position

	// dirty: a visit or a removal has not been sent. written: the journal stands on
	// visits.state as it is.
	dirty, written bool
	// queued: it is among the set's unwritten.
	queued         bool
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

// take takes one event in. It needs an open journal.
func (j *journal) take(r *Rules, e *Entry) result {
	known, n := -1, len(j.entries)
	at := position{atMs: e.AtMs, id: e.ID}
	if n > 0 {
		known = j.find(&e.ID)
	}
	if known >= 0 && !replaces(e.AtMs, e.ReceivedMs, &j.entries[known]) {
		return repeated
	}
	if p := j.foldedTo; p != nil && !p.before(at) {
		return lost
	}
	if known < 0 && (len(j.spans) == 0 || j.rules == r.hash) && (n == 0 || j.entries[n-1].position().before(at)) {
		j.append(r, e)
		return added
	}
	before := j.heads()
	if known >= 0 {
		j.remove(known, known+1)
	}
	place := len(j.entries)
	for place > 0 && at.before(j.entries[place-1].position()) {
		place--
	}
	j.insert(place, e)
	j.respan(r, before, place, e.Offset)
	if n == 0 || place == n {
		return added
	}
	return addedOut
}

// append adds an event after all others.
func (j *journal) append(r *Rules, e *Entry) {
	j.rules = r.hash
	if j.spans == nil {
		j.spans = j.only[:0]
	}
	if len(j.spans) == 0 || j.tail.begins(r, e) {
		j.spans = append(j.spans, span{})
		j.tail.first(r, e)
	} else {
		j.tail.next(e)
	}
	last := &j.spans[len(j.spans)-1]
	last.n++
	last.offset, last.dirty = e.Offset, true
	j.add(e)
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
	rest := j.all()
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
	j.spans, j.tail = spansOf(j.spans, r, j.folded, j.all())
	j.tail.campaign = j.tail.campaign.clone()
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
				j.end(was, endOf(offset))
			}
		}
	}
	for i := range before {
		if headOf(after, &before[i].id) == nil {
			j.end(&before[i], endOf(offset))
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

// end says that a visit, as it was last known, is no more, under a version above all
// that it had: of the record that ends it, since a replay may have sent the visit again
// under that of the log's end (ADR 0039).
func (j *journal) end(h *head, version uint64) {
	j.removals = append(j.removals, &metivav1.Visit{
		VisitId: bytesOf(&h.id), CompanyId: j.who.CompanyID, BrandId: j.who.BrandID, SiteId: j.who.SiteID, VisitKey: bytesOf(&h.visitKey),
		StartedAtMs: h.startedMs, RetentionDays: h.retentionDays, Resolution: h.resolution, Removed: true, Version: max(versionOf(h.offset)+1, version),
	})
}

// emit gives what has not been sent: the removals, then the visits, each valid until
// emit returns.
func (j *journal) emit(in *scratch, emit func(*metivav1.Visit)) {
	for _, v := range j.removals {
		emit(v)
	}
	j.removals = nil
	j.emitSpans(in, len(j.spans), emit)
	j.dirty = false
}

// emitSpans gives those of the first spans that have not been sent.
func (j *journal) emitSpans(in *scratch, count int, emit func(*metivav1.Visit)) {
	rest, read, isRead := j.entries, reading{}, false
	for i := range j.spans[:count] {
		sp := &j.spans[i]
		if sp.dirty {
			if !isRead {
				read, isRead = j.read(), true
			}
			emit(j.visitOf(in, &read, i, rest[:sp.n]))
			sp.dirty = false
		}
		rest = rest[sp.n:]
	}
}

// visitOf makes the message of one span: in the scratch, or without one in memory of
// its own.
func (j *journal) visitOf(in *scratch, read *reading, at int, rows []row) *metivav1.Visit {
	from := j.baseOf(at)
	s := j.sumOf(in, read, from, rows)
	if from != nil {
		s.v.Folded = true
	}
	return s.finish(&j.who, j.spans[at].offset)
}

// sumOf adds up the events of one visit.
func (j *journal) sumOf(in *scratch, read *reading, from *base, rows []row) sum {
	var s sum
	var e Entry
	if from != nil {
		s = from.sum.clone()
	}
	for i := range rows {
		read.entry(&e, &rows[i])
		if s.v == nil {
			s = begin(&j.who, &e, in)
		}
		s.add(&e)
	}
	return s
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
// textBytesMax: the oldest visits leave, then the oldest events of the last one become
// sums. What has not been sent is moved to dst first. It reports how many entries went.
func (j *journal) fold(r *Rules, entriesMax int, dst []*metivav1.Visit) ([]*metivav1.Visit, int) {
	had := len(j.entries)
	if had <= entriesMax && j.textBytes() <= textBytesMax {
		return dst, 0
	}
	entriesMax = min(entriesMax, had)
	keep := entriesMax - entriesMax/4
	dst = append(dst, j.removals...)
	j.removals = nil
	leaving, gone := 0, 0 // spans and entries
	for leaving < len(j.spans)-1 && had-gone > keep {
		gone += j.spans[leaving].n
		leaving++
	}
	if leaving > 0 {
		j.emitSpans(nil, leaving, func(v *metivav1.Visit) { dst = append(dst, v) })
		j.spans = slices.Delete(j.spans, 0, leaving)
		j.folded = nil
	}
	if n := had - gone - keep; n > 0 {
		read := j.read()
		s := j.sumOf(nil, &read, j.folded, j.entries[gone:gone+n])
		_, t := spansOf(nil, r, j.folded, j.all()[gone:gone+n])
		t.campaign = t.campaign.clone()
		j.folded = &base{tail: t, sum: s.detached()}
		gone += n
		j.spans[0].n -= n
		j.spans[0].offset, j.spans[0].dirty = j.applied, true // it says so (Visit.folded)
	}
	if gone > 0 {
		to := j.entries[gone-1].position()
		j.foldedTo = &to
		j.remove(0, gone)
	}
	return dst, gone
}

// removeAll says that every visit of the journal is no more from an offset on.
func (j *journal) removeAll(at int64) {
	for _, h := range j.heads() {
		j.end(&h, endOf(at))
	}
}
