package stack

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAStartForgetsTheAddressesOfAKilledRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "run", foundFile)
	if err := os.WriteFile(stale, []byte(`{"CollectorURL":"http://127.0.0.1:1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	lay, err := openLayout(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lay.close()
	if _, err := Find(dir); err == nil || errors.Is(err, ErrNotRunning) {
		t.Errorf("while it starts: %v", err)
	}
	if _, err := openLayout(dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second metiva in the directory: %v", err)
	}
}

// TestALongPathsSocketMovesAndLeavesNothing: the folder in the system's
// temporary directory has a name others can guess.
func TestALongPathsSocketMovesAndLeavesNothing(t *testing.T) {
	lay, err := openLayout(filepath.Join(t.TempDir(), strings.Repeat("x", 120)))
	if err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("t", 120))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	socket, err := lay.socket("clickhouse.sock")
	if err != nil || len(socket) > socketPathBytesMax {
		t.Fatalf("%q (%d bytes), %v", socket, len(socket), err)
	}
	dir := filepath.Dir(socket)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if got, err := lay.socket("clickhouse.sock"); err == nil {
		t.Errorf("a folder open to others is used: %s", got)
	}
	lay.close()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder %s is left behind: %v", dir, err)
	}
}
