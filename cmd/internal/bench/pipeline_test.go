package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestPipelineReport: ratios are of the same round, and the last line has the figures
// under the names the issue gives them, and no others.
func TestPipelineReport(t *testing.T) {
	t.Parallel()
	samples := []sinkSample{
		{bareCPU: 4e-6, sinkCPU: 5e-6, bareWall: time.Second, sinkWall: time.Second},
		{bareCPU: 4e-6, sinkCPU: 6e-6, bareWall: time.Second, sinkWall: time.Second},
		{bareCPU: 2e-6, sinkCPU: 8e-6, bareWall: time.Second, sinkWall: time.Second},
	}
	f := freshness{sent: 10, accepted: 10, p50: 400 * time.Millisecond, p95: 900 * time.Millisecond}
	r := newPipelineReport(PipelineConfig{Events: 1000}, f, samples, 93.27)
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	var out bytes.Buffer
	if err := r.Write(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	const want = `{"fresh_p50_ms":400,"fresh_p95_ms":900,"lost":0,"doubled":0,"written_per_second":166667,"sink_ratio_vs_bare_insert":1.5,"bytes_per_row":93.3}`
	if got := lines[len(lines)-1]; got != want || !json.Valid([]byte(got)) {
		t.Errorf("the last line is %s", got)
	}
	for name, bad := range map[string]freshness{"lost": {lost: 1}, "doubled": {doubled: 1}, "never sent": {invented: 1}, "refused": {sent: 1}} {
		if newPipelineReport(PipelineConfig{}, bad, samples, 1).Check() == nil {
			t.Errorf("an event is %s, and the run does not fail", name)
		}
	}
	samples[1].wrong = 1
	if newPipelineReport(PipelineConfig{}, f, samples, 1).Check() == nil {
		t.Error("a row of the sink is there twice, and the run does not fail")
	}
}

// TestFreshnessIsJudgedByIDs: each event that was sent is looked for by itself.
func TestFreshnessIsJudgedByIDs(t *testing.T) {
	t.Parallel()
	id := func(n byte) [16]byte { return [16]byte{n} }
	began := time.Now()
	shots := []shot{
		{id: id(1), at: pipelineWarm - 1, accepted: true},
		{id: id(2), at: pipelineWarm, accepted: true},
		{id: id(3), at: pipelineWarm, accepted: true},
		{id: id(4), at: pipelineWarm},
		{id: id(5), at: pipelineWarm, accepted: true},
	}
	seen := map[[16]byte]time.Time{
		id(1): began.Add(pipelineWarm + 9*time.Second), id(2): began.Add(pipelineWarm + time.Second), id(5): began.Add(pipelineWarm + 3*time.Second),
	}
	f := judgeFreshness(shots, began, seen, map[[16]byte]int{id(1): 1, id(2): 2, id(5): 1, id(9): 1})
	want := freshness{sent: 5, accepted: 4, measured: 2, lost: 1, doubled: 1, invented: 1, p50: time.Second, p95: time.Second, max: 3 * time.Second}
	if f != want {
		t.Errorf("got %+v, want %+v", f, want)
	}
}

// TestEnrichedRows: what the rounds write is what enrich could have written, and the
// bare loop has the columns of it all.
func TestEnrichedRows(t *testing.T) {
	t.Parallel()
	made := newEnrichedRows(time.Now().Add(-time.Hour))
	types := map[metivav1.EventType]int{}
	var rows []*metivav1.EnrichedEvent
	for n := range 5000 {
		e := made.event(n)
		if !schemas.DetailFits(e) || e.GetVisitorId() != nil && e.GetConsent() != metivav1.ConsentState_CONSENT_STATE_ANALYTICS {
			t.Fatalf("event %d is none: %v", n, e)
		}
		types[e.GetType()]++
		rows = append(rows, e)
	}
	if len(types) != 4 || proto.Equal(rows[0], rows[1]) {
		t.Errorf("types %v", types)
	}
	for _, c := range bareColumns(rows) {
		if c.Name == "" || c.Values == nil {
			t.Errorf("column %q has no values", c.Name)
		}
	}
}
