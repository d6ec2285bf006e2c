package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestReadsReport: the last line has the rows of events and a figure for each question,
// and nothing else.
func TestReadsReport(t *testing.T) {
	t.Parallel()
	times := make([]time.Duration, 100)
	for i := range times {
		times[i] = time.Duration(i+1) * time.Millisecond
	}
	report := ReadsReport{
		sizes:     []tableSize{{"events", 5_000_000, 640 << 20}, {"visits", 1, 1}},
		questions: []askedQuestion{{name: "pages", times: map[int][]time.Duration{1: times[:50], 90: times[50:]}}},
	}
	var out bytes.Buffer
	if err := report.Write(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var got ReadsSummary
	decoder := json.NewDecoder(strings.NewReader(lines[len(lines)-1]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil || got.Rows != 5_000_000 || got.ReadP95Ms["pages"] != 95 || len(got.ReadP95Ms) != 1 {
		t.Errorf("%s: %+v, %v", lines[len(lines)-1], got, err)
	}
}
