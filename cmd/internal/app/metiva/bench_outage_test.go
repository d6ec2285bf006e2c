package metiva

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// testBenchOutage runs the outages at their smallest, on the real binaries and a
// Kafka of its own. How long an answer took is not judged: a busy machine would
// fail it.
func testBenchOutage(t *testing.T, bin string) {
	temp := t.TempDir()
	run := exec.CommandContext(t.Context(), filepath.Join(bin, "metiva"), "bench", "outage",
		"--rate", "200", "--connections", "32", "--calm", "500ms", "--stall", "1s", "--away", "2s", "--duration", "2m")
	run.Env = append(os.Environ(), "TMPDIR="+temp)
	var stdout, stderr bytes.Buffer
	run.Stdout, run.Stderr = &stdout, &stderr
	if err := run.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout.String(), stderr.String())
	}
	t.Logf("\n%s", stdout.String())
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	var found struct {
		Answers  int64   `json:"answers"`
		Not2xx   *int64  `json:"not_2xx"`
		Spooled  int64   `json:"spooled"`
		Lost     *int64  `json:"lost"`
		Invented *int64  `json:"invented"`
		Doubled  *int64  `json:"doubled"`
		Balanced bool    `json:"balanced"`
		RSSPeak  float64 `json:"rss_mb_peak"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &found); err != nil {
		t.Fatalf("the last line is %q: %v", lines[len(lines)-1], err)
	}
	for name, n := range map[string]*int64{"not_2xx": found.Not2xx, "lost": found.Lost, "invented": found.Invented, "doubled": found.Doubled} {
		if n == nil || *n != 0 {
			t.Errorf("%s is not 0", name)
		}
	}
	// Three seconds without Kafka at the least, at 200 a second.
	if !found.Balanced || found.Spooled < 300 || found.Answers < 800 || found.RSSPeak <= 0 {
		t.Errorf("found %+v", found)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the run leaves %v behind (%v)", left, err)
	}
}
