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

// Absence is what it means that rows of an insert are not found.
type Absence int

// AbsenceProven: no insert of the batch runs, so what is not found is not there.
// AbsenceUnderWay: one runs, and may be about to show its rows. AbsenceOfReplica: the
// table is replicated or shared. There a token and its rows are noted by one transaction
// of Keeper, and it is this replica that has not fetched them.
const (
	AbsenceProven Absence = iota
	AbsenceUnderWay
	AbsenceOfReplica
)

const replicatedSQL = `SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = {table:String}
AND (startsWith(engine, 'Replicated') OR startsWith(engine, 'Shared'))`

// A role sees the statements of its own name, which all sinks share. The column stands in
// quotation marks because the embedded engine refuses the word.
const runningSQL = `SELECT count() FROM system.processes WHERE position("Settings"['insert_deduplication_token'], {part:String}) > 0`

// Absence tells whether rows that were inserted into a table, under tokens with a part in
// common, and are not found, may be inserted under another token.
func (s *Store) Absence(ctx context.Context, table, tokenPart string) (Absence, error) {
	var replicated, running uint64
	if err := s.conn.QueryRow(ctx, replicatedSQL, clickhouse.Param("table", table)).Scan(&replicated); err != nil {
		return 0, fmt.Errorf("looking at the engine of %s: %w", table, err)
	}
	if replicated > 0 {
		return AbsenceOfReplica, nil
	}
	if err := s.conn.QueryRow(ctx, runningSQL, clickhouse.Param("part", tokenPart)).Scan(&running); err != nil {
		return 0, fmt.Errorf("looking for inserts under way (the role needs SELECT on system.processes): %w", err)
	}
	if running > 0 {
		return AbsenceUnderWay, nil
	}
	return AbsenceProven, nil
}

// newest is how the greatest versions of a table's rows are looked up, by a key K.
type newest[K comparable, M any] struct {
	table string
	// columns are those of the key, and condition bounds what is read.
	columns, version, condition string
	chunk                       int // rows of one look-up, whose parameters travel in a URL of 1 MiB
	company                     func(M) string
	params                      func(rows []Row[M]) []clickhouse.Option
	scan                        func(key *K) []any
	key                         func(M) K
	versionOf                   func(M) uint64
}

func (n *newest[K, M]) sql() string {
	return "SELECT " + n.columns + ", max(" + n.version + ") FROM " + n.table + `
WHERE tenant_bucket IN {buckets:Array(UInt8)} AND company_id IN {companies:Array(String)} AND ` + n.condition + `
GROUP BY ` + n.columns
}

// missing are the rows of which the table has no version as great.
func missing[K comparable, M any](ctx context.Context, conn *clickhouse.Conn, of newest[K, M], rows []Row[M]) ([]Row[M], error) {
	var out []Row[M]
	for part := range slices.Chunk(rows, of.chunk) {
		greatest := make(map[K]uint64, len(part))
		companies := distinct(part, of.company)
		options := append(of.params(part), clickhouse.Param("companies", companies), clickhouse.Param("buckets", bucketsOf(companies)))
		err := conn.Each(ctx, of.sql(), func(scan func(...any) error) error {
			var key K
			var version uint64
			if err := scan(append(of.scan(&key), &version)...); err != nil {
				return err
			}
			greatest[key] = version
			return nil
		}, options...)
		if err != nil {
			return nil, fmt.Errorf("looking up stored rows of %s: %w", of.table, err)
		}
		for i := range part {
			if version, known := greatest[of.key(part[i].Message)]; !known || version < of.versionOf(part[i].Message) {
				out = append(out, part[i])
			}
		}
	}
	return out, nil
}

// distinct are the values of rows, each once.
func distinct[M any, V comparable](rows []Row[M], of func(M) V) []V {
	seen := make(map[V]bool)
	var out []V
	for i := range rows {
		if v := of(rows[i].Message); !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

func bucketsOf(companies []string) []uint8 {
	var out []uint8
	for _, company := range companies {
		if b := schemas.TenantBucket(company); !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	return out
}

// visitKey names a row of visits.
type visitKey struct {
	company, site string
	startedAtMs   int64
	id            [schemas.IDBytes]byte
}

// MissingVisits are the visits that the table has in no version as great as theirs.
func (s *Store) MissingVisits(ctx context.Context, rows []VisitRow) ([]VisitRow, error) {
	return missing(ctx, s.conn, newest[visitKey, *metivav1.Visit]{
		table: TableVisits, columns: "company_id, site_id, toUnixTimestamp64Milli(started_at), visit_id", version: "version",
		condition: `started_at >= {from:DateTime64(3, 'UTC')} AND started_at <= {to:DateTime64(3, 'UTC')} AND visit_id IN (
	SELECT toFixedString(unhex(substring({ids:String}, number * 32 + 1, 32)), 16) FROM numbers({n:UInt64})
)`,
		chunk:   lookupChunk,
		company: (*metivav1.Visit).GetCompanyId,
		params: func(rows []VisitRow) []clickhouse.Option {
			started := distinct(rows, (*metivav1.Visit).GetStartedAtMs)
			var ids []byte
			for i := range rows {
				ids = hex.AppendEncode(ids, rows[i].Message.GetVisitId())
			}
			return []clickhouse.Option{
				clickhouse.Param("from", time.UnixMilli(slices.Min(started))), clickhouse.Param("to", time.UnixMilli(slices.Max(started))),
				clickhouse.Param("ids", string(ids)), clickhouse.Param("n", len(rows)),
			}
		},
		scan: func(k *visitKey) []any { return []any{&k.company, &k.site, &k.startedAtMs, &k.id} },
		key: func(v *metivav1.Visit) visitKey {
			return visitKey{v.GetCompanyId(), v.GetSiteId(), v.GetStartedAtMs(), [schemas.IDBytes]byte(v.GetVisitId())}
		},
		versionOf: (*metivav1.Visit).GetVersion,
	}, rows)
}

// accountDayKey names a row of accounts_daily.
type accountDayKey struct {
	company, site, account string
	day                    int32
}

// The id of an account is text of 512 bytes at most, the name of a writer of 128, and
// a byte may take six in a URL.
const (
	accountsChunk = 256
	ledgerChunk   = 1024
)

// MissingAccountDays are the days that the table has in no version as great as theirs.
func (s *Store) MissingAccountDays(ctx context.Context, rows []AccountDayRow) ([]AccountDayRow, error) {
	return missing(ctx, s.conn, newest[accountDayKey, *metivav1.AccountDay]{
		table: TableAccountsDaily, columns: "company_id, site_id, account_id, toInt32(day)", version: "version",
		condition: `toInt32(day) IN {days:Array(Int32)} AND account_id IN {accounts:Array(String)}`,
		chunk:     accountsChunk,
		company:   (*metivav1.AccountDay).GetCompanyId,
		params: func(rows []AccountDayRow) []clickhouse.Option {
			return []clickhouse.Option{
				clickhouse.Param("days", distinct(rows, (*metivav1.AccountDay).GetDay)),
				clickhouse.Param("accounts", distinct(rows, (*metivav1.AccountDay).GetAccountId)),
			}
		},
		scan: func(k *accountDayKey) []any { return []any{&k.company, &k.site, &k.account, &k.day} },
		key: func(a *metivav1.AccountDay) accountDayKey {
			return accountDayKey{a.GetCompanyId(), a.GetSiteId(), a.GetAccountId(), a.GetDay()}
		},
		versionOf: (*metivav1.AccountDay).GetVersion,
	}, rows)
}

// ledgerKey names a row of ledger_edge.
type ledgerKey struct {
	company, site         string
	minute                uint32 // seconds since 1970
	stage, reason, writer string
}

// MissingLedger are the entries that the table has with no count as great as theirs.
func (s *Store) MissingLedger(ctx context.Context, rows []LedgerRow) ([]LedgerRow, error) {
	minute := func(l *metivav1.LedgerEntry) uint32 { return uint32(l.GetMinuteMs() / 1000) }
	return missing(ctx, s.conn, newest[ledgerKey, *metivav1.LedgerEntry]{
		table: TableLedgerEdge, columns: "company_id, site_id, toUnixTimestamp(minute), stage, reason, writer_id", version: "count",
		condition: `toUnixTimestamp(minute) IN {minutes:Array(UInt32)} AND writer_id IN {writers:Array(String)}`,
		chunk:     ledgerChunk,
		company:   (*metivav1.LedgerEntry).GetCompanyId,
		params: func(rows []LedgerRow) []clickhouse.Option {
			return []clickhouse.Option{
				clickhouse.Param("minutes", distinct(rows, minute)), clickhouse.Param("writers", distinct(rows, (*metivav1.LedgerEntry).GetWriterId)),
			}
		},
		scan: func(k *ledgerKey) []any { return []any{&k.company, &k.site, &k.minute, &k.stage, &k.reason, &k.writer} },
		key: func(l *metivav1.LedgerEntry) ledgerKey {
			return ledgerKey{
				l.GetCompanyId(), l.GetSiteId(), minute(l),
				nameOf(s.labels.stages, l.GetStage()), nameOf(s.labels.reasons, l.GetReason()), l.GetWriterId(),
			}
		},
		versionOf: (*metivav1.LedgerEntry).GetCount,
	}, rows)
}
