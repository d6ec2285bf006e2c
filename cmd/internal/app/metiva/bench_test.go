package metiva

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBench(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", "./cmd/collector", "./cmd/metiva")
	build.Dir = filepath.Join("..", "..", "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the binaries: %v\n%s", err, out)
	}
	t.Run("the last line has the figures", func(t *testing.T) { testBenchFigures(t, bin) })
	t.Run("an interrupted run leaves nothing", func(t *testing.T) { testBenchInterrupted(t, bin) })
	t.Run("an outage loses nothing", func(t *testing.T) { testBenchOutage(t, bin) })
}

// testBenchFigures runs the whole measurement at its smallest, on the real
// binaries. What it measures is not judged: a busy machine would fail it.
func testBenchFigures(t *testing.T, bin string) {
	temp := t.TempDir()
	run := exec.CommandContext(t.Context(), filepath.Join(bin, "metiva"), "bench", "collector", "--rounds", "1", "--seconds", "0.3", "--connections", "8")
	run.Env = append(os.Environ(), "TMPDIR="+temp)
	var stdout, stderr bytes.Buffer
	run.Stdout, run.Stderr = &stdout, &stderr
	if err := run.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, stdout.String(), stderr.String())
	}
	t.Logf("\n%s", stdout.String())
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	var figures map[string]float64
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &figures); err != nil {
		t.Fatalf("the last line is %q: %v", lines[len(lines)-1], err)
	}
	for _, name := range []string{"cpu_ratio_vs_bare", "events_per_cpu_second", "allocs_per_event", "p99_ms_at_half_load"} {
		// So few requests may do without an allocation.
		if v, there := figures[name]; !there || v < 0 || v == 0 && name != "allocs_per_event" {
			t.Errorf("%s is %v", name, v)
		}
	}
	if len(figures) != 4 {
		t.Errorf("the last line holds %v", figures)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the run leaves %v behind (%v)", left, err)
	}
}

// testBenchInterrupted ends a run as Ctrl-C does, in the middle of a load.
func testBenchInterrupted(t *testing.T, bin string) {
	temp := t.TempDir()
	run := exec.CommandContext(t.Context(), filepath.Join(bin, "metiva"), "bench", "collector", "--rounds", "1", "--seconds", "30", "--connections", "8")
	run.Env = append(os.Environ(), "TMPDIR="+temp)
	stderr, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "round 1") {
	}
	var children []string
	if entries, err := os.ReadDir("/proc"); err == nil {
		for _, e := range entries {
			if cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd")); err == nil && strings.HasPrefix(cwd, temp) {
				children = append(children, e.Name())
			}
		}
	}
	if len(children) != 4 {
		t.Errorf("%d children run, there should be broker, bare handler and two collectors", len(children))
	}
	began := time.Now()
	if err := run.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // until it has ended
	}
	if err := run.Wait(); err == nil {
		t.Error("an interrupted measurement is reported as done")
	}
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("the end took %s", took)
	}
	for _, pid := range children {
		if cwd, err := os.Readlink(filepath.Join("/proc", pid, "cwd")); err == nil && strings.HasPrefix(cwd, temp) {
			t.Errorf("process %s still runs", pid)
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the run leaves %v behind (%v)", left, err)
	}
}
