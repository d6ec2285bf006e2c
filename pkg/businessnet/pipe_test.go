package businessnet

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/waittest"
)

// TestAPipeIsNotWaitedFor: a pipe that nobody writes to is refused as every other
// thing that is no file, and does not hold up the end of a process.
func TestAPipeIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "business.networks")
	put(t, path, setOf(t, "192.0.2.0/29").Append(nil))
	w, reg, _ := watch(t, path)
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	failed := func() bool { return value(t, reg, "metiva_company_db_loads_total", "failed") > 1 }
	waittest.Until(t, waitMax, "the pipe is refused", failed)
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(waitMax):
		t.Fatal("it waits for the pipe")
	}
	if w.Current().LengthOf(netip.MustParseAddr("192.0.2.1")) != 29 {
		t.Error("the set before is gone")
	}
	if _, err := Load(path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "it is no file") {
		t.Errorf("got %v", err)
	}
}
