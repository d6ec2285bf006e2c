package businessnet

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/waittest"
)

// value is a metric's, of the result if one is given.
func value(tb testing.TB, reg *prometheus.Registry, name, result string) float64 {
	tb.Helper()
	families, err := reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (result == "" || m.GetLabel()[0].GetValue() == result) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	tb.Fatalf("there is no metric %s of %q", name, result)
	return 0
}

const waitMax = 20 * time.Second

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// put replaces a file as a whole.
func put(tb testing.TB, path string, content []byte) {
	tb.Helper()
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		tb.Fatal(err)
	}
}

func watch(tb testing.TB, path string) (*Watch, *prometheus.Registry, *syncBuffer) {
	tb.Helper()
	logged, reg := &syncBuffer{}, prometheus.NewRegistry()
	w, err := Open(Config{File: path, CheckInterval: time.Millisecond}, slog.New(slog.NewTextHandler(logged, nil)), reg)
	if err != nil {
		tb.Fatal(err)
	}
	return w, reg, logged
}

func (w *Watch) run(tb testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
}

// TestReplacedWhileInUse: readers always see a whole set, first the old and then
// the new one.
func TestReplacedWhileInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "business.networks")
	files := [][]byte{setOf(t, "192.0.2.0/29").Append(nil), setOf(t, "192.0.2.0/28", "198.51.100.0/25").Append(nil)}
	put(t, path, files[0])
	w, reg, _ := watch(t, path)
	w.run(t)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s := w.Current()
				first, second := s.LengthOf(netip.MustParseAddr("192.0.2.1")), s.LengthOf(netip.MustParseAddr("198.51.100.1"))
				if (first != 29 || second != 0) && (first != 28 || second != 25) {
					t.Errorf("a set with /%d and /%d", first, second)
					return
				}
			}
		})
	}
	for i := range 6 {
		want := files[(i+1)%2]
		put(t, path, want)
		waittest.Until(t, waitMax, "the new file is in use", func() bool { return bytes.Equal(w.Current().Append(nil), want) })
	}
	close(stop)
	readers.Wait()
	if got := value(t, reg, "metiva_company_db_loads_total", "loaded"); got != 7 {
		t.Errorf("%v loads, want 7", got)
	}
	if got := value(t, reg, "metiva_company_db_networks", ""); got != 1 {
		t.Errorf("%v networks, want 1", got)
	}
	if got := value(t, reg, "metiva_company_db_build_time_seconds", ""); got != float64(built.Unix()) {
		t.Errorf("built %v", got)
	}
}

// TestKeepsTheOldOne: a file that is damaged, half written or gone leaves the one
// in use, is counted, is logged once, and is read as soon as it is whole.
func TestKeepsTheOldOne(t *testing.T) {
	t.Parallel()
	whole := setOf(t, "192.0.2.0/29").Append(nil)
	next := setOf(t, "192.0.2.0/25").Append(nil)
	damaged := bytes.Clone(next)
	damaged[headerBytes] ^= 1
	for name, spoil := range map[string]func(path string) error{
		"damaged": func(path string) error { put(t, path, damaged); return nil },
		"half":    func(path string) error { return os.WriteFile(path, next[:len(next)/2], 0o600) },
		"empty":   func(path string) error { return os.Truncate(path, 0) },
		"gone":    os.Remove,
		"folder": func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "business.networks")
			put(t, path, whole)
			w, reg, logged := watch(t, path)
			w.run(t)
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			waittest.Until(t, waitMax, "several failures are counted", func() bool { return value(t, reg, "metiva_company_db_loads_total", "failed") > 3 })
			if got := w.Current().LengthOf(netip.MustParseAddr("192.0.2.1")); got != 29 {
				t.Errorf("/%d after a failure", got)
			}
			// The opening of a file that is being cut may be told in two ways.
			if n := strings.Count(logged.String(), "was not replaced"); n < 1 || n > 2 {
				t.Errorf("logged %d times: %s", n, logged)
			}
			_ = os.Remove(path)
			put(t, path, next)
			waittest.Until(t, waitMax, "the whole file is in use", func() bool { return w.Current().LengthOf(netip.MustParseAddr("192.0.2.1")) == 25 })
		})
	}
}

// TestOneFileIsReadOnce: a file that has not changed is not read again.
func TestOneFileIsReadOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "business.networks")
	put(t, path, setOf(t, "192.0.2.0/29").Append(nil))
	w, reg, logged := watch(t, path)
	for range 5 {
		w.look()
	}
	if got := value(t, reg, "metiva_company_db_loads_total", "loaded"); got != 1 || logged.String() != "" {
		t.Errorf("read %v times: %s", got, logged)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged")
	put(t, damaged, setOf(t, "192.0.2.0/29").Append(nil)[1:])
	large := filepath.Join(dir, "large")
	put(t, large, nil)
	if err := os.Truncate(large, fileBytesMax+1); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{filepath.Join(dir, "missing"): os.ErrNotExist, damaged: ErrFormat, large: ErrFormat, dir: ErrFormat} {
		reg := prometheus.NewRegistry()
		_, err := Open(Config{File: name}, slog.New(slog.DiscardHandler), reg)
		if !errors.Is(err, want) || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
	}
	if err := (Config{CheckInterval: -1}).Validate(); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want two faults, got %v", err)
	}
}
