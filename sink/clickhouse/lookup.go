package clickhouse

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

// Identity is an accepted event: what was sent, and the acceptance of it.
type Identity struct {
	Key    EventKey
	Source Source
}

// Stored is what ClickHouse already has of a batch.
type Stored struct {
	// Identities are the acceptances that have their row, in events or drops.
	Identities map[Identity]bool
	// Events are the event ids that have a row in events, under any source.
	Events map[EventKey]bool
}

// lookupChunk bounds the parameters of one look-up, which travel in a URL: 32
// bytes an id in one query, some 20 a source in the other, of 1 MiB at most.
const lookupChunk = 4096

// Events are looked up by event id, which is in the table's order after the
// day, so the query reads the granules that can hold one of the ids. The time
// of receipt is no filter: a client may send an event again at any later time.
const lookupEvents = `SELECT company_id, event_id, source_partition, source_offset FROM events
WHERE tenant_bucket IN {buckets:Array(UInt8)} AND company_id IN {companies:Array(String)}
AND event_id IN (
	SELECT toFixedString(unhex(substring({ids:String}, number * 32 + 1, 32)), 16) FROM numbers({n:UInt64})
)`

// Drops are looked up by source alone, which is their identity.
const lookupDrops = `SELECT company_id, event_id, source_partition, source_offset FROM drops
WHERE tenant_bucket IN {buckets:Array(UInt8)} AND company_id IN {companies:Array(String)}
AND (source_partition, source_offset) IN (
	SELECT arrayJoin(arrayZip({partitions:Array(Int32)}, {offsets:Array(Int64)}))
)`

// Find tells which of the identities, or of their event ids, have rows.
func (s *Store) Find(ctx context.Context, identities []Identity) (Stored, error) {
	stored := Stored{Identities: make(map[Identity]bool), Events: make(map[EventKey]bool)}
	for chunk := range slices.Chunk(identities, lookupChunk) {
		if err := s.findChunk(ctx, chunk, &stored); err != nil {
			return Stored{}, err
		}
	}
	return stored, nil
}

func (s *Store) findChunk(ctx context.Context, identities []Identity, stored *Stored) error {
	var (
		companies  []string
		buckets    []uint8
		ids        = make([]byte, 0, len(identities)*2*schemas.IDBytes)
		partitions = make([]int32, 0, len(identities))
		offsets    = make([]int64, 0, len(identities))
	)
	known := make(map[string]bool)
	for _, identity := range identities {
		if company := identity.Key.CompanyID; !known[company] {
			known[company] = true
			companies = append(companies, company)
			if b := schemas.TenantBucket(company); !slices.Contains(buckets, b) {
				buckets = append(buckets, b)
			}
		}
		ids = hex.AppendEncode(ids, identity.Key.EventID[:])
		partitions = append(partitions, identity.Source.Partition)
		offsets = append(offsets, identity.Source.Offset)
	}
	tenants := []clickhouse.Option{clickhouse.Param("buckets", buckets), clickhouse.Param("companies", companies)}

	err := s.eachIdentity(ctx, lookupEvents, func(found Identity) {
		stored.Identities[found] = true
		stored.Events[found.Key] = true
	}, append(tenants, clickhouse.Param("ids", string(ids)), clickhouse.Param("n", len(identities))))
	if err != nil {
		return fmt.Errorf("looking up stored events: %w", err)
	}
	err = s.eachIdentity(ctx, lookupDrops, func(found Identity) { stored.Identities[found] = true },
		append(tenants, clickhouse.Param("partitions", partitions), clickhouse.Param("offsets", offsets)))
	if err != nil {
		return fmt.Errorf("looking up stored drops: %w", err)
	}
	return nil
}

func (s *Store) eachIdentity(ctx context.Context, sql string, found func(Identity), options []clickhouse.Option) error {
	return s.conn.Each(ctx, sql, func(scan func(...any) error) error {
		var identity Identity
		if err := scan(&identity.Key.CompanyID, &identity.Key.EventID, &identity.Source.Partition, &identity.Source.Offset); err != nil {
			return err
		}
		found(identity)
		return nil
	}, options...)
}
