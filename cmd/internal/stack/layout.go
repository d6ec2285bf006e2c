package stack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// layout is where things are in the data directory.
type layout struct {
	root string
	lock *os.File
}

// socketPathBytesMax is what a unix socket address holds (sun_path, less NUL).
const socketPathBytesMax = 107

const logBytesMax = 16 << 20

// openLayout creates the data directory and takes its lock.
func openLayout(root string) (*layout, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("finding the data directory: %w", err)
	}
	l := &layout{root: abs}
	for _, dir := range []string{"", "kafka", "clickhouse", "keys", "run", "log"} {
		mode := os.FileMode(0o700)
		if dir == "" {
			mode = 0o755 // Postgres, as root, runs as another user and passes through
		}
		if err := os.MkdirAll(l.path(dir), mode); err != nil {
			return nil, fmt.Errorf("creating the data directory: %w", err)
		}
	}
	lock, err := os.OpenFile(l.path("run", "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the lock of the data directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("%s is in use by another metiva: stop that one, or set METIVA_DATA to another directory", abs)
	}
	l.lock = lock
	// What a killed run noted is not where this one will be.
	if err := os.Remove(l.path("run", foundFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.close()
		return nil, fmt.Errorf("removing the addresses of an earlier run: %w", err)
	}
	return l, nil
}

func (l *layout) close() {
	_ = os.Remove(l.shortDir(os.TempDir())) // empty once the engine has stopped; usually it never was
	_ = os.Remove(l.shortDir(shortTempDir))
	_ = l.lock.Close()
}

func (l *layout) path(parts ...string) string {
	return filepath.Join(append([]string{l.root}, parts...)...)
}

// socket is a path for a unix socket: in the data directory, or in a folder
// named by its hash where that would be too long.
func (l *layout) socket(name string) (string, error) {
	p := l.path("run", name)
	if len(p) <= socketPathBytesMax {
		return p, nil
	}
	dir := l.shortDir(os.TempDir())
	if len(filepath.Join(dir, name)) > socketPathBytesMax {
		dir = l.shortDir(shortTempDir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("creating a folder for sockets: %w", err)
	}
	// In a folder others may write to, somebody may have been there first.
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("looking at the folder for sockets: %w", err)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("the folder for sockets, %s, is not ours alone", dir)
	}
	return filepath.Join(dir, name), nil
}

// shortTempDir is for a TMPDIR that is too long itself.
const shortTempDir = "/tmp"

func (l *layout) shortDir(tmp string) string {
	sum := sha256.Sum256([]byte(l.root))
	return filepath.Join(tmp, "metiva-"+hex.EncodeToString(sum[:8]))
}

// log opens a log file, keeping one older file once it has grown.
func (l *layout) log(name string) (*os.File, error) {
	p := l.path("log", name+".log")
	if info, err := os.Stat(p); err == nil && info.Size() > logBytesMax {
		if err := os.Rename(p, p+".1"); err != nil {
			return nil, fmt.Errorf("setting the log of %s aside: %w", name, err)
		}
	}
	f, err := os.OpenFile(p, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	return f, nil
}

// port finds the port a listener had last time, else the preferred one, else
// any that is free, and remembers it: Kafka's clients and the demo website keep
// their addresses over restarts.
func (l *layout) port(ctx context.Context, name string, preferred int) (int, error) {
	file := l.path("run", name+".port")
	candidates := []int{preferred, 0}
	if raw, err := os.ReadFile(file); err == nil {
		if p, err := strconv.Atoi(strings.TrimSpace(string(raw))); err == nil {
			candidates = append([]int{p}, candidates...)
		}
	}
	var lc net.ListenConfig
	var errs []error
	for _, p := range candidates {
		ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		got := ln.Addr().(*net.TCPAddr).Port
		if err := ln.Close(); err != nil {
			return 0, fmt.Errorf("freeing the port for %s: %w", name, err)
		}
		if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n", got), 0o600); err != nil {
			return 0, fmt.Errorf("remembering the port of %s: %w", name, err)
		}
		return got, nil
	}
	return 0, fmt.Errorf("finding a port for %s: %w", name, errors.Join(errs...))
}
