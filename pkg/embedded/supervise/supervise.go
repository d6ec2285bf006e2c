package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Spec says what to run. Name, Path and Ready are required.
type Spec struct {
	Name string
	Path string
	Args []string
	// Env is the whole environment of the child.
	Env []string
	Dir string
	// Credential is the user to run as; nil for our own.
	Credential *syscall.Credential
	// PIDFile names the running child, so that the next run can end a child
	// that outlived a killed parent. Empty: none is kept.
	PIDFile string
	// StaleMarker must stand in the command line of a left-over process, and Dir,
	// when given, must be where it works, before it is ended: a process id may
	// have been given to somebody else, such as the same child of another run.
	StaleMarker string
	// StopSignal defaults to SIGTERM.
	StopSignal syscall.Signal
	// StopTimeout is how long the child may drain before SIGKILL; default 10 s.
	StopTimeout time.Duration
	// Ready is asked until it returns nil.
	Ready func(ctx context.Context) error
	// ReadyTimeout is how long one start may take to become ready; default 60 s.
	ReadyTimeout time.Duration
	// Ended, when set, is told of each end of the child that nobody asked for,
	// before the child is started again.
	Ended func(err error)
	// Output receives what the child prints; nil discards it.
	Output io.Writer
}

const (
	restartWaitMin = 100 * time.Millisecond
	restartWaitMax = 5 * time.Second
	// A child that ran this long is taken to be healthy: the next wait starts
	// from restartWaitMin again.
	healthyAfter = 10 * time.Second
	probeEvery   = 20 * time.Millisecond
	probeTimeout = 2 * time.Second
)

// Process is one supervised child.
type Process struct {
	spec  Spec
	log   *slog.Logger
	ready chan struct{}
	once  sync.Once
	pid   atomic.Int64
	// restarts counts starts after the first.
	restarts atomic.Int64
}

// New prepares a child; Run starts it.
func New(spec Spec, log *slog.Logger) *Process {
	if spec.StopSignal == 0 {
		spec.StopSignal = syscall.SIGTERM
	}
	if spec.StopTimeout == 0 {
		spec.StopTimeout = 10 * time.Second
	}
	if spec.ReadyTimeout == 0 {
		spec.ReadyTimeout = time.Minute
	}
	return &Process{spec: spec, log: log.With(slog.String("child", spec.Name)), ready: make(chan struct{})}
}

// Ready is closed when the child has been ready for the first time.
func (p *Process) Ready() <-chan struct{} { return p.ready }

// PID is the process id of the running child, 0 between two.
func (p *Process) PID() int { return int(p.pid.Load()) }

// Restarts is how often the child was started again after a crash.
func (p *Process) Restarts() int { return int(p.restarts.Load()) }

// errExited marks a child that ended by itself.
var errExited = errors.New("the child process ended")

// Run ends a left-over child, starts ours and keeps it running until ctx ends;
// then it stops it and returns nil. It returns an error when the child cannot
// be started at all, or does not become ready on its first start.
func (p *Process) Run(ctx context.Context) error {
	if err := p.endStale(); err != nil {
		return fmt.Errorf("ending a left-over %s: %w", p.spec.Name, err)
	}
	wait := restartWaitMin
	for {
		began := time.Now()
		err := p.runOnce(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		firstStart := false
		select {
		case <-p.ready:
		default:
			firstStart = true
		}
		if firstStart {
			return fmt.Errorf("starting %s: %w", p.spec.Name, err)
		}
		if time.Since(began) > healthyAfter {
			wait = restartWaitMin
		}
		p.log.Warn("child ended, starting it again", slog.Any("error", err), slog.Duration("wait", wait))
		if p.spec.Ended != nil {
			p.spec.Ended(err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		wait = min(wait*2, restartWaitMax)
		p.restarts.Add(1)
	}
}

// runOnce starts the child, waits for its readiness and then for its end.
func (p *Process) runOnce(ctx context.Context) error {
	cmd := exec.Command(p.spec.Path, p.spec.Args...) //nolint:noctx // stopped by signal and deadline below, not killed with the context
	cmd.Env, cmd.Dir = p.spec.Env, p.spec.Dir
	cmd.Stdout, cmd.Stderr = p.spec.Output, p.spec.Output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: p.spec.Credential, Pdeathsig: syscall.SIGTERM}
	exited, err := p.start(cmd)
	if err != nil {
		return err
	}
	p.pid.Store(int64(cmd.Process.Pid))
	defer p.pid.Store(0)
	p.writePIDFile(cmd.Process.Pid)
	defer p.removePIDFile()

	probeCtx, cancelProbe := context.WithTimeout(ctx, p.spec.ReadyTimeout)
	defer cancelProbe()
	probed := make(chan error, 1)
	go func() { probed <- p.probe(probeCtx) }()
	for {
		select {
		case err := <-exited:
			return fmt.Errorf("%w: %w", errExited, err)
		case err := <-probed:
			probed = nil
			if err != nil && ctx.Err() == nil {
				p.stop(cmd, exited)
				return fmt.Errorf("not ready within %s: %w", p.spec.ReadyTimeout, err)
			}
			if err == nil {
				p.log.Info("child ready", slog.Int("pid", cmd.Process.Pid))
				p.once.Do(func() { close(p.ready) })
			}
		case <-ctx.Done():
			p.stop(cmd, exited)
			return nil
		}
	}
}

// start runs the child from a thread of its own that lives as long as the
// child: the kernel sends Pdeathsig when the creating thread ends.
func (p *Process) start(cmd *exec.Cmd) (<-chan error, error) {
	started := make(chan error, 1)
	exited := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- fmt.Errorf("starting the process: %w", err)
			return
		}
		started <- nil
		err := cmd.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		exited <- err
	}()
	return exited, <-started
}

func (p *Process) probe(ctx context.Context) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, probeTimeout)
		err := p.spec.Ready(once)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// stop asks the child to drain, and kills its process group when it does not.
func (p *Process) stop(cmd *exec.Cmd, exited <-chan error) {
	_ = cmd.Process.Signal(p.spec.StopSignal)
	select {
	case <-exited:
	case <-time.After(p.spec.StopTimeout):
		p.log.Warn("child did not stop in time, killing it", slog.Duration("timeout", p.spec.StopTimeout))
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	}
	// Whatever the child started shares its group.
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

func (p *Process) writePIDFile(pid int) {
	if p.spec.PIDFile == "" {
		return
	}
	if err := os.WriteFile(p.spec.PIDFile, fmt.Appendf(nil, "%d\n", pid), 0o600); err != nil {
		p.log.Warn("the process-id file was not written", slog.Any("error", err))
	}
}

func (p *Process) removePIDFile() {
	if p.spec.PIDFile != "" {
		_ = os.Remove(p.spec.PIDFile)
	}
}
