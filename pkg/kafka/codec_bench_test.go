package kafka

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"
)

// recordedRecords are keys and values of events.collected, as a collector wrote
// them under `metiva bench collector`: page views of one site, one by one and
// in batches, with what is sealed in them.
func recordedRecords(t testing.TB) (keys, values [][]byte) {
	t.Helper()
	data, err := os.ReadFile("testdata/collected-records.bin")
	if err != nil {
		t.Fatal(err)
	}
	field := func() []byte {
		n, used := binary.Uvarint(data)
		if used <= 0 || uint64(len(data)-used) < n {
			t.Fatal("the recorded records are cut off")
		}
		out := data[used : used+int(n)]
		data = data[used+int(n):]
		return out
	}
	for len(data) > 0 {
		keys, values = append(keys, field()), append(values, field())
	}
	return keys, values
}

// BenchmarkCodec is what a codec costs its producer and each consumer, and what
// it saves, for batches of as many records as a partition collects in a linger.
// See ADR 0015.
func BenchmarkCodec(b *testing.B) {
	keys, values := recordedRecords(b)
	for _, name := range []string{"none", "lz4", "snappy", "zstd"} {
		c, err := parseCodec(name)
		if err != nil {
			b.Fatal(err)
		}
		s, err := newSealer(c)
		if err != nil {
			b.Fatal(err)
		}
		for _, records := range []int{1, 5, 20, 100, 320} {
			var batches []*batch
			for from := 0; from+records <= len(keys); from += records {
				at := &batch{}
				for i := range records {
					at.records = appendRecord(at.records, 0, int64(i), keys[from+i], values[from+i], nil)
					at.count++
				}
				batches = append(batches, at)
			}
			perRecord := func(b *testing.B, before time.Duration) {
				b.ReportMetric(float64(ProcessCPU(b)-before)/float64(b.N*records), "cpu-ns/record")
			}
			b.Run(fmt.Sprintf("write/%s/%d", name, records), func(b *testing.B) {
				b.ReportAllocs()
				var wire []byte
				sum, before := 0, ProcessCPU(b)
				for i := 0; b.Loop(); i++ {
					wire = s.seal(wire[:0], identity{}, batches[i%len(batches)])
					sum += len(wire)
				}
				perRecord(b, before)
				b.ReportMetric(float64(sum)/float64(b.N*records), "bytes/record")
			})
			b.Run(fmt.Sprintf("read/%s/%d", name, records), func(b *testing.B) {
				b.ReportAllocs()
				wire := s.seal(nil, identity{}, batches[0])[lengthBytes:]
				var dst []Record
				before := ProcessCPU(b)
				for b.Loop() {
					if dst, _, err = decodeBatches(dst[:0], "t", 0, wire, 0); err != nil || len(dst) != records {
						b.Fatal(err)
					}
				}
				perRecord(b, before)
			})
		}
	}
}

// ProcessCPU is what this process has used so far: on a busy machine it says
// more than the clock.
func ProcessCPU(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
