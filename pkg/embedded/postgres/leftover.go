package postgres

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// A left-over server first gets a fast shutdown, then an immediate one, then
	// SIGKILL.
	leftOverFast      = 3 * time.Second
	leftOverImmediate = 2 * time.Second
	leftOverKilled    = 2 * time.Second
	leftOverPoll      = 20 * time.Millisecond
)

// endLeftOver ends every process that works in the cluster: a server whose
// supervisor was killed, or backends whose server was. Postgres processes have
// the cluster as their working directory, so nobody else is hit when a process
// id was given away. It then removes postmaster.pid.
func endLeftOver(data string) error {
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{
		{syscall.SIGINT, leftOverFast},
		{syscall.SIGQUIT, leftOverImmediate},
		{syscall.SIGKILL, leftOverKilled},
	} {
		pids := workingIn(data)
		if len(pids) == 0 {
			break
		}
		for _, pid := range leaders(data, pids, step.signal) {
			if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("ending left-over process %d: %w", pid, err)
			}
		}
		for deadline := time.Now().Add(step.wait); len(workingIn(data)) > 0 && time.Now().Before(deadline); {
			time.Sleep(leftOverPoll)
		}
	}
	if left := workingIn(data); len(left) > 0 {
		return fmt.Errorf("process %d still works in the cluster", left[0])
	}
	if err := os.Remove(filepath.Join(data, pidFileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a stale process-id file: %w", err)
	}
	return nil
}

const pidFileName = "postmaster.pid"

// leaders is whom to signal: the server itself, which ends its backends, or
// all of them when it is gone or is to be killed.
func leaders(data string, pids []int, signal syscall.Signal) []int {
	if signal == syscall.SIGKILL {
		return pids
	}
	server, _ := readPIDFile(data)
	for _, pid := range pids {
		if pid == server {
			return []int{server}
		}
	}
	return pids
}

// workingIn lists the live processes whose working directory is dir.
func workingIn(dir string) []int {
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if cwd, err := os.Readlink("/proc/" + e.Name() + "/cwd"); err == nil && cwd == resolved {
			pids = append(pids, pid)
		}
	}
	return pids
}

// readPIDFile reads postmaster.pid: the server's process id on line 1 and its
// state on line 8 (PostgreSQL source, utils/pidfile.h).
func readPIDFile(data string) (pid int, state string) {
	f, err := os.Open(filepath.Join(data, pidFileName))
	if err != nil {
		return 0, ""
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		switch n {
		case 1:
			pid, _ = strconv.Atoi(strings.TrimSpace(lines.Text()))
		case 8:
			state = strings.TrimSpace(lines.Text())
		}
	}
	return pid, state
}
