package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	embedded "github.com/metiva-io/metiva/pkg/embedded/postgres"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/secret"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

// shared is the test binary's server. It is package state on purpose: the
// tests of a binary share one server, and Main ends it.
var shared struct {
	once    sync.Once
	main    atomic.Bool
	err     error
	server  *embedded.Server
	cancel  context.CancelFunc
	done    chan error
	dir     string
	numbers atomic.Int64
	// templates is held while a database is copied: Postgres refuses to copy a
	// template somebody is connected to.
	templates sync.Mutex
}

// Main runs the tests, stops the server and exits. Call it in TestMain:
//
//	func TestMain(m *testing.M) { postgrestest.Main(m) }
//
// Checks run after the server has stopped, and their error fails the run
// (goleak.Find).
func Main(m *testing.M, checks ...func() error) {
	shared.main.Store(true)
	code := m.Run()
	if err := stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the test Postgres:", err)
		code = max(code, 1)
	}
	for _, check := range checks {
		if err := check(); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// Server is one test's database.
type Server struct {
	database string
}

const template = "metiva_template"

// Start returns a fresh database with every migration applied. It is dropped
// when the test ends.
func Start(tb testing.TB) *Server {
	tb.Helper()
	return start(tb, template)
}

// StartEmpty returns a fresh database without any migration.
func StartEmpty(tb testing.TB) *Server {
	tb.Helper()
	return start(tb, "template0")
}

// URL is the connection URL of a role of schemas/postgres to the test's
// database.
func (s *Server) URL(role string) secret.Text {
	return shared.server.DatabaseURL(role, s.database)
}

// AdminURL is the superuser's, to plant faults.
func (s *Server) AdminURL() secret.Text { return s.URL(embedded.RoleAdmin) }

func start(tb testing.TB, from string) *Server {
	tb.Helper()
	if !shared.main.Load() {
		tb.Fatal("call postgrestest.Main in TestMain")
	}
	shared.once.Do(func() { shared.err = boot() })
	if shared.err != nil {
		tb.Fatalf("starting the test Postgres: %v", shared.err)
	}
	s := &Server{database: "test_" + strconv.FormatInt(shared.numbers.Add(1), 10)}
	if err := createDatabase(s.database, from); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := admin(postgres.DropDatabase(s.database)); err != nil {
			tb.Errorf("dropping the test database: %v", err)
		}
	})
	return s
}

func createDatabase(name, from string) error {
	shared.templates.Lock()
	defer shared.templates.Unlock()
	statements := []string{postgres.CreateDatabase(name, from, schema.RoleOwner)}
	if from == template {
		// A copy does not take along what the migrations revoked on the database.
		statements = append(statements, postgres.RevokeTemporary(name))
	}
	return admin(statements...)
}

func admin(statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return postgres.Administer(ctx, shared.server.DatabaseURL(embedded.RoleAdmin, "postgres"), statements...)
}

const dirPrefix = "metiva-postgrestest-"

// boot starts the server and makes the template.
func boot() error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	bin, err := embedded.FindBinaries(cache)
	if err != nil {
		return err
	}
	sweep()
	// The name holds our process id, so that a later run can tell a directory
	// whose run was killed.
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return err
	}
	shared.dir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	shared.server, err = embedded.New(embedded.Config{BinDir: bin, DataDir: dir, ConnectionsMax: 200, UnsafeNoSync: true}, log)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	shared.cancel, shared.done = cancel, make(chan error, 1)
	go func() { shared.done <- shared.server.Run(ctx) }()
	select {
	case <-shared.server.Ready():
	case err := <-shared.done:
		shared.done <- err
		return fmt.Errorf("the server ended: %w", err)
	}
	if err := createDatabase(template, "template0"); err != nil {
		return err
	}
	_, err = postgres.Migrate(ctx, shared.server.DatabaseURL(schema.RoleMigrate, template), log)
	return err
}

func stop() error {
	if shared.cancel == nil {
		if shared.dir != "" {
			return os.RemoveAll(shared.dir)
		}
		return nil
	}
	shared.cancel()
	return errors.Join(<-shared.done, embedded.Remove(shared.dir), os.RemoveAll(shared.dir))
}

// sweep removes what killed test runs left: their server and directory.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range dirs {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		pid, err := strconv.Atoi(text)
		if err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		if embedded.Remove(dir) == nil {
			_ = os.RemoveAll(dir)
		}
	}
}

// cacheDir is where `make engines` installs: METIVA_CACHE, else metiva in the
// user's cache directory.
func cacheDir() (string, error) {
	if dir := os.Getenv("METIVA_CACHE"); dir != "" {
		return dir, nil
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "metiva"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("looking for the cache directory: %w", err)
	}
	return filepath.Join(home, ".cache", "metiva"), nil
}
