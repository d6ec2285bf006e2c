package spool

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// hungDisk is a disk whose fsyncs do not come back until it is freed.
type hungDisk struct {
	*memoryDisk
	hung chan struct{} // one token for each fsync that waits
	free chan struct{}
}

type hungFile struct {
	file
	disk *hungDisk
}

func (d *hungDisk) create(name string) (file, error) {
	f, err := d.memoryDisk.create(name)
	if err != nil {
		return nil, err
	}
	return &hungFile{f, d}, nil
}

func (f *hungFile) Sync() error {
	select {
	case f.disk.hung <- struct{}{}:
	case <-f.disk.free:
	}
	<-f.disk.free
	return f.file.Sync()
}

// A disk that hangs is seen, and what waits for it is bounded.
func TestAHungDisk(t *testing.T) {
	t.Parallel()
	disk := &hungDisk{newMemoryDisk(rand.New(rand.NewPCG(1, 1))), make(chan struct{}), make(chan struct{})}
	var mu sync.Mutex
	now := time.Unix(1_800_000_000, 0)
	s, err := open(Config{Dir: "memory", BytesMax: 1 << 30}, Deps{Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}}, disk, rand.Uint32)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, s, nil)
	var b Batch
	if err := b.Add("t", 0, nil, make([]byte, RecordBytesMax/2)); err != nil {
		t.Fatal(err)
	}
	var receipts []Receipt
	add := func() error {
		receipt, err := r.Append(&b, false)
		if err == nil {
			receipts = append(receipts, receipt)
		}
		return err
	}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	<-disk.hung
	for err = nil; err == nil && len(receipts) < 200; {
		err = add()
	}
	if !errors.Is(err, ErrFull) || len(receipts) < 10 {
		t.Errorf("%d records wait for a hung disk, %v", len(receipts), err)
	}
	if err := r.Health(); err != nil {
		t.Errorf("at once: %v", err)
	}
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	if err := r.Health(); !errors.Is(err, ErrHung) {
		t.Errorf("after a minute: %v", err)
	}
	close(disk.free)
	for _, receipt := range receipts {
		if <-receipt.Ack.Done(); receipt.Ack.Err() != nil {
			t.Fatal(receipt.Ack.Err())
		}
	}
	if err := add(); err != nil {
		t.Error(err)
	}
	if err := r.Health(); err != nil {
		t.Errorf("healed: %v", err)
	}
}

// A collector starts on a full disk, though it cannot note there what it would
// delete.
func TestAStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	disk := newMemoryDisk(rand.New(rand.NewPCG(1, 1)))
	r := startOn(t, disk, Config{})
	r.mustPut("a")
	removals := func(operation string) error {
		if operation == "remove" {
			return errDisk
		}
		return nil
	}
	disk.setFaults(removals)
	var w Window
	if err := r.Next(t.Context(), &w, 1); err != nil {
		t.Fatal(err)
	}
	if err := r.Done(w.Last()); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	disk.setFaults(func(operation string) error {
		if operation == "write" {
			return syscall.ENOSPC
		}
		return removals(operation)
	})
	again := startOn(t, disk, Config{})
	disk.setFaults(nil)
	again.mustPut("b")
	if got := values(again.take(1)); got != "b" {
		t.Errorf("read %q", got)
	}
	if st := again.Stats(); st.Records != 0 || st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
}

// Damage longer than any record takes no whole record with it.
func TestLongDamage(t *testing.T) {
	t.Parallel()
	disk := newMemoryDisk(rand.New(rand.NewPCG(1, 1)))
	r := startOn(t, disk, Config{})
	big := string(bytes.Repeat([]byte("x"), RecordBytesMax/2-100))
	r.mustPut("first", big, big, big, big[:len(big)/2]+"Y", big+"z", "last") // z begins within the second MiB, and ends behind it
	disk.mu.Lock()
	for _, data := range disk.names {
		if i := bytes.Index(data.live, []byte("xxxx")); i > 0 {
			end := bytes.Index(data.live, []byte("xxxxY")) + 4 // of the fourth; a frame's salt may hold a Y too
			clear(data.live[i-FrameOverhead-8 : end+1])
		}
	}
	disk.mu.Unlock()
	var got []string
	for _, e := range r.take(3) {
		got = append(got, string(e.Value[max(0, len(e.Value)-5):]))
	}
	if len(got) != 3 || got[0] != "first" || got[1] != "xxxxz" || got[2] != "last" {
		t.Errorf("read %q", got)
	}
}
