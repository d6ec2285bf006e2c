package spool

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// killDirEnv makes the test binary a process that appends until it is killed.
const killDirEnv = "METIVA_TEST_SPOOL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		appendUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// appendUntilKilled prints the number of each record that is durable.
func appendUntilKilled(dir string) {
	deps, _ := testDeps()
	s, err := Open(Config{Dir: dir, SegmentBytes: 4096, BytesMax: 1 << 30, SyncInterval: time.Microsecond}, deps)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stdout, "error", err)
		return
	}
	go func() { _ = s.Run(bufferedContext{}) }()
	var mu sync.Mutex
	from, _ := strconv.Atoi(os.Getenv("METIVA_TEST_SPOOL_FROM"))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := from + w; ; i += 4 {
				var b Batch
				_ = b.Add("t", w, nil, fmt.Append(nil, i, strings.Repeat("x", i%200)))
				r, err := s.Append(&b, false)
				if err != nil {
					_, _ = fmt.Fprintln(os.Stdout, "error", err)
					return
				}
				if <-r.Ack.Done(); r.Ack.Err() != nil {
					_, _ = fmt.Fprintln(os.Stdout, "error", r.Ack.Err())
					return
				}
				mu.Lock()
				_, _ = fmt.Fprintln(os.Stdout, i)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// bufferedContext never ends.
type bufferedContext struct{}

func (bufferedContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (bufferedContext) Done() <-chan struct{}       { return nil }
func (bufferedContext) Err() error                  { return nil }
func (bufferedContext) Value(any) any               { return nil }

// A process is killed again and again while it appends; what it said is durable
// is there, in order.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acked := map[int]bool{}
	for round := range 6 {
		from := round * 1_000_000
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killDirEnv+"="+dir, "METIVA_TEST_SPOOL_FROM="+strconv.Itoa(from))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		scanner := bufio.NewScanner(out)
		for n := 0; scanner.Scan(); n++ {
			number, err := strconv.Atoi(scanner.Text())
			if err != nil {
				t.Errorf("the process says %q", scanner.Text())
				break
			}
			acked[number] = true
			if n == 50+37*round {
				if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Error("the process was not killed")
		}
	}
	r := startIn(t, Config{Dir: dir})
	n := int(r.Stats().Records)
	if n < len(acked) {
		t.Fatalf("%d records, %d were acknowledged", n, len(acked))
	}
	last := map[int]int{}
	for _, e := range r.take(n) {
		number, err := strconv.Atoi(strings.TrimRight(string(e.Value), "x"))
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := last[e.Partition]; ok && number <= before {
			t.Fatalf("%d after %d", number, before)
		}
		last[e.Partition] = number
		delete(acked, number)
	}
	if len(acked) > 0 {
		t.Errorf("%d acknowledged records are lost", len(acked))
	}
	t.Logf("%d records", n)
}
