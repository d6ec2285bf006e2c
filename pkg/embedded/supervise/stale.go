package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// staleStopTimeout is how long a left-over process may take to stop before it
// is killed.
const staleStopTimeout = 5 * time.Second

// endStale ends the process named in the process-id file of a killed run.
func (p *Process) endStale() error {
	if p.spec.PIDFile == "" {
		return nil
	}
	raw, err := os.ReadFile(p.spec.PIDFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.removePIDFile()
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || pid <= 1 || !p.isOurs(pid) {
		return nil // a torn file, or the id now belongs to somebody else
	}
	p.log.Warn("ending a child that outlived its parent", slog.Int("pid", pid))
	if err := syscall.Kill(pid, p.spec.StopSignal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signalling process %d: %w", pid, err)
	}
	deadline := time.Now().Add(staleStopTimeout)
	for p.isOurs(pid) {
		if time.Now().After(deadline) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("killing process %d: %w", pid, err)
			}
			deadline = deadline.Add(staleStopTimeout)
		}
		time.Sleep(probeEvery)
	}
	return nil
}

// isOurs reports whether pid runs, is no zombie, shows our marker in its
// command line, and works in our directory.
func (p *Process) isOurs(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(line) == 0 {
		return false
	}
	if p.spec.StaleMarker == "" || !bytes.Contains(bytes.ReplaceAll(line, []byte{0}, []byte{' '}), []byte(p.spec.StaleMarker)) {
		return false
	}
	if p.spec.Dir == "" {
		return true
	}
	ours, err := filepath.EvalSymlinks(p.spec.Dir)
	if err != nil {
		return false
	}
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && its == ours
}
