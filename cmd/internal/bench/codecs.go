package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// CodecsConfig is the size of a run of RunCodecs.
type CodecsConfig struct {
	// BinDir holds the binary metiva, LibraryPath is libchdb.so.
	BinDir, LibraryPath string
	// Rows are written to events and, with every candidate, once more.
	Rows int
	// Progress receives one line for each step.
	Progress io.Writer
	Log      *slog.Logger
}

const (
	codecRowsMax   = 20_000_000
	codecBatchRows = 50_000
)

// Validate reports every fault.
func (c CodecsConfig) Validate() error {
	var faults []error
	if c.BinDir == "" || c.LibraryPath == "" || c.Log == nil || c.Progress == nil {
		faults = append(faults, errors.New("bench: the folder with the binaries, the engine's library, the log or the progress is missing"))
	}
	if c.Rows < eventsMin || c.Rows > codecRowsMax {
		faults = append(faults, fmt.Errorf("bench: rows must be between %d and %d", eventsMin, codecRowsMax))
	}
	return errors.Join(faults...)
}

// candidate is a way to store a column: a type and codecs, as CREATE TABLE takes them.
type candidate struct{ column, form string }

// candidates are what is tried of each column.
func candidates() []candidate {
	var all []candidate
	add := func(columns string, forms ...string) {
		for _, c := range strings.Fields(columns) {
			for _, f := range forms {
				all = append(all, candidate{c, f})
			}
		}
	}
	add("event_id visit_key visitor_id acceptance_id", "FixedString(16) CODEC(NONE)", "FixedString(16) CODEC(LZ4)", "FixedString(16) CODEC(ZSTD(1))", "FixedString(16) CODEC(ZSTD(3))")
	add("received_at occurred_at enriched_at inserted_at", "DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1))", "DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1))",
		"DateTime64(3, 'UTC') CODEC(T64, ZSTD(1))", "DateTime64(3, 'UTC') CODEC(ZSTD(1))", "DateTime64(3, 'UTC') CODEC(Delta, LZ4)")
	add("expires_at database_build_at", "DateTime('UTC') CODEC(Delta, ZSTD(1))", "DateTime('UTC') CODEC(DoubleDelta, ZSTD(1))", "DateTime('UTC') CODEC(T64, ZSTD(1))", "DateTime('UTC') CODEC(ZSTD(1))")
	add("path account_id account_name account_domain", "String CODEC(ZSTD(1))", "String CODEC(ZSTD(3))", "LowCardinality(String) CODEC(LZ4)", "LowCardinality(String) CODEC(ZSTD(1))")
	add("host referrer_host campaign_source campaign_medium campaign_name type consent device browser_family system_family bot country region channel traffic_source verdict resolution_source writer_id brand_id company_id site_id",
		"LowCardinality(String) CODEC(LZ4)", "LowCardinality(String) CODEC(ZSTD(1))")
	add("click_path", "String CODEC(ZSTD(1))", "LowCardinality(String) CODEC(ZSTD(1))")
	add("asn engagement_ms retention_days", "UInt32 CODEC(T64, ZSTD(1))", "UInt32 CODEC(ZSTD(1))", "UInt32 CODEC(Delta, ZSTD(1))")
	add("consent_seq batch", "UInt64 CODEC(T64, ZSTD(1))", "UInt64 CODEC(ZSTD(1))", "UInt64 CODEC(Delta, ZSTD(1))")
	add("source_offset", "Int64 CODEC(Delta, ZSTD(1))", "Int64 CODEC(T64, ZSTD(1))", "Int64 CODEC(DoubleDelta, ZSTD(1))", "Int64 CODEC(ZSTD(1))")
	add("source_partition", "Int32 CODEC(ZSTD(1))", "Int32 CODEC(T64, ZSTD(1))")
	add("confidence", "Float32 CODEC(ZSTD(1))", "Float32 CODEC(Gorilla, ZSTD(1))")
	add("prefix_bits scroll_percent", "UInt8 CODEC(LZ4)", "UInt8 CODEC(ZSTD(1))", "UInt8 CODEC(T64, ZSTD(1))")
	add("sealed_address", "String CODEC(NONE)", "String CODEC(ZSTD(1))")
	return all
}

// CodecSize is what a candidate takes.
type CodecSize struct {
	Column, Form string
	BytesPerRow  float64
}

// CodecsReport is what a run measured.
type CodecsReport struct {
	Rows int
	// Today are the columns of events as the migrations have them, Tried the candidates
	// by column, the smallest first.
	Today, Tried []CodecSize
}

// RunCodecs writes rows to events as they are, and to a table that has each column once
// for each candidate, in the same order; both are merged to one part for each
// partition before their columns are weighed.
func RunCodecs(ctx context.Context, cfg CodecsConfig) (report CodecsReport, err error) {
	if err := cfg.Validate(); err != nil {
		return CodecsReport{}, err
	}
	rig, err := newPipelineRig(ctx, PipelineConfig{BinDir: cfg.BinDir, LibraryPath: cfg.LibraryPath, Progress: cfg.Progress, Log: cfg.Log})
	if err != nil {
		return CodecsReport{}, err
	}
	defer func() { err = errors.Join(err, rig.stop()) }()
	conn, err := rig.database(ctx, pipelineDatabase)
	if err != nil {
		return CodecsReport{}, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	rig.say("writing %d rows", cfg.Rows)
	if err := writeRows(ctx, store.New(conn), cfg.Rows); err != nil {
		return CodecsReport{}, err
	}
	tried := candidates()
	rig.say("writing them again in %d forms", len(tried))
	if err := writeCandidates(ctx, conn, tried); err != nil {
		return CodecsReport{}, err
	}
	report = CodecsReport{Rows: cfg.Rows}
	for _, table := range []string{"events", "codecs"} {
		rig.say("merging %s", table)
		if err := conn.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			return CodecsReport{}, fmt.Errorf("merging %s: %w", table, err)
		}
		sizes, err := weigh(ctx, conn, table)
		if err != nil {
			return CodecsReport{}, err
		}
		if table == "events" {
			report.Today = sizes
			continue
		}
		for _, s := range sizes {
			var n int
			if _, err := fmt.Sscanf(s.Column, "c%d", &n); err == nil {
				report.Tried = append(report.Tried, CodecSize{tried[n].column, tried[n].form, s.BytesPerRow})
			}
		}
	}
	slices.SortStableFunc(report.Tried, func(a, b CodecSize) int {
		return cmp.Or(cmp.Compare(a.Column, b.Column), cmp.Compare(a.BytesPerRow, b.BytesPerRow))
	})
	return report, nil
}

// writeRows writes the bench's events, the tenants of a bucket after each other.
func writeRows(ctx context.Context, s *store.Store, rows int) error {
	made := newEnrichedRows(time.Now().Add(-time.Duration(rows) * enrichedEventMs * time.Millisecond))
	var pending [schemas.TenantBuckets][]store.EventRow
	flush := func(bucket int) error {
		if len(pending[bucket]) == 0 {
			return nil
		}
		token := fmt.Sprintf("codecs/%d/%x", bucket, pending[bucket][0].Event.GetEventId())
		err := s.InsertEvents(ctx, token, pending[bucket])
		pending[bucket] = pending[bucket][:0]
		return err
	}
	for n := range rows {
		e := made.event(n)
		bucket := int(schemas.TenantBucket(e.GetCompanyId()))
		pending[bucket] = append(pending[bucket], store.EventRow{
			Position: int64(n), Event: e, ExpiresAt: time.UnixMilli(e.GetReceivedAtMs()).UTC().AddDate(0, 0, int(e.GetRetentionDays())).Truncate(time.Second),
		})
		if len(pending[bucket]) == codecBatchRows {
			if err := flush(bucket); err != nil {
				return err
			}
		}
	}
	for bucket := range pending {
		if err := flush(bucket); err != nil {
			return err
		}
	}
	return nil
}

// writeCandidates makes the table codecs from events. Column cN is the N-th candidate;
// the order and the partitions are those of events.
func writeCandidates(ctx context.Context, conn *clickhouse.Conn, tried []candidate) error {
	columns := []string{"k_bucket UInt8", "k_company LowCardinality(String)", "k_site LowCardinality(String)", "k_at DateTime64(3, 'UTC')", "k_id FixedString(16)"}
	values := []string{"tenant_bucket", "company_id", "site_id", "received_at", "event_id"}
	for i, c := range tried {
		columns = append(columns, fmt.Sprintf("c%d %s", i, c.form))
		values = append(values, c.column)
	}
	if err := conn.Exec(ctx, "CREATE TABLE codecs ("+strings.Join(columns, ", ")+") ENGINE = MergeTree PARTITION BY (k_bucket, toYYYYMM(k_at)) ORDER BY (k_company, k_site, toDate(k_at), k_id)"); err != nil {
		return fmt.Errorf("making the table of candidates: %w", err)
	}
	for bucket := range schemas.TenantBuckets {
		sql := fmt.Sprintf("INSERT INTO codecs SELECT %s FROM events WHERE tenant_bucket = %d", strings.Join(values, ", "), bucket)
		if err := conn.Exec(ctx, sql, clickhouse.Setting("max_insert_threads", 1), clickhouse.Setting("max_partitions_per_insert_block", 0)); err != nil {
			return fmt.Errorf("writing the candidates: %w", err)
		}
	}
	return nil
}

// weigh gives what each column of a table takes, the largest first.
func weigh(ctx context.Context, conn *clickhouse.Conn, table string) (sizes []CodecSize, err error) {
	const sql = `SELECT column, any(type), sum(column_data_compressed_bytes) / sum(rows) AS size FROM system.parts_columns
WHERE active AND database = currentDatabase() AND table = {table:String} GROUP BY column ORDER BY size DESC`
	err = conn.Each(ctx, sql, func(scan func(...any) error) error {
		var s CodecSize
		err := scan(&s.Column, &s.Form, &s.BytesPerRow)
		sizes = append(sizes, s)
		return err
	}, clickhouse.Param("table", table))
	if err != nil {
		return nil, fmt.Errorf("weighing the columns of %s: %w", table, err)
	}
	return sizes, nil
}

// Write prints both tables and, as the last line, the sums as JSON.
func (r CodecsReport) Write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "column of events\ttype\tbytes/row")
	today, best := 0.0, 0.0
	least := make(map[string]float64)
	for _, s := range r.Tried {
		if v, known := least[s.Column]; !known || s.BytesPerRow < v {
			least[s.Column] = s.BytesPerRow
		}
	}
	for _, s := range r.Today {
		today += s.BytesPerRow
		if v, tried := least[s.Column]; tried {
			best += min(v, s.BytesPerRow)
		} else {
			best += s.BytesPerRow
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%.3f\n", s.Column, s.Form, s.BytesPerRow)
	}
	_, _ = fmt.Fprintln(table, "\ncolumn\tcandidate\tbytes/row")
	for _, s := range r.Tried {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%.3f\n", s.Column, s.Form, s.BytesPerRow)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the tables: %w", err)
	}
	if err := json.NewEncoder(w).Encode(map[string]float64{"rows": float64(r.Rows), "bytes_per_row": rounded(today, 1), "bytes_per_row_best": rounded(best, 1)}); err != nil {
		return fmt.Errorf("printing the figures: %w", err)
	}
	return nil
}
