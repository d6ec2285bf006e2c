package analytics

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// exportOf reads the export of one table.
func exportOf(t *testing.T, r *Reader, table string, format ExportFormat, p Period) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tables, err := r.ExportTables(ctx, format)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(tables, func(e ExportTable) bool { return e.Name == table })
	if i < 0 {
		t.Fatalf("no table %s in %v", table, tables)
	}
	rows, err := r.Export(ctx, tables[i], format, p, ExportLimits{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(rows)
	if err = errors.Join(err, rows.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func objects(t *testing.T, ndjson []byte) (out []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(ndjson) {
		var row map[string]any
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, row)
	}
	return out
}

// sealed is ciphertext: bytes that are no text.
const sealed = "\x01\xff\xfe\x00ciphertext"

// hostileTexts begin as formulas do, end lines, and are no UTF-8.
func hostileTexts() []string {
	return []string{"=cmd()", "+1", "-1", "@x", "\tx", "\rx", "\nx", "'x", `a"b,c` + "\r\n" + `d`, "日本", "bad\xffbyte", ""}
}

// insertHostile writes an event for each of the texts as its path.
func insertHostile(t *testing.T, c *clickhouse.Conn, company string) {
	t.Helper()
	for i, text := range hostileTexts() {
		insertColumns(t, c, "events", map[string]any{
			"tenant_bucket": []uint8{schemas.TenantBucket(company)}, "company_id": []string{company}, "site_id": []string{"sit_1"}, "event_id": [][]byte{{byte(i), 0xfe}},
			"type": []string{"page_view"}, "received_at": []time.Time{from.Add(time.Duration(i) * time.Minute)}, "path": []string{text}, "sealed_address": [][]byte{[]byte(sealed)},
			"expires_at": []time.Time{time.Now().AddDate(1, 0, 0)}, "asn": []uint32{1 << 31}, "confidence": []float32{0.75}, "source_offset": []int64{1 << 60},
		})
	}
}

// TestExportIsWhatIsKept: the newest version of each row, none that was removed, none
// past its retention, none out of the period, and each once.
func TestExportIsWhatIsKept(t *testing.T) {
	t.Parallel()
	c, r := someVisits(t)
	insertColumns(t, c, "visits", map[string]any{
		"tenant_bucket": []uint8{schemas.TenantBucket("cmp_a")}, "company_id": []string{"cmp_a"}, "site_id": []string{"sit_1"}, "visit_id": [][]byte{{9}},
		"started_at": []time.Time{from}, "version": []uint64{1}, "entry_path": []string{"/expired"}, "expires_at": []time.Time{time.Now().Add(-time.Hour)},
	})
	got := objects(t, exportOf(t, r, "visits", ExportNDJSON, Period{}))
	if len(got) != 6 {
		t.Fatalf("%d visits: %v", len(got), got)
	}
	for _, row := range got {
		if row["company_id"] != "cmp_a" || row["account_id"] == "gone.nl" || row["entry_path"] == "/expired" || row["version"] != float64(2) {
			t.Errorf("this row is not one of the tenant's: %v", row)
		}
		if id := row["visit_id"].(string); len(id) != 32 || row["started_at"].(string)[10] != 'T' {
			t.Errorf("the id is %q and the time %q", id, row["started_at"])
		}
		if paths, ok := row["page_paths"].([]any); !ok || len(paths) == 0 {
			t.Errorf("the pages are %v", row["page_paths"])
		}
	}
	if got := objects(t, exportOf(t, r, "visits", ExportNDJSON, Period{from, from.Add(2 * time.Minute)})); len(got) != 1 || got[0]["account_id"] != "ing.nl" {
		t.Errorf("the first two minutes are %v", got)
	}
	if got := exportOf(t, r, "visits", ExportNDJSON, Period{from.AddDate(1, 0, 0), from.AddDate(2, 0, 0)}); len(got) != 0 {
		t.Errorf("another year is %q", got)
	}
}

// TestExportFormatsAgree: the three formats say the same of texts that would break one
// of them. Sealed bytes are base64, ids hexadecimal. In CSV what a spreadsheet would run
// has an apostrophe before it, and taking one away gives the text back.
func TestExportFormatsAgree(t *testing.T) {
	t.Parallel()
	engine := clickhousetest.Start(t)
	c := migratedOn(t, engine)
	insertHostile(t, c, "cmp_a")
	r, err := NewReader(c, tenant("cmp_a"))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, row := range objects(t, exportOf(t, r, "events", ExportNDJSON, Period{})) {
		paths = append(paths, row["path"].(string))
		raw, err := base64.StdEncoding.DecodeString(row["sealed_address"].(string))
		if err != nil || string(raw) != sealed {
			t.Errorf("the sealed address is %q, %v", raw, err)
		}
	}
	want := hostileTexts()
	want[10] = "bad\uFFFDbyte"
	slices.Sort(want)
	slices.Sort(paths)
	if !slices.Equal(paths, want) {
		t.Errorf("as JSON the paths are %q", paths)
	}
	reader := csv.NewReader(bytes.NewReader(exportOf(t, r, "events", ExportCSV, Period{})))
	records, err := reader.ReadAll()
	if err != nil || len(records) != len(want)+1 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	at := slices.Index(records[0], "path")
	var cells []string
	for _, record := range records[1:] {
		for i, cell := range record {
			if cell != "" && strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) {
				t.Errorf("%s begins as a formula: %q", records[0][i], cell)
			}
		}
		cells = append(cells, strings.TrimPrefix(record[at], "'"))
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "\r\n", "\n") // encoding/csv does so
	}
	slices.Sort(want)
	slices.Sort(cells)
	if !slices.Equal(cells, want) {
		t.Errorf("as CSV the paths are %q", cells)
	}
	checkParquet(t, engine, c, exportOf(t, r, "events", ExportParquet, Period{}))
}

// checkParquet has the engine read the document back into a table of its own.
func checkParquet(t *testing.T, engine *clickhousetest.Server, c *clickhouse.Conn, document []byte) {
	t.Helper()
	ctx := context.Background()
	if !bytes.HasPrefix(document, []byte("PAR1")) || bytes.Count(document, []byte("PAR1")) != 2 {
		t.Fatalf("this is not one Parquet document: %d bytes", len(document))
	}
	if err := c.Exec(ctx, `CREATE TABLE back (path String, event_id String, received_at DateTime64(3, 'UTC'), asn UInt32, source_offset Int64, sealed_address String,
custom_properties Map(String, String), replayed Bool, confidence Float32) ENGINE = MergeTree ORDER BY received_at`); err != nil {
		t.Fatal(err)
	}
	postInsert(t, engine, c.Database(), "INSERT INTO back FORMAT Parquet", document)
	var rows, same uint64
	err := c.QueryRow(ctx, `SELECT count(), countIf((e.path = b.path OR e.path = 'bad\xFFbyte') AND e.asn = b.asn AND e.source_offset = b.source_offset AND e.received_at = b.received_at
	AND base64Decode(b.sealed_address) = e.sealed_address AND b.confidence = e.confidence AND b.custom_properties = e.custom_properties)
FROM back AS b INNER JOIN events AS e ON b.event_id = lower(hex(e.event_id))`).Scan(&rows, &same)
	if err != nil || rows != uint64(len(hostileTexts())) || same != rows {
		t.Errorf("%d rows came back, %d of them the same: %v", rows, same, err)
	}
}

// postInsert inserts a document, which pkg/clickhouse has no use for.
func postInsert(t *testing.T, engine *clickhousetest.Server, database, sql string, body []byte) {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", engine.Config().SocketPath)
	}}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	res, err := client.Post("http://clickhouse/?"+url.Values{"query": {sql}, "database": {database}}.Encode(), "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if answer, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s %s, %v", res.Status, answer, err)
	}
}

// TestExportHoldsOneTenant: with another's rows in every table, in every format, no
// value of theirs is in the export; and each row of the tenant's own is.
func TestExportHoldsOneTenant(t *testing.T) {
	t.Parallel()
	c, r := someVisits(t)
	insertHostile(t, c, "cmp_a")
	insertEvents(t, c, event{"cmp_b", "company", "secret.nl", "Secret", 7, 1, ""})
	b := book{t, c}
	for _, company := range []string{"cmp_a", "cmp_b"} {
		writer := map[string]string{"cmp_a": "own", "cmp_b": "secret"}[company]
		b.edge(company, writer, "none", 3, 5)
		b.drop(company, writer, "enrich", "duplicate", 7)
		insertColumns(t, c, "ledger_checks", map[string]any{
			"tenant_bucket": []uint8{schemas.TenantBucket(company)}, "company_id": []string{company}, "hour": []time.Time{from}, "checked_at": []time.Time{from},
		})
	}
	for _, format := range ExportFormats() {
		tables, err := r.ExportTables(context.Background(), format)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range tables {
			all := exportOf(t, r, table.Name, format, Period{})
			if bytes.Contains(all, []byte("cmp_b")) || bytes.Contains(bytes.ToLower(all), []byte(markOfAnother)) {
				t.Errorf("%s as %s holds another tenant's rows: %s", table.Name, format, all)
			}
			if format != ExportParquet && !bytes.Contains(all, []byte("cmp_a")) {
				t.Errorf("%s as %s holds nothing of the tenant's own", table.Name, format)
			}
		}
	}
}

// TestEveryTableIsExportedOrNamed: a table with rows of tenants is in the export or in
// the list of those that are not; and what looks sealed is listed as sealed.
func TestEveryTableIsExportedOrNamed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := migrated(t)
	r, err := NewReader(c, tenant("cmp_a"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, format := range ExportFormats() {
		tables, err := r.ExportTables(ctx, format)
		if err != nil {
			t.Fatal(err)
		}
		names = nil
		for _, table := range tables {
			names = append(names, table.Name)
			if _, err := table.sql(format, Period{}); err != nil {
				t.Errorf("%s as %s: %v", table.Name, format, err)
			}
			for _, column := range table.Columns {
				if strings.Contains(column.Name, "sealed") != column.Sealed {
					t.Errorf("%s.%s: sealed is %v", table.Name, column.Name, column.Sealed)
				}
			}
		}
	}
	for table, sources := range NotExported() {
		for _, source := range sources {
			if !slices.Contains(names, source) {
				t.Errorf("%s is left out, and %s, of which it is made, is not exported", table, source)
			}
		}
		names = append(names, table)
	}
	err = c.Each(ctx, `SELECT DISTINCT table FROM system.columns WHERE database = {database:String} AND name = 'company_id' AND table NOT IN (
	SELECT name FROM system.tables WHERE database = {database:String} AND engine = 'MaterializedView')`, func(scan func(...any) error) error {
		var table string
		if err := scan(&table); err != nil {
			return err
		}
		if !slices.Contains(names, table) {
			t.Errorf("%s has rows of tenants, and an export neither has it nor names it", table)
		}
		return nil
	}, clickhouse.Param("database", c.Database()))
	if err != nil || len(names) != len(schema.Tables()) {
		t.Errorf("%v: %v", names, err)
	}
}

// TestExportsOfTheirOwnLimits: an export is bound by its own limits, and not by those of
// a question.
func TestExportsOfTheirOwnLimits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	_, r := someVisits(t)
	tables, err := r.ExportTables(ctx, ExportNDJSON)
	if err != nil {
		t.Fatal(err)
	}
	visits := tables[slices.IndexFunc(tables, func(e ExportTable) bool { return e.Name == "visits" })]
	for name, limits := range map[string]ExportLimits{"rows": {RowsReadMax: 1}, "memory": {MemoryBytesMax: 1000}} {
		rows, err := r.Export(ctx, visits, ExportNDJSON, Period{}, limits)
		if err == nil {
			_, err = io.ReadAll(rows)
			err = errors.Join(err, rows.Close())
		}
		if !errors.Is(err, ErrTooMuch) {
			t.Errorf("with a small limit on %s: %v", name, err)
		}
	}
	for _, bad := range []ExportLimits{{SecondsMax: -1}, {MemoryBytesMax: -1}, {RowsReadMax: -1}, {ThreadsMax: -1}} {
		if _, err := r.Export(ctx, visits, ExportNDJSON, Period{}, bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if _, err := r.Export(ctx, visits, "xml", Period{}, ExportLimits{}); !errors.Is(err, ErrExport) {
		t.Errorf("another format: %v", err)
	}
	visits.Columns = append(visits.Columns, ExportColumn{Name: "state", Type: "AggregateFunction(uniq, String)"})
	if _, err := r.Export(ctx, visits, ExportNDJSON, Period{}, ExportLimits{}); !errors.Is(err, ErrExport) || !strings.Contains(fmt.Sprint(err), "state") {
		t.Errorf("a type nobody can read: %v", err)
	}
}
