package sink

import (
	"slices"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// rows are what is left to write of a batch.
type rows struct {
	events   []store.EventRow
	drops    []store.DropRow
	dead     []*kafka.Record
	repeated int
}

// sortMemory is what sort needs of a batch, used again by the next. Its keys hold no
// text, only the number of the tenant within the batch.
type sortMemory struct {
	companies map[string]uint32
	seen      map[recordKey]bool
	inBatch   map[idKey]store.Source
	copies    map[idKey]store.Copies
	events    []store.EventRow
	room      int // records that the maps have had room for
}

// idKey is an event id or an acceptance within its tenant.
type idKey struct {
	id      [schemas.IDBytes]byte
	company uint32
}

// recordKey is a store.Identity.
type recordKey struct {
	idKey
	partition int32
	offset    int64
}

// roomOver: maps that once had so many times the records are made anew, since each
// clearing goes through all of their room.
const roomOver = 8

// start makes the memory empty, with room for some records.
func (m *sortMemory) start(records int) {
	if records > m.room || m.room > roomOver*(records+batchMemoryLeast) {
		m.room = records
		m.seen = make(map[recordKey]bool, records)
		m.inBatch = make(map[idKey]store.Source, records)
		m.copies = make(map[idKey]store.Copies, records)
		m.companies = make(map[string]uint32)
	}
	m.events = slices.Grow(m.events[:0], records)
}

// end lets go of what is in it.
func (m *sortMemory) end() {
	clear(m.companies)
	clear(m.seen)
	clear(m.inBatch)
	clear(m.copies)
	clear(m.events)
	m.events = m.events[:0]
}

// batchMemoryLeast is how many records' room is kept whatever a batch has.
const batchMemoryLeast = 256

// sort decides for each record what becomes of it, in the order of the batch.
// The outcome depends on the records, on what is stored of them and on who was erased,
// so that every attempt, by whichever process, decides the same. A row that an earlier
// attempt at this very batch has written lately, under a token with one of these marks (of
// each round), is written again in its round: the table knows the token and takes nothing twice, and a materialised view that
// a crash kept from the row gets it now. The moment is that of the first attempt.
func (w *Worker) sort(items []item, stored store.Stored, marks []uint64, now time.Time, memory *sortMemory) rows {
	memory.start(len(items))
	s := sorter{worker: w, stored: stored, marks: marks, now: now, sortMemory: memory}
	s.left.events = memory.events
	for i := range items {
		if !w.isTenantErased(&items[i]) {
			s.sort(&items[i])
		}
	}
	memory.events = s.left.events
	return s.left
}

// sorter sorts the records of one batch, one after the other.
type sorter struct {
	worker *Worker
	stored store.Stored
	marks  []uint64
	now    time.Time
	// What the records before have become: those that were sorted, the events among
	// them with their source, and the copies of acceptances.
	*sortMemory
	left rows
	// The keys of the record being sorted, and the tenant of the last.
	record      recordKey
	acceptance  idKey
	lastCompany string
	lastNumber  uint32
}

// company is the number of a tenant.
func (s *sorter) company(id string) uint32 {
	if id == s.lastCompany && s.lastNumber > 0 {
		return s.lastNumber
	}
	n, known := s.companies[id]
	if !known {
		n = uint32(len(s.companies)) + 1
		s.companies[id] = n
	}
	s.lastCompany, s.lastNumber = id, n
	return n
}

func (s *sorter) sort(it *item) {
	id := &it.identity
	s.record = recordKey{idKey{id.Key.EventID, s.company(id.Key.CompanyID)}, id.Source.Partition, id.Source.Offset}
	s.acceptance = idKey{it.acceptance.ID, s.company(it.acceptance.CompanyID)}
	erased := s.worker.forgetErased(it)
	copies := s.copies[s.acceptance]
	before := s.stored.Copies[it.acceptance].Or(copies)
	// Of its acceptance there are dead letters and nothing else: an event that can be
	// written stands before them.
	it.revives = it.event != nil && !erased && (before.First || before.Replayed) && !before.Settled &&
		!s.isKnown(it) && s.worker.expiry(it.event).After(s.now)
	seen := s.seen[s.record]
	it.hasRow = seen || s.stored.Identities[it.identity]
	round, own := s.ownRound(it)
	own = own && !erased
	replaces := s.replaces(it)
	comesAgain := it.revives && (isPutBack(it.record) || it.isReplay())
	if it.hasRow && !replaces && !comesAgain && (seen || !own) {
		s.left.repeated++
		return
	}
	s.seen[s.record] = true
	if replaces && !own {
		s.replace(it, erased)
		return
	}
	isReplay := false
	if it.acceptance.Known() {
		// Of two records that were both sent for the first time, none is a
		// replay, whatever they have in common.
		isReplay = (before.Replayed || it.replayed && before.First) && !it.revives && !own
		settles := !isReplay && (it.event != nil || store.Settles(it.drop.Reason))
		s.copies[s.acceptance] = copies.Add(it.replayed, settles)
	}
	switch {
	case own:
		s.write(it, true)
		s.left.events[len(s.left.events)-1].Round = round
	case isReplay:
		s.left.drops = append(s.left.drops, replayOf(it))
	case it.drop != nil:
		if it.dead {
			s.left.dead = append(s.left.dead, it.record)
		}
		s.left.drops = append(s.left.drops, *it.drop)
	case erased:
		s.worker.metrics.erased.Inc()
		s.drop(it, metivav1.Reason_REASON_ERASED)
	case s.isKnown(it):
		s.drop(it, metivav1.Reason_REASON_DUPLICATE)
	case !s.worker.expiry(it.event).After(s.now):
		s.drop(it, metivav1.Reason_REASON_EXPIRED)
	default:
		s.write(it, false)
	}
}

// ownRound is the round in which this very batch wrote the event within the last minutes.
func (s *sorter) ownRound(it *item) (round uint8, own bool) {
	if it.event == nil || len(s.stored.Written) == 0 {
		return 0, false
	}
	for round, mark := range s.marks {
		if s.stored.Written[store.Written{Identity: it.identity, Mark: mark}] {
			return uint8(round), true
		}
	}
	return 0, false
}

// isKnown reports whether the record's event id has a row, or gets one in this batch.
func (s *sorter) isKnown(it *item) bool {
	_, inBatch := s.inBatch[s.record.idKey]
	return inBatch || s.stored.Events[it.identity.Key]
}

// replaces reports whether the event was enriched again and its source has a row in
// events, or gets it in this batch.
func (s *sorter) replaces(it *item) bool {
	if !it.isReplay() {
		return false
	}
	source, inBatch := s.inBatch[s.record.idKey]
	return s.stored.Rows[it.identity] || inBatch && source == it.identity.Source
}

// replace puts an event in place of its row. Of who was erased, and of what is about to
// go, the row is left to the erasure and to its end.
func (s *sorter) replace(it *item, erased bool) {
	if erased {
		s.worker.metrics.erased.Inc()
		return
	}
	if s.worker.expiry(it.event).After(s.now) {
		s.worker.metrics.replaced.Inc()
		s.write(it, true)
	}
}

func (s *sorter) write(it *item, hasRow bool) {
	s.inBatch[s.record.idKey] = it.identity.Source
	s.left.events = append(s.left.events, store.EventRow{Position: it.record.Offset, Event: it.event, ExpiresAt: s.worker.expiry(it.event), Replaces: hasRow})
}

func (s *sorter) drop(it *item, reason metivav1.Reason) {
	s.left.drops = append(s.left.drops, ownDrop(it, reason))
}

// isPutBack reports whether an operator has put the record back from its dead letter.
// Any other record that has a row is the same batch again.
func isPutBack(r *kafka.Record) bool {
	return slices.ContainsFunc(r.Headers, func(h kafka.Header) bool { return h.Key == schemas.HeaderDeadLetter })
}

// replayOf is a further copy of an acceptance that has its row. What became of
// the first says what became of the event; this one's own fate does not count.
func replayOf(it *item) store.DropRow {
	if it.drop == nil {
		return ownDrop(it, metivav1.Reason_REASON_REPLAYED)
	}
	row := *it.drop
	row.Stage, row.Reason = metivav1.Stage_STAGE_SINK, metivav1.Reason_REASON_REPLAYED
	return row
}

// ownDrop is an event that the sink itself drops.
func ownDrop(it *item, reason metivav1.Reason) store.DropRow {
	return store.DropRow{
		Position:   it.record.Offset,
		Key:        it.identity.Key,
		SiteID:     it.event.GetSiteId(),
		ReceivedAt: time.UnixMilli(it.event.GetReceivedAtMs()).UTC(),
		Stage:      metivav1.Stage_STAGE_SINK,
		Reason:     reason,
		Source:     it.identity.Source,
		WriterID:   it.event.GetWriterId(),
		Acceptance: it.acceptance.ID,
		Replayed:   it.replayed,
	}
}
