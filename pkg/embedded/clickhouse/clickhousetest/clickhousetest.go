package clickhousetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/clickhouse"
)

// childVariable carries the child's configuration as JSON.
const childVariable = "METIVA_TEST_CLICKHOUSE_CHILD"

const readyTimeout = 60 * time.Second

// IsChild reports whether this process is an engine, for a TestMain that starts other
// engines too: it calls Main then, and nothing else.
func IsChild() bool { return os.Getenv(childVariable) != "" }

// Main runs the tests, or the engine when this process is its child.
func Main(m *testing.M) int {
	if code, child := Child(); child {
		return code
	}
	return m.Run()
}

// Child runs the engine when this process is its child, and gives its exit code. A
// TestMain that does more than Main calls it first.
func Child() (code int, child bool) {
	raw := os.Getenv(childVariable)
	if raw == "" {
		return 0, false
	}
	return serve(raw), true
}

func serve(raw string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	var cfg clickhouse.Config
	if err := json.Unmarshal([]byte(raw), &cfg); err != nil {
		log.Error("reading the child's configuration", "error", err)
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Standard input ends when the tests end or die: no engine is left behind.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := clickhouse.Serve(ctx, cfg, log); err != nil && !errors.Is(err, context.Canceled) {
		log.Error("embedded clickhouse", "error", err)
		return 1
	}
	return 0
}

// Server is a running engine with its own data directory.
type Server struct {
	t   testing.TB
	cfg clickhouse.Config

	mu     sync.Mutex
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan struct{}
}

// Start runs an engine on an empty data directory until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartConfig(t, clickhouse.Config{})
}

// StartConfig is Start with limits of its own; paths in cfg are replaced.
func StartConfig(t testing.TB, cfg clickhouse.Config) *Server {
	t.Helper()
	if os.Getenv(childVariable) != "" {
		t.Fatal("this test binary uses clickhousetest.Start: let its TestMain call clickhousetest.Main")
	}
	// Not t.TempDir: a unix socket's path is limited to 107 bytes.
	dir, err := os.MkdirTemp("", "mch")
	if err != nil {
		t.Fatal(err)
	}
	cfg.LibraryPath, cfg.DataDir, cfg.SocketPath = libraryPath(t), filepath.Join(dir, "data"), filepath.Join(dir, "s")
	s := &Server{t: t, cfg: cfg}
	t.Cleanup(func() {
		s.Stop()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s.Restart()
	return s
}

func libraryPath(t testing.TB) string {
	path := os.Getenv("METIVA_TEST_LIBCHDB")
	if path == "" {
		cache := os.Getenv("METIVA_CACHE")
		if cache == "" {
			user, err := os.UserCacheDir()
			if err != nil {
				t.Fatal(err)
			}
			cache = filepath.Join(user, "metiva")
		}
		path = filepath.Join(cache, "engines", "node_modules", "@chdb", "lib-linux-x64-gnu", "libchdb.so")
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the embedded ClickHouse is not installed, run `make engines`: %v", err)
	}
	return path
}

// URL is the address of the engine and its database "metiva", as
// pkg/clickhouse reads it. The database exists once it has been migrated.
func (s *Server) URL() string {
	return "http+unix://" + s.cfg.SocketPath + "?database=metiva"
}

// Config is what the engine runs with.
func (s *Server) Config() clickhouse.Config { return s.cfg }

// RestartAs stops the engine and starts it again on its data with a user who may do this
// and nothing else (clickhouse.Config.Grants); without any, with its own.
func (s *Server) RestartAs(grants ...string) {
	s.t.Helper()
	s.Stop()
	s.cfg.Grants = grants
	s.Restart()
}

// Kill ends the engine with SIGKILL and waits until it is gone.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	s.gone()
}

// Stop ends the engine as the supervisor does and waits until it is gone.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.stdin.Close()
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-s.exited:
	case <-timer.C:
		s.t.Error("the embedded ClickHouse did not stop within 20 s")
		_ = s.cmd.Process.Kill()
	}
	s.gone()
}

func (s *Server) gone() {
	<-s.exited
	_ = s.stdin.Close()
	s.cmd = nil
}

// Restart starts the engine on the same data after Kill or Stop, and waits
// until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.t.Fatal("the embedded ClickHouse is running already")
	}
	if err := s.start(); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := clickhouse.Probe(ctx, s.cfg.SocketPath)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-s.exited:
			s.t.Fatal("the embedded ClickHouse ended at its start")
		case <-ctx.Done():
			s.t.Fatalf("the embedded ClickHouse was not ready within %s: %v", readyTimeout, err)
		}
	}
}

func (s *Server) start() error {
	config, err := json.Marshal(s.cfg)
	if err != nil {
		return fmt.Errorf("writing the child's configuration: %w", err)
	}
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the test binary: %w", err)
	}
	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), childVariable+"="+string(config))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("starting the embedded ClickHouse: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the embedded ClickHouse: %w", err)
	}
	s.cmd, s.stdin, s.exited = cmd, stdin, make(chan struct{})
	go func(exited chan struct{}) {
		_ = cmd.Wait()
		close(exited)
	}(s.exited)
	return nil
}
