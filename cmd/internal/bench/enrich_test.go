package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestEnrichReport: ratios are of the same round, and the last line has the figures
// under the names the issue gives them.
func TestEnrichReport(t *testing.T) {
	t.Parallel()
	steps := map[string]time.Duration{"decode": 600 * time.Nanosecond}
	var out bytes.Buffer
	if err := newEnrichReport(1000, []enrichSample{
		{copied: spent{cpu: 2e-6, wall: time.Second}, library: spent{cpu: 8e-6, wall: time.Second}, worker: spent{cpu: 4e-6, wall: time.Second}, chainCPU: 2e-6, chain: 1.1, steps: steps},
		{copied: spent{cpu: 4e-6, wall: time.Second}, library: spent{cpu: 8e-6, wall: time.Second}, worker: spent{cpu: 8e-6, wall: time.Second}, chainCPU: 4e-6, chain: 1.1, steps: steps},
		{copied: spent{cpu: 1e-6, wall: time.Second}, library: spent{cpu: 4e-6, wall: time.Second}, worker: spent{cpu: 5e-6, wall: time.Second}, chainCPU: 2e-6, chain: 1.1, steps: steps},
	}).Write(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var got EnrichSummary
	decoder := json.NewDecoder(strings.NewReader(lines[len(lines)-1]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.CPURatioVsLibraryCopy != 1 || got.CopyUs != 2 || got.LibraryCopyUs != 8 || got.WorkerUs != 5 {
		t.Errorf("got %+v", got)
	}
	if got.CPURatioVsCopy != 2 || got.WorkerEventsPerCPUSecond != 200000 || got.ChainEventsPerCPUSecond != 500000 || got.AllocsPerEvent != 1.1 || got.StepsNs["decode"] != 600 {
		t.Errorf("got %+v", got)
	}
}
