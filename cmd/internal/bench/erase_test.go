package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestEraseReport: a line for each step, and the figures as the last line.
func TestEraseReport(t *testing.T) {
	t.Parallel()
	want := EraseSummary{Rows: 5_000_000, VisitorRows: 44, VisitorSeconds: 6.2, TenantRows: 4_000_000, TenantSeconds: 5}
	var out bytes.Buffer
	err := EraseReport{EraseSummary: want, steps: []eraseStep{{"visitor", "delete", 5800 * time.Millisecond}, {"tenant", "count", time.Second}}}.Write(&out)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err != nil || len(lines) != 4 || !strings.Contains(lines[1], "5.8") {
		t.Fatalf("%v\n%s", err, out.String())
	}
	var got EraseSummary
	decoder := json.NewDecoder(strings.NewReader(lines[3]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}
