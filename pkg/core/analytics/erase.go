package analytics

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Eraser counts and deletes the rows of one tenant, or of one visitor of it, in every
// table of ClickHouse that has rows of tenants: those with a column company_id, as
// the database itself lists them, and so the targets of materialised views too. It
// needs a connection without row filters, which may delete and read the system tables.
type Eraser struct {
	conn    *clickhouse.Conn
	company string
	// visitor in hexadecimal; empty for the tenant.
	visitor string
}

// NewEraser makes an eraser of one visitor of the tenant, an id of 16 bytes, or of the
// tenant when visitorID is empty.
func NewEraser(conn *clickhouse.Conn, tenant VerifiedTenant, visitorID []byte) (*Eraser, error) {
	id := tenant.CompanyID()
	if !companyID.MatchString(id) {
		return nil, errors.New("the tenant's company id is not one")
	}
	if len(visitorID) != 0 && (len(visitorID) != schemas.IDBytes || [schemas.IDBytes]byte(visitorID) == [schemas.IDBytes]byte{}) {
		return nil, errors.New("the visitor id is not one") // zero is every visitor without consent
	}
	return &Eraser{conn: conn, company: id, visitor: hex.EncodeToString(visitorID)}, nil
}

// erasable is a table that may have rows to erase.
type erasable struct {
	name              string
	bucketed, visitor bool
}

// tableName and partitionID are what may stand in a statement.
var (
	tableName   = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	partitionID = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	markForm    = regexp.MustCompile(`^[a-z0-9_]+/[0-9]+$`)
)

// tables lists the tables the erasure is about: of the tenant all with company_id, of
// a visitor those with visitor_id too.
func (e *Eraser) tables(ctx context.Context) ([]erasable, error) {
	var out []erasable
	err := e.conn.Each(ctx, `SELECT c.table, countIf(c.name = 'tenant_bucket') > 0, countIf(c.name = 'visitor_id') > 0
FROM system.columns AS c INNER JOIN system.tables AS t ON t.database = c.database AND t.name = c.table
WHERE c.database = currentDatabase() AND t.engine LIKE '%MergeTree'
GROUP BY c.table HAVING countIf(c.name = 'company_id') > 0 ORDER BY c.table`, func(scan func(...any) error) error {
		var t erasable
		if err := scan(&t.name, &t.bucketed, &t.visitor); err != nil {
			return err
		}
		if !tableName.MatchString(t.name) {
			return errors.New("a table's name cannot stand in a statement")
		}
		if e.visitor == "" || t.visitor {
			out = append(out, t)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing the tables with rows of tenants: %w", err)
	}
	if len(out) == 0 {
		return nil, errors.New("listing the tables with rows of tenants: there is none, so the connection is not that of the product's database, or may not see it")
	}
	// Sources before what is made from them: nothing is made anew of rows that are gone.
	place := make(map[string]int)
	for i, t := range schema.Tables() {
		place[t.Name] = i + 1
	}
	slices.SortStableFunc(out, func(a, b erasable) int { return place[a.name] - place[b.name] })
	return out, nil
}

// condition selects the rows. Ids were checked and stand as text or hexadecimal: a
// mutation keeps its text, and parameters are not for every server's.
func (e *Eraser) condition(t erasable) string {
	c := `company_id = '` + e.company + `'`
	if t.bucketed {
		c = fmt.Sprintf("tenant_bucket = %d AND %s", schemas.TenantBucket(e.company), c)
	}
	if e.visitor != "" {
		c += ` AND visitor_id = toFixedString(unhex('` + e.visitor + `'), 16)`
	}
	return c
}

// Count counts the rows by table, every version of a row. A table without any is in
// the answer too.
func (e *Eraser) Count(ctx context.Context) (map[string]uint64, error) {
	tables, err := e.tables(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(tables))
	for _, t := range tables {
		var n uint64
		if err := e.conn.QueryRow(ctx, "SELECT count() FROM `"+t.name+"` WHERE "+e.condition(t)).Scan(&n); err != nil {
			return nil, fmt.Errorf("counting rows of %s: %w", t.name, err)
		}
		out[t.name] = n
	}
	return out, nil
}

// MarkDropped gives each event of the visitor a drop with the reason erased, which
// names nobody: the ledger goes on balancing, and the sink takes the record for done
// when it comes again. Repeating it adds nothing. Of a tenant it does nothing.
func (e *Eraser) MarkDropped(ctx context.Context) error {
	if e.visitor == "" {
		return nil
	}
	of := erasable{bucketed: true}
	tenant := (&Eraser{company: e.company}).condition(of)
	err := e.conn.Exec(ctx, `INSERT INTO drops
	(tenant_bucket, company_id, site_id, event_id, received_at, stage, reason, source_partition, source_offset, writer_id, acceptance_id, replayed)
SELECT tenant_bucket, company_id, site_id, event_id, received_at, {stage:String}, {reason:String}, source_partition, source_offset, writer_id, acceptance_id, replayed
FROM events FINAL WHERE `+e.condition(of)+`
AND (source_partition, source_offset, event_id) NOT IN (SELECT source_partition, source_offset, event_id FROM drops WHERE `+tenant+`)`,
		clickhouse.Param("stage", schemas.Label(metivav1.Stage_STAGE_SINK)), clickhouse.Param("reason", schemas.Label(metivav1.Reason_REASON_ERASED)),
		clickhouse.Setting("async_insert", 0), clickhouse.Setting("max_partitions_per_insert_block", 0))
	if err != nil {
		return fmt.Errorf("noting erased events in the ledger: %w", err)
	}
	return nil
}

// Delete deletes the rows, in one mutation a table, and returns once every replica has
// rewritten its parts. Partitions without a row stay as they are. The counts of the days
// a visitor had events on are dropped (Counter.Forget): since is when this round of the
// erasure was asked for, so that days whose events an earlier attempt has deleted are
// known. The mark stands in the text of the deletions, for Begun.
func (e *Eraser) Delete(ctx context.Context, since time.Time, mark string) error {
	if !markForm.MatchString(mark) {
		return errors.New("the mark of a deletion cannot stand in a statement")
	}
	tables, err := e.tables(ctx)
	if err != nil {
		return err
	}
	days, touched, err := e.changing(ctx, since)
	if err != nil {
		return err
	}
	if err := e.deleteFrom(ctx, tables, mark); err != nil || !touched {
		return err
	}
	return NewCounter(e.conn).Forget(ctx, days)
}

// changing are the days, of which it is written down that they change before a row of
// them is deleted: an attempt after a crash reads there which they were.
func (e *Eraser) changing(ctx context.Context, since time.Time) (_ Days, touched bool, err error) {
	days, touched, err := e.days(ctx, since)
	if err != nil || !touched {
		return Days{}, false, err
	}
	return days, true, NewCounter(e.conn).Changed(ctx, days)
}

// Begun are the tables in which a deletion with the mark was begun, whether it is done
// or not. ClickHouse knows the last hundred deletions of a table.
func (e *Eraser) Begun(ctx context.Context, mark string) (map[string]bool, error) {
	if !markForm.MatchString(mark) {
		return nil, errors.New("the mark of a deletion is not one")
	}
	out := make(map[string]bool)
	err := e.conn.Each(ctx, `SELECT DISTINCT table FROM system.mutations WHERE database = currentDatabase() AND position(command, {mark:String}) > 0`,
		func(scan func(...any) error) error {
			var table string
			err := scan(&table)
			out[table] = true
			return err
		}, clickhouse.Param("mark", "'"+mark+"'"))
	if err != nil {
		return nil, fmt.Errorf("looking for deletions that were begun: %w", err)
	}
	return out, nil
}

// clockMargin is how far this process's clock may be from ClickHouse's.
const clockMargin = time.Hour

// daysMargin covers a visit that began before its first event was received.
const daysMargin = 2

// days are those whose counts may hold events or visits of the visitor. Of rows that an
// earlier attempt deleted only the drops are left, of old ones not for long, and that
// their days changed since; so did days that others wrote to meanwhile, few of which are
// counted.
func (e *Eraser) days(ctx context.Context, since time.Time) (_ Days, touched bool, err error) {
	if e.visitor == "" {
		return Days{}, false, nil
	}
	of := erasable{bucketed: true}
	d := Days{CompanyID: e.company}
	err = e.conn.QueryRow(ctx, `SELECT arraySort(groupUniqArray(toString(day))), toDateTime(min(day), 'UTC'), toDateTime(max(day), 'UTC') FROM (
	SELECT at + arrayJoin(range(2 * {margin:Int32} + 1)) - {margin:Int32} AS day FROM (
		SELECT DISTINCT toDate(received_at) AS at FROM events WHERE `+e.condition(of)+`
		UNION ALL SELECT DISTINCT toDate(started_at) FROM visits WHERE `+e.condition(of)+`
		UNION ALL SELECT DISTINCT toDate(received_at) FROM drops WHERE `+(&Eraser{company: e.company}).condition(of)+`
		AND reason = {reason:String} AND inserted_at >= {since:DateTime64(3, 'UTC')})
	UNION ALL SELECT day FROM changed_days WHERE `+(&Eraser{company: e.company}).condition(of)+` AND changed_at >= {since:DateTime64(3, 'UTC')})`,
		clickhouse.Param("reason", schemas.Label(metivav1.Reason_REASON_ERASED)), clickhouse.Param("since", since.Add(-clockMargin)),
		clickhouse.Param("margin", daysMargin)).Scan(&d.only, &d.First, &d.Last)
	if err != nil {
		return Days{}, false, fmt.Errorf("looking for the days of a visitor: %w", err)
	}
	return d, len(d.only) > 0, nil
}

// stages puts tables whose rows may be deleted at the same time together. What is made
// from others goes after them, and what says that days changed or are counted before
// their counts: see Counter.
func stages(tables []erasable) [][]erasable {
	place := make(map[string]int)
	for _, t := range schema.Tables() {
		place[t.Name] = int(t.Kind)
		if t.Kind == schema.Counted && !slices.Contains(countings(), t.Name) {
			place[t.Name]++
		}
	}
	var out [][]erasable
	for i, t := range tables {
		if i == 0 || place[t.name] != place[tables[i-1].name] {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], t)
	}
	return out
}

func (e *Eraser) deleteFrom(ctx context.Context, tables []erasable, mark string) error {
	for _, stage := range stages(tables) {
		err := atOnce(ctx, e.conn, stage, func(ctx context.Context, t erasable) error {
			if err := deleteIn(ctx, e.conn, t.name, e.condition(t), " AND '"+mark+"' != ''"); err != nil {
				return fmt.Errorf("deleting rows of %s: %w", t.name, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// atOnceMax bounds the tables that are worked on at the same time. A deletion waits for
// the server most of the time, which takes a few parts of a table at once.
const atOnceMax = 4

// atOnce does it for each table, for several at a time if the connection has room.
func atOnce[T any](ctx context.Context, conn *clickhouse.Conn, tables []T, do func(context.Context, T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(min(atOnceMax, conn.ConnectionsMax()))
	for _, t := range tables {
		group.Go(func() error { return do(ctx, t) })
	}
	return group.Wait()
}

// deleteIn deletes rows of a table, by one mutation of the partitions that have any: one
// that names none goes through every part of every tenant's. It returns once every
// replica has rewritten its parts. The note stands in the text of the deletion.
func deleteIn(ctx context.Context, conn *clickhouse.Conn, table, where, note string, options ...clickhouse.Option) error {
	var commands []string
	err := conn.Each(ctx, "SELECT DISTINCT _partition_id FROM `"+table+"` WHERE "+where, func(scan func(...any) error) error {
		var id string
		if err := scan(&id); err != nil {
			return err
		}
		if !partitionID.MatchString(id) {
			return errors.New("a partition's id cannot stand in a statement")
		}
		commands = append(commands, "DELETE IN PARTITION ID '"+id+"' WHERE "+where+note)
		return nil
	}, options...)
	if err != nil || len(commands) == 0 {
		return err
	}
	return conn.Exec(ctx, "ALTER TABLE `"+table+"` "+strings.Join(commands, ", "), append(slices.Clip(options), clickhouse.Setting("mutations_sync", 2))...)
}

// ErrMutations says that rows are not deleted yet, or that their deletion failed.
var ErrMutations = errors.New("deletions of rows are not done")

// Proof is what the system tables say after a deletion.
type Proof struct {
	// Mutations are the deletions of this tenant or visitor that are done.
	Mutations uint64
	// OutdatedParts are parts of the tables, from before a deletion or merge, that the
	// server has not removed from its disk yet: it does so by itself within minutes
	// (old_parts_lifetime). No query reads them.
	OutdatedParts uint64
}

// Proof reads the system tables. It is ErrMutations while a deletion of this tenant or
// visitor is under way or has failed.
func (e *Eraser) Proof(ctx context.Context) (Proof, error) {
	tables, err := e.tables(ctx)
	if err != nil {
		return Proof{}, err
	}
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.name
	}
	var p Proof
	var open, failed uint64
	marks := []clickhouse.Option{clickhouse.Param("tables", names), clickhouse.Param("company", e.company), clickhouse.Param("visitor", e.visitor)}
	err = e.conn.QueryRow(ctx, `SELECT countIf(is_done), countIf(NOT is_done), countIf(NOT is_done AND latest_fail_reason != '')
FROM system.mutations WHERE database = currentDatabase() AND table IN {tables:Array(String)}
AND position(command, {company:String}) > 0 AND position(command, {visitor:String}) > 0`, marks...).Scan(&p.Mutations, &open, &failed)
	if err != nil {
		return Proof{}, fmt.Errorf("reading the deletions: %w", err)
	}
	if open > 0 {
		return Proof{}, fmt.Errorf("%w: %d open, of which %d failed", ErrMutations, open, failed)
	}
	err = e.conn.QueryRow(ctx, `SELECT count() FROM system.parts
WHERE database = currentDatabase() AND table IN {tables:Array(String)} AND NOT active AND rows > 0 AND startsWith(partition_id, {bucket:String})`,
		marks[0], clickhouse.Param("bucket", fmt.Sprintf("%d-", schemas.TenantBucket(e.company)))).Scan(&p.OutdatedParts)
	if err != nil {
		return Proof{}, fmt.Errorf("reading the parts: %w", err)
	}
	return p, nil
}

// String names the eraser's tenant, never its visitor.
func (e *Eraser) String() string { return "eraser of " + e.company }
