package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Serve loads the engine into this process and answers on the socket until ctx
// ends. It then lets running statements end for cfg.DrainTimeout, cancels the
// rest, closes the engine and removes the socket. A process can serve once:
// the library cannot be unloaded.
func Serve(ctx context.Context, cfg Config, log *slog.Logger) error {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	lock, err := lockDataDir(ctx, cfg)
	if err != nil {
		return err
	}
	defer lock.Close()

	started := time.Now()
	engine, err := openEngine(cfg)
	if err != nil {
		return err
	}
	listener, err := listen(cfg.SocketPath)
	if err != nil {
		return errors.Join(err, engine.close(context.WithoutCancel(ctx)))
	}
	log.Info("clickhouse engine ready", "socket", cfg.SocketPath, "seconds", time.Since(started).Seconds())
	return serveListener(ctx, cfg, engine, listener, log)
}

func serveListener(ctx context.Context, cfg Config, engine *engine, listener net.Listener, log *slog.Logger) error {
	// Requests outlive ctx while they drain; cancelRequests ends them.
	requests, cancelRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelRequests()
	server := &http.Server{
		Handler:           &handler{cfg: cfg, engine: engine, log: log},
		MaxHeaderBytes:    urlBytesMax,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()

	var serveErr error
	select {
	case <-ctx.Done():
	case serveErr = <-failed:
		serveErr = fmt.Errorf("serving %s: %w", cfg.SocketPath, serveErr)
	}
	drain, cancelDrain := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout)
	defer cancelDrain()
	if err := server.Shutdown(drain); err != nil {
		log.Warn("cancelling the statements that still run", "error", err)
		cancelRequests()
		_ = server.Close()
	}
	closing, cancelClosing := context.WithTimeout(context.WithoutCancel(ctx), cfg.DrainTimeout)
	defer cancelClosing()
	if err := engine.close(closing); err != nil {
		return errors.Join(serveErr, fmt.Errorf("closing the engine: %w", err))
	}
	log.Info("clickhouse engine closed")
	return serveErr
}

// lockDataDir holds DataDir/lock for the life of the process. The kernel drops
// it with the process, so a killed one leaves nothing to clean up.
func lockDataDir(ctx context.Context, cfg Config) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(cfg.DataDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	deadline := time.NewTimer(cfg.LockTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("locking the data directory: %w", err), f.Close())
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-deadline.C:
		}
		holder, _ := io.ReadAll(io.LimitReader(f, 32))
		return nil, errors.Join(fmt.Errorf("another process (%s) serves the data directory %s", holder, cfg.DataDir), f.Close())
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "pid %d", os.Getpid())
	}
	return f, nil
}

// listen takes the socket over from a killed process, and refuses one that
// somebody answers on. Only the owner may connect.
func listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the socket's directory: %w", err)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("listening on %s: a file that is not a socket is there", path)
		}
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil { //nolint:noctx // a local probe with its own time-out
			return nil, errors.Join(fmt.Errorf("listening on %s: another process answers there", path), conn.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("removing a stale socket: %w", err)
		}
	}
	// The mask covers the moment between bind and chmod. It is the process's,
	// and this process does nothing else yet.
	old := syscall.Umask(0o177)
	listener, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("closing the socket to others: %w", err), listener.Close())
	}
	return listener, nil
}

// Probe reports whether an engine answers on the socket and can run a
// statement.
func Probe(ctx context.Context, socketPath string) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socketPath)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://clickhouse/?query=SELECT%201", http.NoBody)
	if err != nil {
		return fmt.Errorf("probing the clickhouse engine: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("probing the clickhouse engine: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("probing the clickhouse engine: status %d", res.StatusCode)
	}
	return nil
}
