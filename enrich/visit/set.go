package visit

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

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
	journals map[identity]*journal
	// leaving have been evicted and are on visits.state as they were, or will be, until
	// a checkpoint after that.
	leaving map[ID]*journal
	// unwritten is what visits.state does not have as it is, and what was queued and
	// dropped since.
	unwritten []*journal
	// recent is the journal that was looked up last, if it is still there.
	recent *journal
	// dirty have something to send; those before sent have been given.
	dirty []*journal
	sent  int
	// out is what left with something to send, in memory of its own.
	out  []*metivav1.Visit
	gone []*journal // dropped: to be removed from visits.state at once

	oldest, newest *journal
	// bytes is what the journals take, about, openBytes those of them that are open,
	// leavingBytes those that are leaving.
	bytes, openBytes, leavingBytes int64
	// texts and resolutions are shared by the journals; the maps are begun anew when
	// they are full.
	texts       map[string]string
	resolutions map[resolutionKey]*metivav1.Resolution
	next        int64
	streamMs    int64
	scratch     scratch
	entry       Entry  // of the event under way
	buffer      []byte // of what is packed
}

// identity is whose journal it is, as the set looks it up.
type identity struct {
	companyID, siteID string
	key               ID
	isVisitor         bool
}

func (i *Identity) identity() identity {
	return identity{companyID: i.CompanyID, siteID: i.SiteID, key: i.Key, isVisitor: i.IsVisitor}
}

// NewSet makes an empty set. rulesOf gives a site's rules, never nil.
func NewSet(limits Limits, rulesOf func(companyID, siteID string) *Rules) *Set {
	return &Set{
		limits: limits.withDefaults(), rulesOf: rulesOf,
		journals: make(map[identity]*journal), leaving: make(map[ID]*journal),
		texts: make(map[string]string), resolutions: make(map[resolutionKey]*metivav1.Resolution),
	}
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
	if err := s.open(j, rules); err != nil {
		s.counts.Unreadable++
		j.packed = nil
	}
	j.applied = offset
	j.lastReceivedMs = max(j.lastReceivedMs, receivedMs(e))
	j.consentSeq = max(j.consentSeq, e.GetConsentSeq())
	s.entryOf(&s.entry, e, offset, j)
	switch j.take(rules, &s.entry) {
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
	s.enqueue(j)
	s.touch(j)
	s.measure(j)
	for s.bytes > int64(s.limits.BytesMax) && s.oldest != j {
		s.counts.EvictedBySize++
		s.evict(s.oldest)
	}
}

// open makes the entries of a packed journal usable.
func (s *Set) open(j *journal, r *Rules) error {
	if j.packed == nil {
		return nil
	}
	if err := j.open(r); err != nil {
		return err
	}
	for i, own := range j.resolutions {
		j.resolutions[i] = s.sharedResolution(own)
	}
	return nil
}

// enqueue says that visits.state does not have the journal as it is.
func (s *Set) enqueue(j *journal) {
	j.written = false
	if !j.queued {
		j.queued = true
		s.unwritten = append(s.unwritten, j)
	}
}

// find is the journal of an identity, if the set has it.
func (s *Set) find(who *Identity) *journal {
	if j := s.held(who); j != nil || len(s.leaving) == 0 {
		return j
	}
	return s.leaving[who.journalID()]
}

// held is the journal of an identity that has not been evicted, or nil.
func (s *Set) held(who *Identity) *journal {
	if j := s.recent; j != nil && j.who.identity() == who.identity() {
		return j
	}
	j := s.journals[who.identity()]
	if j != nil {
		s.recent = j
	}
	return j
}

// release takes a journal out of the set's journals.
func (s *Set) release(j *journal) {
	if s.recent == j {
		s.recent = nil
	}
	s.unlink(j)
	delete(s.journals, j.who.identity())
	s.unmeasure(j)
}

// Renew is to be called before Apply. An event with a later consent than its journal
// has seen must not hide that the former one was taken back: the journal is dropped
// first if revoked says so of it as it stands.
func (s *Set) Renew(e *metivav1.EnrichedEvent, revoked func(Subject) bool) {
	if len(e.GetVisitorId()) != schemas.IDBytes {
		return
	}
	who := Identity{CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), Key: ID(e.GetVisitorId()), IsVisitor: true}
	j := s.find(&who)
	if j != nil && j.consentSeq < e.GetConsentSeq() && revoked(j.subject()) {
		s.drop(j, s.next-1) // the event at hand may make a visit
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
	if j := s.held(who); j != nil {
		return j
	}
	id := who.journalID()
	j, ok := s.leaving[id]
	if ok {
		delete(s.leaving, id)
		s.leavingBytes -= j.size
		j.size = 0
	} else {
		j = &journal{id: id, who: *who, applied: -1}
		j.who.CompanyID, j.who.BrandID, j.who.SiteID = s.shared(who.CompanyID), s.shared(who.BrandID), s.shared(who.SiteID)
	}
	s.journals[j.who.identity()] = j
	s.touch(j)
	s.measure(j)
	return j
}

// journalBytes is what a journal takes besides its packed form or its rows.
const journalBytes = int64(unsafe.Sizeof(journal{})) + 96

func (s *Set) measure(j *journal) {
	size := journalBytes + int64(len(j.packed)) + j.bytes()
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
	s.release(j)
	if j.packed == nil {
		j.close(s.pack(j))
	}
	j.size = journalBytes + int64(len(j.packed))
	s.leavingBytes += j.size
	s.leaving[j.id] = j
}

// pack is the journal's record; nil when it cannot be written, which is counted.
func (s *Set) pack(j *journal) []byte {
	var value []byte
	var err error
	if value, s.buffer, err = j.pack(s.buffer); err != nil {
		s.counts.Unreadable++
	}
	return value
}

// settle moves what the journal has not sent to what is to be sent.
func (s *Set) settle(j *journal) {
	if j.dirty {
		j.emit(nil, func(v *metivav1.Visit) { s.out = append(s.out, v) })
	}
}

// TakeVisits gives every visit that has changed since it was last given, and the
// removals, of up to max journals. A message is valid until emit returns. It reports
// whether there are more.
func (s *Set) TakeVisits(max int, emit func(*metivav1.Visit)) (more bool) {
	for _, v := range s.out {
		emit(v)
	}
	s.out = nil
	for to := min(s.sent+max, len(s.dirty)); s.sent < to; s.sent++ {
		if j := s.dirty[s.sent]; j.dirty {
			j.emit(&s.scratch, emit)
		}
		s.dirty[s.sent] = nil
	}
	if s.sent < len(s.dirty) {
		return true
	}
	s.dirty, s.sent = s.dirty[:0], 0
	return false
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
	for _, j := range s.journals {
		if revoked(j.subject()) {
			s.drop(j, s.next)
		}
	}
	for _, j := range s.leaving {
		if revoked(j.subject()) {
			s.drop(j, s.next)
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

// drop ends every visit of a journal, from an offset on.
func (s *Set) drop(j *journal, at int64) {
	s.counts.Dropped++
	if err := s.open(j, s.rulesOf(j.who.CompanyID, j.who.SiteID)); err != nil {
		s.counts.Unreadable++
	} else {
		j.removeAll(at)
		s.out = append(s.out, j.removals...)
	}
	j.dirty, j.removals = false, nil
	if _, leaving := s.leaving[j.id]; leaving {
		delete(s.leaving, j.id)
		s.leavingBytes -= j.size
	} else {
		s.release(j)
	}
	j.queued = false
	s.gone = append(s.gone, j)
}

// TakeGone gives the ids of the journals that were dropped since the last
// call: their records are to be removed. One that is there again (Renew) is written
// in place of the former.
func (s *Set) TakeGone() []ID {
	var gone []ID
	for _, j := range s.gone {
		if s.journals[j.who.identity()] == nil && s.leaving[j.id] == nil {
			gone = append(gone, j.id)
		}
	}
	s.gone = nil
	return gone
}

// Counts are what the set has met so far.
func (s *Set) Counts() Counts { return s.counts }

// Size is the number of journals and the memory they take, about.
func (s *Set) Size() (journals int, bytes int64) {
	return len(s.journals) + len(s.leaving), s.bytes + s.leavingBytes
}
