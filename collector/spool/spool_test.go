package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/waittest"
)

// rig is a running spool.
type rig struct {
	*Spool
	t    testing.TB
	reg  *prometheus.Registry
	stop func() error
}

func testDeps() (Deps, *prometheus.Registry) {
	reg := prometheus.NewRegistry()
	return Deps{Log: slog.New(slog.DiscardHandler), Registry: reg, Now: time.Now}, reg
}

func start(t testing.TB, s *Spool, reg *prometheus.Registry) *rig {
	t.Helper()
	r := &rig{Spool: s, t: t, reg: reg}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = r.stop() })
	return r
}

func startIn(t testing.TB, cfg Config) *rig {
	t.Helper()
	deps, reg := testDeps()
	s, err := Open(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, s, reg)
}

func startOn(t testing.TB, disk files, cfg Config) *rig {
	t.Helper()
	deps, reg := testDeps()
	cfg.Dir = "memory"
	s, err := open(cfg, deps, disk, rand.Uint32)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, s, reg)
}

// put appends one record and waits for it.
func (r *rig) put(partition int, value string) error {
	r.t.Helper()
	var b Batch
	if err := b.Add("events", partition, []byte("key"), []byte(value)); err != nil {
		r.t.Fatal(err)
	}
	receipt, err := r.Append(&b, false)
	if err != nil {
		return err
	}
	select {
	case <-receipt.Ack.Done():
		return receipt.Ack.Err()
	case <-time.After(10 * time.Second):
		r.t.Fatal("an append is not answered")
		return nil
	}
}

func (r *rig) mustPut(values ...string) {
	r.t.Helper()
	for _, v := range values {
		if err := r.put(0, v); err != nil {
			r.t.Fatal(err)
		}
	}
}

// take replays n records and finishes them.
func (r *rig) take(n int) (entries []Entry) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for len(entries) < n {
		var w Window
		if err := r.Next(ctx, &w, 1<<20); err != nil {
			r.t.Fatalf("after %d of %d records: %v", len(entries), n, err)
		}
		if err := r.Plan(w.Last()); err != nil {
			r.t.Fatal(err)
		}
		entries = append(entries, w.Entries...)
		if err := r.Done(w.Last()); err != nil {
			r.t.Fatal(err)
		}
	}
	return entries
}

func values(entries []Entry) string {
	var out [][]byte
	for _, e := range entries {
		out = append(out, e.Value)
	}
	return string(bytes.Join(out, []byte(" ")))
}

func (r *rig) metric(name string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() != "metiva_collector_spool_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	r := startIn(t, Config{Dir: t.TempDir()})
	var b Batch
	for _, kv := range [][2][]byte{{nil, nil}, {{}, {}}, {[]byte("k"), []byte("v")}} {
		if err := b.Add("topic", 7, kv[0], kv[1]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Append(&b, true); err != nil {
		t.Fatal(err)
	}
	b.Reset(0)
	got := r.take(3)
	for i, e := range got {
		if e.Topic != "topic" || e.Partition != 7 || !e.Handed || e.Maybe || e.Sequence != uint64(i+1) || time.Since(time.UnixMilli(e.TimeMs)) > time.Minute {
			t.Errorf("%+v", e)
		}
	}
	if got[0].Key != nil || got[0].Value != nil || got[1].Key == nil || got[1].Value == nil || string(got[2].Key)+string(got[2].Value) != "kv" {
		t.Errorf("keys and values %v", got)
	}
	if err := b.Add("topic", 0, nil, make([]byte, RecordBytesMax)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a record of a MiB: %v", err)
	}
}

// Many who append at once share few fsyncs.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	r := startIn(t, Config{Dir: t.TempDir(), SyncInterval: 5 * time.Millisecond})
	var wg sync.WaitGroup
	const writers, each = 50, 20
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := r.put(w, fmt.Sprint(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	next := map[int]int{}
	for _, e := range r.take(writers * each) {
		if string(e.Value) != fmt.Sprint(next[e.Partition]) {
			t.Fatalf("partition %d has %s after %d", e.Partition, e.Value, next[e.Partition])
		}
		next[e.Partition]++
	}
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "metiva_collector_spool_fsync_seconds" {
			if n := f.GetMetric()[0].GetHistogram().GetSampleCount(); n > writers*each/4 {
				t.Errorf("%d fsyncs for %d records", n, writers*each)
			}
		}
	}
}

func TestADirectoryHasOneOwnerAndNoReaders(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "one")
	r := startIn(t, Config{Dir: dir})
	r.mustPut("a")
	deps, _ := testDeps()
	if _, err := Open(Config{Dir: dir}, deps); !errors.Is(err, ErrLocked) {
		t.Errorf("a second owner: %v", err)
	}
	if names, err := Abandoned(parent); err != nil || len(names) != 0 {
		t.Errorf("abandoned in use: %v %v", names, err)
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		info, infoErr := d.Info()
		if want := os.FileMode(0o600); err == nil && infoErr == nil && (d.IsDir() && info.Mode().Perm() != 0o700 || !d.IsDir() && info.Mode().Perm() != want) {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return errors.Join(err, infoErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if names, err := Abandoned(parent); err != nil || fmt.Sprint(names) != "[one]" {
		t.Errorf("abandoned: %v %v", names, err)
	}
	if _, err := r.Append(&Batch{}, false); !errors.Is(err, ErrClosed) {
		t.Errorf("an append after the end: %v", err)
	}
}

// Segments end, are read on, and are deleted; an empty spool leaves nothing.
func TestSegments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := startIn(t, Config{Dir: dir, SegmentBytes: 512, BytesMax: 1 << 20})
	for round := range 3 {
		for i := range 40 {
			r.mustPut(fmt.Sprint(round, "-", i))
		}
		if n := len(segmentFiles(t, dir)); n < 5 {
			t.Errorf("%d segments", n)
		}
		for i, e := range r.take(40) {
			if string(e.Value) != fmt.Sprint(round, "-", i) {
				t.Fatalf("record %d is %s", i, e.Value)
			}
		}
		if st := r.Stats(); st.Bytes != 0 || st.Records != 0 || st.OldestAge != 0 || len(segmentFiles(t, dir)) != 0 {
			t.Errorf("%+v and %v are left", st, segmentFiles(t, dir))
		}
	}
	if r.metric("finished_records_total") != 120 || r.metric("appended_records_total") != 120 {
		t.Error("the metrics do not count 120 records")
	}
}

func segmentFiles(t testing.TB, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFull(t *testing.T) {
	t.Parallel()
	r := startIn(t, Config{Dir: t.TempDir(), SegmentBytes: 512, BytesMax: 2048})
	n := 0
	for ; n < 1000; n++ {
		if err := r.put(0, fmt.Sprint(n)); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if !errors.Is(r.Health(), ErrNearlyFull) || r.metric("full_refusals_total") != 1 {
		t.Errorf("health %v", r.Health())
	}
	if r.Stats().Bytes > 2048 {
		t.Errorf("%d bytes", r.Stats().Bytes)
	}
	if st := r.Stats(); st.Records != int64(n) || st.OldestAge < 0 {
		t.Errorf("%+v, %d were taken", st, n)
	}
	r.take(n)
	r.mustPut("again")
	if err := r.Health(); err != nil {
		t.Errorf("with room: %v", err)
	}
}

func TestADiskThatIsFullAndHeals(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{"write", "sync", "create", "syncdir"} {
		for _, fresh := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, first record %v", operation, fresh), func(t *testing.T) {
				t.Parallel()
				disk := newMemoryDisk(rand.New(rand.NewPCG(1, 2)))
				r := startOn(t, disk, Config{SegmentBytes: 400, BytesMax: 1 << 20})
				var lost sync.Map
				r.NotifyLost(func(topic string, partition int) { lost.Store(fmt.Sprint(topic, partition), true) })
				var want []string
				if !fresh {
					r.mustPut("before")
					want = append(want, "before")
				}
				disk.setFaults(func(op string) error {
					if op == operation {
						return syscall.ENOSPC
					}
					return nil
				})
				failures := 0
				for i := range 20 { // several segments
					err := r.put(i, fmt.Sprint(i))
					if err == nil {
						want = append(want, fmt.Sprint(i))
						continue
					}
					failures++
					if !errors.Is(err, syscall.ENOSPC) || !errors.Is(r.Health(), syscall.ENOSPC) {
						t.Fatalf("%v, health %v", err, r.Health())
					}
					if _, ok := lost.Load(fmt.Sprint("events", i)); !ok {
						t.Fatal("the loss is not told")
					}
				}
				if failures == 0 || r.metric("disk_errors_total") == 0 {
					t.Error("the fault was not met")
				}
				disk.setFaults(nil)
				r.mustPut("after")
				want = append(want, "after")
				if err := r.Health(); err != nil {
					t.Errorf("healed: %v", err)
				}
				if got := values(r.take(len(want))); got != fmt.Sprint(want)[1:len(fmt.Sprint(want))-1] {
					t.Errorf("got %s, want %v", got, want)
				}
				if st := r.Stats(); st.Bytes != 0 || st.Records != 0 {
					t.Errorf("%+v is left", st)
				}
			})
		}
	}
}

// Nobody appends to a spool that is said to be broken, so that must pass.
func TestTroubleFades(t *testing.T) {
	t.Parallel()
	disk := newMemoryDisk(rand.New(rand.NewPCG(1, 2)))
	deps, _ := testDeps()
	var later atomic.Int64
	deps.Now = func() time.Time { return time.Unix(later.Load(), 0) }
	s, err := open(Config{Dir: "memory"}, deps, disk, rand.Uint32)
	if err != nil {
		t.Fatal(err)
	}
	disk.setFaults(func(string) error { return errDisk })
	var b Batch
	if err := b.Add("t", 0, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(&b, false); err != nil {
		t.Fatal(err)
	}
	s.commit()
	if err := s.Health(); !errors.Is(err, errDisk) {
		t.Errorf("health %v", err)
	}
	later.Add(int64(troubleKept / time.Second))
	if err := s.Health(); err != nil {
		t.Errorf("later: %v", err)
	}
}

func (d *memoryDisk) setFaults(f func(string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
}

// Damage in the middle costs what is damaged, and is counted; all else comes.
func TestDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		segment int // of three
		hurt    func(b []byte)
		want    string
		damaged bool
		torn    bool
	}{
		"a record":                  {0, func(b []byte) { b[headerBytes+framePrefix+FrameOverhead] ^= 1 }, "b c d e f", true, false},
		"a length":                  {1, func(b []byte) { b[headerBytes+5] ^= 1 }, "a b d e f", true, false},
		"the last record":           {1, func(b []byte) { b[len(b)-1] ^= 1 }, "a b c e f", true, false},
		"a header":                  {1, func(b []byte) { b[3] ^= 1 }, "a b c d e f", false, false},
		"of the last segment":       {2, func(b []byte) { b[headerBytes+20] ^= 1 }, "a b c d f", true, false},
		"the last record of all":    {2, func(b []byte) { b[len(b)-1] ^= 1 }, "a b c d e", false, true},
		"the whole of a segment":    {1, func(b []byte) { clear(b[headerBytes:]) }, "a b e f", true, false},
		"the last segment's header": {2, func(b []byte) { clear(b[:headerBytes]) }, "a b c d e f", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			// Two records fit a segment.
			cfg := Config{Dir: dir, SegmentBytes: 256, BytesMax: 1 << 20}
			r := startIn(t, cfg)
			for _, v := range []string{"a", "b", "c", "d", "e", "f"} {
				r.mustPut(v + string(bytes.Repeat([]byte{0}, 50)))
			}
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
			files := segmentFiles(t, dir)
			if len(files) != 3 {
				t.Fatalf("%d segments", len(files))
			}
			b, err := os.ReadFile(files[c.segment])
			if err != nil {
				t.Fatal(err)
			}
			c.hurt(b)
			if err := os.WriteFile(files[c.segment], b, 0o600); err != nil {
				t.Fatal(err)
			}
			r = startIn(t, cfg)
			r.mustPut("z")
			got := string(bytes.ReplaceAll([]byte(values(r.take(len(c.want)/2+2))), []byte{0}, nil))
			if got != c.want+" z" {
				t.Errorf("got %s, want %s z", got, c.want)
			}
			if damaged := r.metric("damaged_bytes_total") > 0; damaged != c.damaged {
				t.Errorf("counted as damaged: %v", damaged)
			}
			if torn := r.metric("torn_bytes_total") > 0; torn != c.torn {
				t.Errorf("counted as torn: %v", torn)
			}
			if len(segmentFiles(t, dir)) != 0 {
				t.Error("segments are left")
			}
		})
	}
}

// A progress that cannot be read has everything sent again, marked.
func TestDamagedProgress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := startIn(t, Config{Dir: dir})
	r.mustPut("a", "b")
	var w Window
	if err := r.Next(t.Context(), &w, 1); err != nil {
		t.Fatal(err)
	}
	if err := r.Plan(w.Last()); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, progressName), bytes.Repeat([]byte("x"), 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	r = startIn(t, Config{Dir: dir})
	r.mustPut("c")
	got := r.take(3)
	if values(got) != "a b c" || !got[0].Maybe || !got[1].Maybe || got[2].Maybe {
		t.Errorf("%+v", got)
	}
}

func TestBacklogIsCounted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := startIn(t, Config{Dir: dir})
	for i := range 6 {
		if err := r.put(i%2, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = startIn(t, Config{Dir: dir})
	if got := r.Backlog(); len(got) != 2 || got[Lane{"events", 0}] != 3 || got[Lane{"events", 1}] != 3 || r.Stats().Records != 6 {
		t.Errorf("%v, %+v", got, r.Stats())
	}
	waittest.Until(t, 10*time.Second, "the oldest record ages", func() bool { return r.Stats().OldestAge > 0 })
}

func TestConfigNamesItsFaults(t *testing.T) {
	t.Parallel()
	err := Config{SegmentBytes: 1, BytesMax: 1, SyncInterval: -1}.Validate()
	for _, want := range []string{"no directory", "bytes of a segment", "two segments", "negative"} {
		if err == nil || !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := Open(Config{Dir: t.TempDir()}, Deps{}); err == nil {
		t.Error("opened without anything")
	}
}
