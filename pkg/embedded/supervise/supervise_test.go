package supervise_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/supervise"
	"github.com/metiva-io/metiva/pkg/waittest"
)

func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// shell is a child that says it is ready by writing a file, then runs body.
func shell(t *testing.T, body string) (supervise.Spec, string) {
	t.Helper()
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready")
	return supervise.Spec{
		Name: "child", Path: "/bin/sh",
		Args:        []string{"-c", "echo $$ >> " + dir + "/starts; touch " + ready + "; " + body},
		Env:         []string{"PATH=/usr/bin:/bin"},
		PIDFile:     filepath.Join(dir, "child.pid"),
		StaleMarker: dir,
		StopTimeout: 500 * time.Millisecond,
		Ready: func(context.Context) error {
			_, err := os.Stat(ready)
			return err
		},
		ReadyTimeout: 10 * time.Second,
	}, dir
}

func run(t *testing.T, p *supervise.Process) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func TestStartsAgainAfterAKillAndStopsCleanly(t *testing.T) {
	t.Parallel()
	spec, dir := shell(t, "exec sleep 600")
	p := supervise.New(spec, slog.New(slog.DiscardHandler))
	stop := run(t, p)
	<-p.Ready()
	first := p.PID()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, 10*time.Second, "a second child", func() bool { pid := p.PID(); return pid != 0 && pid != first })
	second := p.PID()
	if p.Restarts() != 1 {
		t.Errorf("restarts: %d", p.Restarts())
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	if alive(second) {
		t.Error("the child outlived Run")
	}
	if _, err := os.Stat(filepath.Join(dir, "child.pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the process-id file is still there: %v", err)
	}
}

func TestAChildThatIgnoresTheSignalIsKilledWithItsGroup(t *testing.T) {
	t.Parallel()
	spec, dir := shell(t, "trap '' TERM; sleep 600 & echo $! > "+"$0"+"; while :; do sleep 1; done")
	grandchild := filepath.Join(dir, "grandchild")
	spec.Args = append(spec.Args, grandchild)
	p := supervise.New(spec, slog.New(slog.DiscardHandler))
	stop := run(t, p)
	<-p.Ready()
	var pid int
	waittest.Until(t, 10*time.Second, "the grandchild", func() bool {
		raw, _ := os.ReadFile(grandchild)
		pid, _ = strconv.Atoi(strings.TrimSpace(string(raw)))
		return pid != 0
	})
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	waittest.Until(t, 5*time.Second, "the grandchild's end", func() bool { return !alive(pid) })
}

func TestALeftOverChildIsEndedBeforeTheStart(t *testing.T) {
	t.Parallel()
	spec, dir := shell(t, "exec sleep 600 "+"# marker")
	// The marker must be in the command line: `sh -c` keeps the script, which
	// names dir; exec would replace it, so the left-over runs without exec.
	spec.Args = []string{"-c", "touch " + dir + "/ready; while :; do sleep 1; done"}
	older := supervise.New(spec, slog.New(slog.DiscardHandler))
	stopOlder := run(t, older)
	<-older.Ready()
	stale := older.PID()
	pidFile, err := os.ReadFile(spec.PIDFile)
	if err != nil {
		t.Fatal(err)
	}
	// A second supervisor stands for the run after a SIGKILL of the first.
	newer := supervise.New(spec, slog.New(slog.DiscardHandler))
	if string(pidFile) != strconv.Itoa(stale)+"\n" {
		t.Fatalf("process-id file holds %q, the child is %d", pidFile, stale)
	}
	stopNewer := run(t, newer)
	<-newer.Ready()
	waittest.Until(t, 10*time.Second, "the left-over child's end", func() bool { return !alive(stale) })
	if newer.PID() == stale {
		t.Error("the new supervisor took over the old child")
	}
	_ = stopOlder()
	_ = stopNewer()
}

func TestAForeignProcessInThePIDFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	spec, _ := shell(t, "exec sleep 600")
	foreign := supervise.New(supervise.Spec{
		Name: "foreign", Path: "/bin/sleep", Args: []string{"600"},
		Ready: func(context.Context) error { return nil },
	}, slog.New(slog.DiscardHandler))
	stopForeign := run(t, foreign)
	<-foreign.Ready()
	if err := os.WriteFile(spec.PIDFile, []byte(strconv.Itoa(foreign.PID())), 0o600); err != nil {
		t.Fatal(err)
	}
	p := supervise.New(spec, slog.New(slog.DiscardHandler))
	stop := run(t, p)
	<-p.Ready()
	if !alive(foreign.PID()) {
		t.Error("a process that is not ours was ended")
	}
	_ = stop()
	_ = stopForeign()
}

// TestTheSameChildOfAnotherRunIsLeftAlone: a process id in an old file may now
// be that of the same engine over another data directory.
func TestTheSameChildOfAnotherRunIsLeftAlone(t *testing.T) {
	t.Parallel()
	spec, dir := shell(t, "")
	spec.Args = []string{"-c", "touch " + dir + "/ready; while :; do sleep 1; done"}
	spec.Dir = t.TempDir()
	other := spec
	other.Dir, other.PIDFile = t.TempDir(), ""
	running := supervise.New(other, slog.New(slog.DiscardHandler))
	stopRunning := run(t, running)
	<-running.Ready()
	pid := running.PID()
	if err := os.WriteFile(spec.PIDFile, []byte(strconv.Itoa(pid)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := supervise.New(spec, slog.New(slog.DiscardHandler))
	stop := run(t, p)
	<-p.Ready()
	if running.PID() != pid || !alive(pid) {
		t.Error("the child of another run was ended")
	}
	_ = stop()
	_ = stopRunning()
}

func TestACrashIsReported(t *testing.T) {
	t.Parallel()
	spec, _ := shell(t, "exec sleep 600")
	crashes := make(chan error, 1)
	spec.Ended = func(err error) { crashes <- err }
	p := supervise.New(spec, slog.New(slog.DiscardHandler))
	stop := run(t, p)
	<-p.Ready()
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-crashes; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("got %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("stopping: %v", err)
	}
	select {
	case err := <-crashes:
		t.Errorf("a stop that was asked for is reported: %v", err)
	default:
	}
}

func TestAChildThatIsNeverReadyIsAnError(t *testing.T) {
	t.Parallel()
	spec, _ := shell(t, "exec sleep 600")
	spec.Ready = func(context.Context) error { return errors.New("no answer on the socket") }
	spec.ReadyTimeout = 100 * time.Millisecond
	err := supervise.New(spec, slog.New(slog.DiscardHandler)).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no answer on the socket") {
		t.Errorf("got %v", err)
	}
}

func TestAChildThatEndsAtOnceIsAnError(t *testing.T) {
	t.Parallel()
	spec, _ := shell(t, "exit 3")
	spec.Ready = func(context.Context) error { return errors.New("not up") }
	err := supervise.New(spec, slog.New(slog.DiscardHandler)).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
}
