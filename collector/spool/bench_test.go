package spool

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkAppend is the cost of a record to the one who appends it: the disk is
// another goroutine's.
func BenchmarkAppend(b *testing.B) {
	r := startIn(b, Config{Dir: b.TempDir(), BytesMax: 64 << 30})
	var batch Batch
	if err := batch.Add("events.collected", 3, make([]byte, 17), make([]byte, 420)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(batch.Bytes()))
	var last *Ack
	n := 0
	for b.Loop() {
		receipt, err := r.Append(&batch, false)
		if err != nil {
			b.Fatal(err)
		}
		if n++; n%4096 == 0 && last != nil {
			<-last.Done()
		}
		last = receipt.Ack
	}
}

// BenchmarkDurable is the time of one append and its fsync, alone and in company.
func BenchmarkDurable(b *testing.B) {
	for _, size := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("%d records", size), func(b *testing.B) {
			r := startIn(b, Config{Dir: b.TempDir(), BytesMax: 64 << 30, SyncInterval: time.Nanosecond})
			var batch Batch
			for range size {
				if err := batch.Add("events.collected", 3, make([]byte, 17), make([]byte, 420)); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				receipt, err := r.Append(&batch, false)
				if err != nil {
					b.Fatal(err)
				}
				if <-receipt.Ack.Done(); receipt.Ack.Err() != nil {
					b.Fatal(receipt.Ack.Err())
				}
			}
		})
	}
}

// BenchmarkReplay reads records back, without Kafka.
func BenchmarkReplay(b *testing.B) {
	r := startIn(b, Config{Dir: b.TempDir(), BytesMax: 64 << 30})
	var batch Batch
	const per = 1000
	for range per {
		if err := batch.Add("events.collected", 3, make([]byte, 17), make([]byte, 420)); err != nil {
			b.Fatal(err)
		}
	}
	for range 20 {
		receipt, err := r.Append(&batch, false)
		if err != nil {
			b.Fatal(err)
		}
		<-receipt.Ack.Done()
	}
	b.SetBytes(int64(batch.Bytes() / per))
	var w Window
	left := 0
	b.ReportAllocs()
	for b.Loop() {
		if left == 0 {
			if r.at != nil && r.at == r.segments[len(r.segments)-1] && r.offset >= r.at.end {
				r.at, r.offset, r.seen = nil, 0, 0
			}
			if err := r.Next(b.Context(), &w, 1<<20); err != nil {
				b.Fatal(err)
			}
			left, r.passed = len(w.Entries), nil
		}
		left--
	}
}

// Appending allocates per commit, not per record.
func TestAppendAllocatesPerCommit(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	r := startIn(t, Config{Dir: t.TempDir(), SyncInterval: 20 * time.Millisecond})
	var batch Batch
	if err := batch.Add("events.collected", 3, make([]byte, 17), make([]byte, 420)); err != nil {
		t.Fatal(err)
	}
	append1 := func() {
		if _, err := r.Append(&batch, false); err != nil {
			t.Fatal(err)
		}
	}
	for range 5000 {
		append1()
	}
	if allocs := testing.AllocsPerRun(40_000, append1); allocs > 0 { // whole ones only
		t.Errorf("%v allocations for a record", allocs)
	}
}
