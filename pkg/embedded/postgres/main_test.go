package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	embedded "github.com/metiva-io/metiva/pkg/embedded/postgres"
	"github.com/metiva-io/metiva/pkg/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// binDir is where the binaries are: a directory given by the test that runs us
// as another user, else the installed ones.
func binDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv(envBinDir); dir != "" {
		return dir
	}
	cache := os.Getenv("METIVA_CACHE")
	if cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(base, "metiva")
	}
	dir, err := embedded.FindBinaries(cache)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// openDir is a temporary directory that the server's user can reach; shutDir
// is one it cannot. Both are removed with the cluster in them.
func openDir(t *testing.T) string {
	t.Helper()
	dir := shutDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func shutDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "metiva-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(embedded.Remove(dir), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func config(t *testing.T, data string) embedded.Config {
	t.Helper()
	return embedded.Config{BinDir: binDir(t), DataDir: data}
}

// start runs a server and returns it with the function that stops it.
func start(t *testing.T, cfg embedded.Config) (*embedded.Server, func()) {
	t.Helper()
	s, err := embedded.New(cfg, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return s, serve(t, s)
}

// serve runs a server until the function it returns is called.
func serve(t *testing.T, s *embedded.Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stopping: %v", err)
		}
	}
	t.Cleanup(stop)
	select {
	case <-s.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("the server ended: %v", err)
	}
	return stop
}

// run executes statements as a role.
func run(t *testing.T, s *embedded.Server, role string, statements ...string) error {
	t.Helper()
	return postgres.Administer(t.Context(), s.URL(role), statements...)
}

// giveToServer makes dir that of the user the server runs as.
func giveToServer(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, err := strconv.Atoi(u.Uid)
			must(t, err)
			must(t, os.Chown(dir, uid, -1))
			return
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func kill(t *testing.T, pid int) {
	t.Helper()
	must(t, syscall.Kill(pid, syscall.SIGKILL))
}
