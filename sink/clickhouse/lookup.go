package clickhouse

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Identity is one record of events.collected: what was sent, and where it stands.
type Identity struct {
	Key    EventKey
	Source Source
}

// Wanted is what is looked up of one record.
type Wanted struct {
	Identity   Identity
	Acceptance AcceptanceID
	// ReceivedAt bounds the search for copies, which share it.
	ReceivedAt time.Time
}

// Stored is what ClickHouse already has of a batch.
type Stored struct {
	// Identities are the records that have their row, in events or drops.
	Identities map[Identity]bool
	// Written are the rows in events by the insert they came with. True are those of the
	// last ten minutes: so long the table surely knows the token of an insert, which is
	// until 100,000 more have come (migration 0008).
	Written map[Written]bool
	// Events are the event ids that have a row in events, under any source.
	Events map[EventKey]bool
	// Rows are the records that have their row in events.
	Rows map[Identity]bool
	// Copies are the acceptances that have a row, in events or drops.
	Copies map[Acceptance]Copies
}

// Written is a row in events, and the mark (Mark) of the insert it came with.
type Written struct {
	Identity Identity
	Mark     uint64
}

// Copies says which copies of an acceptance are there.
type Copies struct {
	// First is one the collector sent for the first time, Replayed one it sent
	// again.
	First, Replayed bool
	// Settled: one of them is an event, or a drop that is final. The others are dead
	// letters and copies of those, and an event that comes after all stands before them.
	Settled bool
}

// Add adds a copy.
func (c Copies) Add(replayed, settled bool) Copies {
	return Copies{First: c.First || !replayed, Replayed: c.Replayed || replayed, Settled: c.Settled || settled}
}

// Or is the copies of both.
func (c Copies) Or(other Copies) Copies {
	return Copies{First: c.First || other.First, Replayed: c.Replayed || other.Replayed, Settled: c.Settled || other.Settled}
}

func (s *Stored) addCopy(a Acceptance, replayed, settled bool) {
	if a.Known() {
		s.Copies[a] = s.Copies[a].Add(replayed, settled)
	}
}

// Settles reports whether a drop with a reason is the last word on its acceptance.
func Settles(reason metivav1.Reason) bool {
	return reason != metivav1.Reason_REASON_REPLAYED && !slices.Contains(schemas.DeadReasons(), reason)
}

// unsettled are the reasons that settle nothing, as the tables have them.
func unsettled() []string {
	labels := []string{schemas.Label(metivav1.Reason_REASON_REPLAYED)}
	for _, r := range schemas.DeadReasons() {
		labels = append(labels, schemas.Label(r))
	}
	return labels
}

// lookupChunk bounds the parameters of one look-up, which travel in a URL: 32
// bytes an id in one query, some 20 a source in the other, of 1 MiB at most.
const lookupChunk = 4096

// Events are looked up by event id, which is in the table's order after the
// day, so the query reads the granules that can hold one of the ids. The time
// of receipt is no filter: a client may send an event again at any later time.
const lookupEvents = `SELECT company_id, event_id, source_partition, source_offset, acceptance_id, replayed, true,
	batch, inserted_at > now64(3) - INTERVAL 10 MINUTE FROM events
WHERE tenant_bucket IN {buckets:Array(UInt8)} AND company_id IN {companies:Array(String)}
AND event_id IN (
	SELECT toFixedString(unhex(substring({ids:String}, number * 32 + 1, 32)), 16) FROM numbers({n:UInt64})
)`

// Drops are looked up by source alone, which is their identity.
const lookupDrops = `SELECT company_id, event_id, source_partition, source_offset, acceptance_id, replayed, reason NOT IN {unsettled:Array(String)}, toUInt64(0), false FROM drops
WHERE tenant_bucket IN {buckets:Array(UInt8)} AND company_id IN {companies:Array(String)}
AND (source_partition, source_offset) IN (
	SELECT arrayJoin(arrayZip({partitions:Array(Int32)}, {offsets:Array(Int64)}))
)`

// Copies among the drops are looked up by acceptance: their event id may not be
// known. The time of receipt, which an index knows the range of, is the same in
// all copies, so this reads little more than the batch's own seconds.
const lookupCopies = `SELECT company_id, acceptance_id, replayed, reason NOT IN {unsettled:Array(String)} FROM drops
WHERE tenant_bucket IN {buckets:Array(UInt8)} AND company_id IN {companies:Array(String)}
AND received_at >= {from:DateTime64(3, 'UTC')} AND received_at <= {to:DateTime64(3, 'UTC')}
AND acceptance_id IN (
	SELECT toFixedString(unhex(substring({ids:String}, number * 32 + 1, 32)), 16) FROM numbers({n:UInt64})
)`

// Find tells which of the records, of their event ids, or of the copies of their
// acceptances have rows.
func (s *Store) Find(ctx context.Context, wanted []Wanted) (Stored, error) {
	stored := Stored{
		Identities: make(map[Identity]bool), Written: make(map[Written]bool), Events: make(map[EventKey]bool),
		Rows: make(map[Identity]bool), Copies: make(map[Acceptance]Copies),
	}
	for chunk := range slices.Chunk(wanted, lookupChunk) {
		if err := s.findChunk(ctx, chunk, &stored); err != nil {
			return Stored{}, err
		}
	}
	return stored, nil
}

// chunk is the parameters of one chunk's look-ups.
type chunk struct {
	companies      []string
	buckets        []uint8
	events, copies []byte // ids in hexadecimal
	partitions     []int32
	offsets        []int64
	from, to       time.Time // of the copies
}

func newChunk(wanted []Wanted) chunk {
	c := chunk{
		events:     make([]byte, 0, len(wanted)*2*schemas.IDBytes),
		copies:     make([]byte, 0, len(wanted)*2*schemas.IDBytes),
		partitions: make([]int32, 0, len(wanted)),
		offsets:    make([]int64, 0, len(wanted)),
	}
	known := make(map[string]bool)
	for i := range wanted {
		w := &wanted[i]
		if company := w.Identity.Key.CompanyID; !known[company] {
			known[company] = true
			c.companies = append(c.companies, company)
			if b := schemas.TenantBucket(company); !slices.Contains(c.buckets, b) {
				c.buckets = append(c.buckets, b)
			}
		}
		c.events = hex.AppendEncode(c.events, w.Identity.Key.EventID[:])
		c.partitions = append(c.partitions, w.Identity.Source.Partition)
		c.offsets = append(c.offsets, w.Identity.Source.Offset)
		if w.Acceptance == (AcceptanceID{}) {
			continue
		}
		if len(c.copies) == 0 || w.ReceivedAt.Before(c.from) {
			c.from = w.ReceivedAt
		}
		if len(c.copies) == 0 || w.ReceivedAt.After(c.to) {
			c.to = w.ReceivedAt
		}
		c.copies = hex.AppendEncode(c.copies, w.Acceptance[:])
	}
	return c
}

func (s *Store) findChunk(ctx context.Context, wanted []Wanted, stored *Stored) error {
	c := newChunk(wanted)
	with := func(options ...clickhouse.Option) []clickhouse.Option {
		return append(options, clickhouse.Param("buckets", c.buckets), clickhouse.Param("companies", c.companies))
	}
	err := s.eachRow(ctx, lookupEvents, func(found Wanted, replayed, settled bool, mark uint64, recent bool) {
		stored.Identities[found.Identity] = true
		if mark != 0 {
			stored.Written[Written{found.Identity, mark}] = recent
		}
		stored.Events[found.Identity.Key] = true
		stored.Rows[found.Identity] = true
		stored.addCopy(Acceptance{CompanyID: found.Identity.Key.CompanyID, ID: found.Acceptance}, replayed, settled)
	}, with(clickhouse.Param("ids", string(c.events)), clickhouse.Param("n", len(wanted))))
	if err != nil {
		return fmt.Errorf("looking up stored events: %w", err)
	}
	err = s.eachRow(ctx, lookupDrops, func(found Wanted, replayed, settled bool, _ uint64, _ bool) {
		stored.Identities[found.Identity] = true
		stored.addCopy(Acceptance{CompanyID: found.Identity.Key.CompanyID, ID: found.Acceptance}, replayed, settled)
	}, with(clickhouse.Param("partitions", c.partitions), clickhouse.Param("offsets", c.offsets), clickhouse.Param("unsettled", unsettled())))
	if err != nil {
		return fmt.Errorf("looking up stored drops: %w", err)
	}
	if len(c.copies) == 0 {
		return nil
	}
	err = s.conn.Each(ctx, lookupCopies, func(scan func(...any) error) error {
		var a Acceptance
		var replayed, settled bool
		if err := scan(&a.CompanyID, &a.ID, &replayed, &settled); err != nil {
			return err
		}
		stored.addCopy(a, replayed, settled)
		return nil
	}, with(clickhouse.Param("ids", string(c.copies)), clickhouse.Param("n", len(c.copies)/(2*schemas.IDBytes)),
		clickhouse.Param("from", c.from), clickhouse.Param("to", c.to), clickhouse.Param("unsettled", unsettled()))...)
	if err != nil {
		return fmt.Errorf("looking up copies among the drops: %w", err)
	}
	return nil
}

func (s *Store) eachRow(ctx context.Context, sql string, found func(w Wanted, replayed, settled bool, mark uint64, recent bool), options []clickhouse.Option) error {
	return s.conn.Each(ctx, sql, func(scan func(...any) error) error {
		var w Wanted
		var replayed, settled, recent bool
		var mark uint64
		id := &w.Identity
		if err := scan(&id.Key.CompanyID, &id.Key.EventID, &id.Source.Partition, &id.Source.Offset, &w.Acceptance, &replayed, &settled, &mark, &recent); err != nil {
			return err
		}
		found(w, replayed, settled, mark, recent)
		return nil
	}, options...)
}
