package analytics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// ExportFormat is how an export writes rows.
type ExportFormat string

// Formats of an export.
const (
	// ExportNDJSON is one JSON object a line (JSONEachRow).
	ExportNDJSON ExportFormat = "ndjson"
	// ExportCSV is RFC 4180 with a line of names. A text that a spreadsheet would take
	// for a formula has an apostrophe before it (csvText).
	ExportCSV ExportFormat = "csv"
	// ExportParquet is one Parquet file.
	ExportParquet ExportFormat = "parquet"
)

// ExportFormats lists the formats.
func ExportFormats() []ExportFormat {
	return []ExportFormat{ExportNDJSON, ExportCSV, ExportParquet}
}

// ErrExport marks an export that cannot be made.
var ErrExport = errors.New("this cannot be exported")

// engineFormat is the format's name in ClickHouse.
func (f ExportFormat) engineFormat() (string, error) {
	switch f {
	case ExportNDJSON:
		return "JSONEachRow", nil
	case ExportCSV:
		return "CSVWithNames", nil
	case ExportParquet:
		return "Parquet", nil
	}
	return "", fmt.Errorf("%w: the format is ndjson, csv or parquet", ErrExport)
}

// How a column of an export is written, where not as it is.
const (
	EncodingHex    = "hex"    // bytes, in lower-case hexadecimal
	EncodingBase64 = "base64" // bytes, in base64 of RFC 4648
	EncodingJSON   = "json"   // a list or map, as JSON text
)

// ExportColumn is one column of a table as an export has it.
type ExportColumn struct {
	Name string `json:"name"`
	// Type is the column's type in ClickHouse.
	Type string `json:"type"`
	// Encoding is empty where the value is written as the format writes its type.
	Encoding string `json:"encoding,omitempty"`
	// Sealed columns hold ciphertext, and the export too (pkg/seal/reveal opens).
	Sealed bool `json:"sealed,omitempty"`
}

// ExportTable is a table whose rows an export has.
type ExportTable struct {
	Name    string
	Columns []ExportColumn
	// TimeColumn is the one a period of an export is about.
	TimeColumn string

	expires string
}

// sealedColumns are those that hold ciphertext.
func sealedColumns() []string { return []string{"sealed_address"} }

// exported reports whether an export has the table: what the sink writes. What views
// and counters make of that holds nothing that is not in it.
func exported(t schema.Table) bool { return t.Kind == schema.Base }

// ExportTables lists the tables an export in the format has, with their columns in the
// database's order.
func (r *Reader) ExportTables(ctx context.Context, format ExportFormat) ([]ExportTable, error) {
	var out []ExportTable
	for _, t := range schema.Tables() {
		if !exported(t) {
			continue
		}
		table := ExportTable{Name: t.Name, TimeColumn: t.TimeColumn, expires: t.ExpiresColumn}
		err := r.conn.Each(ctx, `SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String} ORDER BY position`,
			func(scan func(...any) error) error {
				var c ExportColumn
				if err := scan(&c.Name, &c.Type); err != nil {
					return err
				}
				c.Sealed = slices.Contains(sealedColumns(), c.Name)
				c.Encoding = encodingOf(c, format)
				table.Columns = append(table.Columns, c)
				return nil
			}, clickhouse.Param("database", r.conn.Database()), clickhouse.Param("table", t.Name))
		if err != nil {
			return nil, fmt.Errorf("looking at the columns of %s: %w", t.Name, err)
		}
		if len(table.Columns) == 0 {
			return nil, fmt.Errorf("%w: the database has no table %s", ErrExport, t.Name)
		}
		out = append(out, table)
	}
	return out, nil
}

// NotExported names the tables with rows of tenants that an export leaves out, with
// the tables each is made from.
func NotExported() map[string][]string {
	out := make(map[string][]string)
	for _, t := range schema.Tables() {
		if !exported(t) {
			out[t.Name] = t.Sources
		}
	}
	return out
}

// encodingOf is how a column is written in a format.
func encodingOf(c ExportColumn, format ExportFormat) string {
	switch kind := plainType(c.Type); {
	case c.Sealed:
		return EncodingBase64
	case strings.HasPrefix(kind, "FixedString("):
		return EncodingHex
	case format == ExportCSV && (strings.HasPrefix(kind, "Array(") || strings.HasPrefix(kind, "Map(")):
		return EncodingJSON
	}
	return ""
}

// plainType is a type without what only says how it is stored.
func plainType(t string) string {
	for _, wrapper := range []string{"LowCardinality(", "Nullable("} {
		if rest, ok := strings.CutPrefix(t, wrapper); ok {
			t = strings.TrimSuffix(rest, ")")
		}
	}
	return t
}

// expression is what a column's value is in the statement.
func (c ExportColumn) expression(format ExportFormat) (string, error) {
	name := quoteName(c.Name)
	switch c.Encoding {
	case EncodingBase64:
		return "base64Encode(" + name + ")", nil
	case EncodingHex:
		return "lower(hex(" + name + "))", nil
	case EncodingJSON:
		return "toJSONString(" + name + ")", nil
	}
	kind := plainType(c.Type)
	switch head, _, _ := strings.Cut(kind, "("); head {
	case "String":
		// Texts come from visitors: the formats are UTF-8 throughout.
		text := "toValidUTF8(toString(" + name + "))"
		if format == ExportCSV {
			return csvText(text), nil
		}
		return text, nil
	case "UInt8", "UInt16", "UInt32", "UInt64", "Int8", "Int16", "Int32", "Int64", "Float32", "Float64", "Bool", "Date", "DateTime", "DateTime64", "Array", "Map":
		return name, nil
	}
	return "", fmt.Errorf("%w: column %s is of type %s, which the export does not know", ErrExport, c.Name, c.Type)
}

// csvText defuses a text that a spreadsheet would run: one that begins with =, +, -, @,
// a tab or an end of line gets an apostrophe before it, and so does one that begins with
// an apostrophe, so that taking one away always gives the text back.
func csvText(text string) string {
	return `if(match(` + text + `, '^[=+\\-@\\t\\r\\n\']'), concat('\'', ` + text + `), ` + text + `)`
}

func quoteName(name string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(name) + "`"
}

// Export returns the tenant's rows of a table that lie in the period (all with the
// zero Period), as the other questions see them: the newest version of each, none that
// was removed and none past its retention. Their order is not defined.
//
// The caller closes what is returned. Reading it to io.EOF means that all of it came;
// any other error, that the rest is missing.
func (r *Reader) Export(ctx context.Context, table ExportTable, format ExportFormat, p Period, limits ExportLimits) (io.ReadCloser, error) {
	engine, err := format.engineFormat()
	if err != nil {
		return nil, err
	}
	if err := limits.Validate(); err != nil {
		return nil, err
	}
	sql, err := table.sql(format, p)
	if err != nil {
		return nil, err
	}
	options := append(limits.options(),
		clickhouse.Param("bucket", schemas.TenantBucket(r.company)), clickhouse.Param("company", r.company),
		clickhouse.Setting("additional_table_filters", r.filters()))
	if p != (Period{}) {
		options = append(options, clickhouse.Param("from", p.From), clickhouse.Param("to", p.To))
	}
	rows, err := r.conn.Stream(ctx, sql, engine, options...)
	if err != nil {
		return nil, fmt.Errorf("exporting %s: %w", table.Name, tooMuch(err))
	}
	return exportRows{rows}, nil
}

// exportRows are rows whose end may be that they were too many.
type exportRows struct{ io.ReadCloser }

func (r exportRows) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = tooMuch(err)
	}
	return n, err
}

// sql is the statement of a table.
func (t ExportTable) sql(format ExportFormat, p Period) (string, error) {
	columns := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		expression, err := c.expression(format)
		if err != nil {
			return "", err
		}
		columns[i] = expression + " AS " + quoteName(c.Name)
	}
	// The columns' names are those of the expressions too: in WHERE they are the table's.
	where := "t.tenant_bucket = {bucket:UInt8} AND t.company_id = {company:String}"
	if t.expires != "" {
		where += " AND t." + quoteName(t.expires) + " > now()"
	}
	if p != (Period{}) {
		if !p.From.Before(p.To) {
			return "", fmt.Errorf("%w: a period begins before it ends", ErrExport)
		}
		at := "t." + quoteName(t.TimeColumn)
		where += " AND " + at + " >= {from:DateTime64(3, 'UTC')} AND " + at + " < {to:DateTime64(3, 'UTC')}"
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + quoteName(t.Name) + " AS t FINAL WHERE " + where, nil
}

// ExportLimits are what one table of an export may take. It reads all of a tenant's
// rows, once, and nobody waits for it: it may take longer than a question, less of the
// machine at a time, and as many rows as there are.
type ExportLimits struct {
	// SecondsMax is how long one table may take; 6 hours by default.
	SecondsMax int
	// MemoryBytesMax is what ClickHouse may hold for it; 1 GiB by default.
	MemoryBytesMax int64
	// RowsReadMax is how many rows it may read, of all versions; no bound by default, 0.
	RowsReadMax int64
	// ThreadsMax is how many of ClickHouse's threads work on it; 2 by default.
	ThreadsMax int
}

// DefaultExportLimits are those of an ExportLimits with zeros.
func DefaultExportLimits() ExportLimits {
	return ExportLimits{SecondsMax: 6 * 60 * 60, MemoryBytesMax: 1 << 30, ThreadsMax: 2}
}

// Validate lists every fault.
func (l ExportLimits) Validate() error {
	var faults []error
	for _, limit := range []struct {
		name string
		bad  bool
	}{
		{"seconds", l.SecondsMax < 0}, {"bytes of memory", l.MemoryBytesMax < 0}, {"rows", l.RowsReadMax < 0}, {"threads", l.ThreadsMax < 0},
	} {
		if limit.bad {
			faults = append(faults, fmt.Errorf("the limit of an export on %s is negative", limit.name))
		}
	}
	return errors.Join(faults...)
}

// options are the settings of an export's statement. The first four of the formats
// make one export like another, whatever the server's own settings are.
func (l ExportLimits) options() []clickhouse.Option {
	d := DefaultExportLimits()
	set := func(v, usual int64) int64 {
		if v == 0 {
			return usual
		}
		return v
	}
	options := []clickhouse.Option{
		clickhouse.Setting("max_execution_time", set(int64(l.SecondsMax), int64(d.SecondsMax))),
		clickhouse.Setting("max_memory_usage", set(l.MemoryBytesMax, d.MemoryBytesMax)),
		clickhouse.Setting("max_threads", set(int64(l.ThreadsMax), int64(d.ThreadsMax))),
		clickhouse.Setting("max_rows_to_read", l.RowsReadMax),
		clickhouse.Setting("use_query_cache", 0),
		clickhouse.Setting("use_query_condition_cache", 0),
		clickhouse.Setting("do_not_merge_across_partitions_select_final", 1),
		clickhouse.Setting("prefer_column_name_to_alias", 1),

		clickhouse.Setting("date_time_output_format", "iso"),
		clickhouse.Setting("output_format_json_quote_64bit_integers", 0),
		clickhouse.Setting("output_format_csv_crlf_end_of_line", 1),
		clickhouse.Setting("output_format_parquet_string_as_string", 1),
		clickhouse.Setting("output_format_parquet_compression_method", "zstd"),
		// What is held of a document is one group of rows, and of the rows in the making.
		clickhouse.Setting("output_format_parquet_row_group_size", 100_000),
		clickhouse.Setting("output_format_parallel_formatting", 0),
	}
	return options
}
