package visit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Limits bound a set. Zero values mean the default.
type Limits struct {
	// EntriesMax is how many events a journal holds (default 2,000).
	EntriesMax int
	// BytesMax is how much memory the journals may take, about (default 32 MiB).
	BytesMax int
	// LatenessMax is how long after it occurred an event may be received (default 24
	// hours: the collector takes no older one).
	LatenessMax time.Duration
}

// entriesCeiling keeps a journal's record under what Kafka takes.
const entriesCeiling = 3000

// Validate reports every fault of the limits.
func (l Limits) Validate() error {
	var faults []error
	if l.EntriesMax < 0 || l.EntriesMax > entriesCeiling || l.EntriesMax > 0 && l.EntriesMax < 8 {
		faults = append(faults, fmt.Errorf("visit: EntriesMax %d is not between 8 and 3000", l.EntriesMax))
	}
	if l.BytesMax < 0 {
		faults = append(faults, errors.New("visit: BytesMax is negative"))
	}
	if l.LatenessMax < 0 {
		faults = append(faults, errors.New("visit: LatenessMax is negative"))
	}
	return errors.Join(faults...)
}

func (l Limits) withDefaults() Limits {
	if l.EntriesMax == 0 {
		l.EntriesMax = 2000
	}
	if l.BytesMax == 0 {
		l.BytesMax = 32 << 20
	}
	if l.LatenessMax == 0 {
		l.LatenessMax = 24 * time.Hour
	}
	return l
}

// Counts are what a set has met since it was made.
type Counts struct {
	// Added is every event taken in; Late those among them that came out of order.
	Added, Late uint64
	// Repeated were taken in before; Lost came late for what is folded away.
	Repeated, Lost uint64
	// Folded is the events that left a full journal as sums or in finished visits.
	Folded uint64
	// EvictedByAge and EvictedBySize are journals that left.
	EvictedByAge, EvictedBySize uint64
	// Dropped is journals of visitors or tenants who were erased or have withdrawn.
	Dropped uint64
	// Unreadable is journals that could not be read back.
	Unreadable uint64
}

// Set is the journals of a partition.
type Set struct {
	limits   Limits
	rulesOf  func(companyID, siteID string) *Rules
	counts   Counts
	journals map[ID]*journal
	// leaving have been evicted and are on visits.state as they were, or will be, until
	// a checkpoint after that.
	leaving map[ID]*journal
	// unwritten is what visits.state does not have as it is.
	unwritten map[ID]*journal
	dirty     []*journal
	out       []*metivav1.Visit
	gone      []ID // dropped: to be removed from visits.state at once

	oldest, newest *journal
	// bytes is what the journals take, about, openBytes those of them that are open,
	// leavingBytes those that are leaving.
	bytes, openBytes, leavingBytes int64
	// texts are shared by the entries; the map is begun anew when it is full.
	texts    map[string]string
	next     int64
	streamMs int64
}

// NewSet makes an empty set. rulesOf gives a site's rules, never nil.
func NewSet(limits Limits, rulesOf func(companyID, siteID string) *Rules) *Set {
	return &Set{
		limits: limits.withDefaults(), rulesOf: rulesOf,
		journals: make(map[ID]*journal), leaving: make(map[ID]*journal), unwritten: make(map[ID]*journal),
		texts: make(map[string]string),
	}
}

// textsMax is how many texts are shared at a time.
const textsMax = 4096

// textSharedBytesMax bounds each of them: they are not counted in the set's bytes.
const textSharedBytesMax = 256

// entryOf makes an entry that keeps nothing of the event's memory. previous is the
// journal's last one: most of its texts are the same.
func (s *Set) entryOf(e *metivav1.EnrichedEvent, offset int64, previous *Entry) Entry {
	entry := EntryOf(e, offset)
	var none Entry
	if previous == nil {
		previous = &none
	}
	known := previous.texts()
	for i, text := range entry.texts() {
		if *text == *known[i] {
			*text = *known[i] // the same memory
		} else if *text != "" {
			*text = s.shared(*text)
		}
	}
	switch {
	case entry.Resolution == nil:
	case previous.Resolution != nil && sameResolution(previous.Resolution, entry.Resolution):
		entry.Resolution = previous.Resolution
	default:
		entry.Resolution = proto.CloneOf(entry.Resolution)
	}
	return entry
}

func (s *Set) shared(text string) string {
	if len(text) > textSharedBytesMax {
		return strings.Clone(text)
	}
	known, ok := s.texts[text]
	if !ok {
		if len(s.texts) >= textsMax {
			clear(s.texts)
		}
		known = strings.Clone(text)
		s.texts[known] = known
	}
	return known
}

// Advance says that a record has been dealt with, whether or not it was an
// event of a visit. receivedMs of zero is not known.
func (s *Set) Advance(offset, receivedMs int64) {
	s.next = max(s.next, offset+1)
	s.streamMs = max(s.streamMs, receivedMs)
}

// Next is the offset behind the last record dealt with.
func (s *Set) Next() int64 { return s.next }

// Apply takes the event of a record in. The event must have passed the
// envelope's checks. An offset that the event's journal has seen changes nothing.
func (s *Set) Apply(e *metivav1.EnrichedEvent, offset int64) {
	s.Advance(offset, 0)
	if e.GetBot() != metivav1.BotClass_BOT_CLASS_NONE || len(e.GetEventId()) != schemas.IDBytes || len(e.GetVisitKey()) != schemas.IDBytes {
		return
	}
	who := Identity{CompanyID: e.GetCompanyId(), BrandID: e.GetBrandId(), SiteID: e.GetSiteId(), Key: ID(e.GetVisitKey())}
	if len(e.GetVisitorId()) == schemas.IDBytes {
		who.Key, who.IsVisitor = ID(e.GetVisitorId()), true
	}
	rules := s.rulesOf(who.CompanyID, who.SiteID)
	j := s.journal(&who)
	if offset <= j.applied {
		return
	}
	if err := j.open(rules); err != nil {
		s.counts.Unreadable++
		j.packed = nil
	}
	j.applied = offset
	j.lastReceivedMs = max(j.lastReceivedMs, receivedMs(e))
	j.consentSeq = max(j.consentSeq, e.GetConsentSeq())
	entry := s.entryOf(e, offset, j.last())
	switch j.add(rules, &entry) {
	case repeated:
		s.counts.Repeated++
	case lost:
		s.counts.Lost++
	case addedOut:
		s.counts.Late++
		fallthrough
	case added:
		s.counts.Added++
		var folded int
		s.out, folded = j.fold(rules, s.limits.EntriesMax, s.out)
		s.counts.Folded += uint64(folded)
		if !j.dirty {
			j.dirty = true
			s.dirty = append(s.dirty, j)
		}
	}
	j.written = false
	s.unwritten[j.id] = j
	s.touch(j)
	s.measure(j)
	for s.bytes > int64(s.limits.BytesMax) && s.oldest != j {
		s.counts.EvictedBySize++
		s.evict(s.oldest)
	}
}

// Renew is to be called before Apply. An event with a later consent than its journal
// has seen must not hide that the former one was taken back: the journal is dropped
// first if revoked says so of it as it stands.
func (s *Set) Renew(e *metivav1.EnrichedEvent, revoked func(Subject) bool) {
	if len(e.GetVisitorId()) != schemas.IDBytes {
		return
	}
	who := Identity{CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), Key: ID(e.GetVisitorId()), IsVisitor: true}
	id := who.journalID()
	j := s.journals[id]
	if j == nil {
		j = s.leaving[id]
	}
	if j != nil && j.consentSeq < e.GetConsentSeq() && revoked(j.subject()) {
		s.drop(j)
	}
}

// receivedMs is when an event was received: not after it was worked on, whatever the
// collector's clock says. A journal from the future would never leave, and would hold
// those behind it.
func receivedMs(e *metivav1.EnrichedEvent) int64 {
	if at := e.GetEnrichedAtMs(); at > 0 {
		return min(at, e.GetReceivedAtMs())
	}
	return e.GetReceivedAtMs()
}

// journal finds or makes the journal of an identity.
func (s *Set) journal(who *Identity) *journal {
	id := who.journalID()
	if j, ok := s.journals[id]; ok {
		return j
	}
	j, ok := s.leaving[id]
	if ok {
		delete(s.leaving, id)
		s.leavingBytes -= j.size
		j.size = 0
	} else {
		j = &journal{id: id, who: *who, applied: -1}
		j.who.CompanyID, j.who.BrandID, j.who.SiteID = s.shared(who.CompanyID), s.shared(who.BrandID), s.shared(who.SiteID)
	}
	s.journals[id] = j
	s.touch(j)
	s.measure(j)
	return j
}

// What a journal takes besides its packed form, an entry without its texts, and
// those of one at the least.
const (
	journalBytes    = int64(unsafe.Sizeof(journal{})) + 96
	entryBytes      = int64(unsafe.Sizeof(Entry{}))
	entryTextsBytes = 96
)

func (s *Set) measure(j *journal) {
	n := int64(len(j.entries))
	size := journalBytes + int64(len(j.packed)) + n*entryBytes + max(n*entryTextsBytes, int64(j.textBytes))
	s.bytes += size - j.size
	j.size = size
	open := int64(0)
	if j.packed == nil {
		open = size
	}
	s.openBytes += open - j.openSize
	j.openSize = open
}

// unmeasure takes a journal out of the set's sums.
func (s *Set) unmeasure(j *journal) {
	s.bytes -= j.size
	s.openBytes -= j.openSize
	j.size, j.openSize = 0, 0
}

// touch makes j the newest.
func (s *Set) touch(j *journal) {
	if s.newest == j {
		return
	}
	s.unlink(j)
	j.older = s.newest
	if s.newest != nil {
		s.newest.newer = j
	}
	s.newest = j
	if s.oldest == nil {
		s.oldest = j
	}
}

func (s *Set) unlink(j *journal) {
	if j.older != nil {
		j.older.newer = j.newer
	}
	if j.newer != nil {
		j.newer.older = j.older
	}
	if s.oldest == j {
		s.oldest = j.newer
	}
	if s.newest == j {
		s.newest = j.older
	}
	j.older, j.newer = nil, nil
}

// evict takes a journal out of the set; it is held until a checkpoint.
func (s *Set) evict(j *journal) {
	s.settle(j)
	s.unlink(j)
	delete(s.journals, j.id)
	s.unmeasure(j)
	if j.packed == nil {
		packed, err := j.pack()
		if err != nil {
			s.counts.Unreadable++
		}
		j.close(packed)
	}
	j.size = journalBytes + int64(len(j.packed))
	s.leavingBytes += j.size
	s.leaving[j.id] = j
}

// settle moves what the journal has not sent to what is to be sent.
func (s *Set) settle(j *journal) {
	if j.dirty {
		s.out = j.take(s.out)
	}
}

// TakeVisits gives every visit that has changed since the last call, and the
// removals.
func (s *Set) TakeVisits() []*metivav1.Visit {
	for _, j := range s.dirty {
		s.settle(j)
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
	out := s.out
	s.out = nil
	return out
}

// Subject is whose journal it is, as far as revocations ask.
type Subject struct {
	CompanyID string
	// VisitorID is nil without a visitor.
	VisitorID  []byte
	ConsentSeq uint64
}

// DropIf takes out every journal of which revoked says so, and removes its
// visits. TakeGone then gives their ids.
func (s *Set) DropIf(revoked func(Subject) bool) {
	for _, journals := range []map[ID]*journal{s.journals, s.leaving} {
		for _, j := range journals {
			if revoked(j.subject()) {
				s.drop(j)
			}
		}
	}
}

func (j *journal) subject() Subject {
	subject := Subject{CompanyID: j.who.CompanyID, ConsentSeq: j.consentSeq}
	if j.who.IsVisitor {
		subject.VisitorID = j.who.Key[:]
	}
	return subject
}

func (s *Set) drop(j *journal) {
	s.counts.Dropped++
	if err := j.open(s.rulesOf(j.who.CompanyID, j.who.SiteID)); err != nil {
		s.counts.Unreadable++
	} else {
		j.removeAll()
		s.out = append(s.out, j.removals...)
	}
	j.dirty, j.removals = false, nil
	if _, leaving := s.leaving[j.id]; leaving {
		delete(s.leaving, j.id)
		s.leavingBytes -= j.size
	} else {
		s.unlink(j)
		delete(s.journals, j.id)
		s.unmeasure(j)
	}
	delete(s.unwritten, j.id)
	s.gone = append(s.gone, j.id)
}

// TakeGone gives the ids of the journals that were dropped since the last
// call: their records are to be removed. One that is there again (Renew) is written
// in place of the former.
func (s *Set) TakeGone() []ID {
	gone := slices.DeleteFunc(s.gone, func(id ID) bool { return s.journals[id] != nil || s.leaving[id] != nil })
	s.gone = nil
	return gone
}

// Counts are what the set has met so far.
func (s *Set) Counts() Counts { return s.counts }

// Size is the number of journals and the memory they take, about.
func (s *Set) Size() (journals int, bytes int64) {
	return len(s.journals) + len(s.leaving), s.bytes + s.leavingBytes
}
