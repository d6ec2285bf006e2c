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
		{copyCPU: 2e-6, workerCPU: 4e-6, chainCPU: 2e-6, chain: 1.1, copyWall: time.Second, workerWall: time.Second, steps: steps},
		{copyCPU: 4e-6, workerCPU: 8e-6, chainCPU: 4e-6, chain: 1.1, copyWall: time.Second, workerWall: time.Second, steps: steps},
		{copyCPU: 1e-6, workerCPU: 5e-6, chainCPU: 2e-6, chain: 1.1, copyWall: time.Second, workerWall: time.Second, steps: steps},
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
	if got.CPURatioVsCopy != 2 || got.WorkerEventsPerCPUSecond != 200000 || got.ChainEventsPerCPUSecond != 500000 || got.AllocsPerEvent != 1.1 || got.StepsNs["decode"] != 600 {
		t.Errorf("got %+v", got)
	}
}
