package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// ReadsSummary is the last line of a run of RunReads.
type ReadsSummary struct {
	// Rows is how many events has.
	Rows uint64 `json:"rows"`
	// ReadP95Ms is the time of each question that 95 of 100 asks stay under, over all
	// lengths of period.
	ReadP95Ms map[string]float64 `json:"read_p95_ms"`
}

// tableSize is a table as it is on disk.
type tableSize struct {
	name        string
	rows, bytes uint64
}

func tableSizes(ctx context.Context, c *clickhouse.Conn) ([]tableSize, error) {
	var out []tableSize
	for _, table := range schema.Tables() {
		s := tableSize{name: table.Name}
		err := c.QueryRow(ctx, "SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table = {t:String}",
			clickhouse.Param("t", table.Name)).Scan(&s.rows, &s.bytes)
		if err != nil {
			return nil, fmt.Errorf("measuring %s: %w", table.Name, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// askedQuestion is how long a question took, by the days of its period.
type askedQuestion struct {
	name  string
	times map[int][]time.Duration
	// cpu is what the engine used for all of them, its merges meanwhile included.
	cpu time.Duration
}

func (q askedQuestion) all() []time.Duration {
	return slices.Concat(slices.Collect(maps.Values(q.times))...)
}

// p95 is the least time that 95 of 100 asks stay under.
func p95(times []time.Duration) float64 { return percentile(times, 95) }

func percentile(times []time.Duration, of int) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	at := (len(sorted)*of+99)/100 - 1
	return rounded(float64(sorted[max(0, at)].Microseconds())/1000, 1)
}

func (q askedQuestion) line() string {
	var b strings.Builder
	all := q.all()
	fmt.Fprintf(&b, "%s\t%d\t%.0f\t%.0f\t%.0f\t%.0f", q.name, len(all), float64(q.cpu.Milliseconds())/float64(max(1, len(all))), percentile(all, 50), p95(all), percentile(all, 100))
	for _, days := range slices.Sorted(maps.Keys(q.times)) {
		fmt.Fprintf(&b, "\t%.0f", percentile(q.times[days], 50))
	}
	return b.String()
}

// ReadsReport is what a run measured.
type ReadsReport struct {
	sizes     []tableSize
	questions []askedQuestion
}

// Summary is the figures of the last line.
func (r ReadsReport) Summary() ReadsSummary {
	out := ReadsSummary{ReadP95Ms: make(map[string]float64)}
	for _, s := range r.sizes {
		if s.name == "events" {
			out.Rows = s.rows
		}
	}
	for _, q := range r.questions {
		out.ReadP95Ms[q.name] = p95(q.all())
	}
	return out
}

// Write prints the tables and, as the last line, the summary as JSON.
func (r ReadsReport) Write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "table\trows\tMB\tbytes/row\t") // Flush reports
	for _, s := range r.sizes {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%.1f\t%.1f\t\n", s.name, s.rows, float64(s.bytes)/1e6, float64(s.bytes)/float64(max(1, s.rows)))
	}
	_, _ = fmt.Fprint(table, "\t\t\t\t\t\nquestion\tasked\tCPU ms\tp50 ms\tp95 ms\tmax ms\tp50 1 day\t7 days\t30 days\t90 days\t\n")
	for _, q := range r.questions {
		_, _ = fmt.Fprintln(table, q.line()+"\t")
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	if err := json.NewEncoder(w).Encode(r.Summary()); err != nil {
		return fmt.Errorf("printing the figures: %w", err)
	}
	return nil
}
