package kafka

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// batchesFrom is an answer's records: batches from an offset on, each with what its own
// offsets say.
func batchesFrom(random *rand.Rand, s *sealer, from int64, batches int) (data []byte, next int64) {
	for range batches {
		b := &batch{}
		first := from
		for range 1 + random.IntN(30) {
			b.records = appendRecord(b.records, 0, int64(b.count), fmt.Append(nil, "key ", from), contentOf(from), nil)
			b.count++
			from++
		}
		sent := s.seal(nil, identity{}, b)[lengthBytes:]
		for i := range 8 { // the base offset, which the checksum does not cover
			sent[i] = byte(first >> (56 - 8*i))
		}
		data = append(data, sent...)
	}
	return data, from
}

func sealerOf(t *testing.T, name string) *sealer {
	t.Helper()
	c, err := parseCodec(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func contentOf(offset int64) []byte {
	return []byte(strings.Repeat(fmt.Sprint("value ", offset, "; "), 3+int(offset%50)))
}

// TestReusedMemory: however batches are fetched and handed out, the records of two
// readers that share their memory are what they should be until the next ones are asked
// for.
func TestReusedMemory(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"snappy", "zstd", "none"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, 2))
			sealer, c := sealerOf(t, codec), new(Client)
			type reader struct {
				f      *fetcher
				logEnd int64 // of what was written
				handed []Record
				at     int64
			}
			var readers [2]reader
			for i := range readers {
				f := newFetcher(c, "t", i, 1, 0)
				f.memory = &memory{of: &c.memories}
				readers[i].f = f
			}
			for range 2000 {
				r := &readers[random.IntN(2)]
				for i := range r.handed {
					want := r.at - int64(len(r.handed)) + int64(i)
					got := &r.handed[i]
					if got.Offset != want || string(got.Key) != fmt.Sprint("key ", want) || string(got.Value) != string(contentOf(want)) {
						t.Fatalf("record %d is %d, %.30q", want, got.Offset, got.Value)
					}
				}
				r.handed = nil
				if len(r.f.pending) == 0 || random.IntN(3) == 0 {
					r.f.memory.release(r.f.pending)
					m := &fetchMessage{}
					m.records, r.logEnd = batchesFrom(random, sealer, r.logEnd, random.IntN(6))
					m.highWatermark = r.logEnd
					if _, err := r.f.accept(m); err != nil {
						t.Fatal(err)
					}
				}
				n := random.IntN(len(r.f.pending) + 1)
				r.handed, r.f.pending = r.f.pending[:n:n], r.f.pending[n:]
				r.at += int64(n)
				if len(r.f.pending) == 0 {
					r.f.pending = nil
				}
			}
			if blocks := len(readers[0].f.memory.blocks); (blocks > 0) != (codec == "snappy") && len(readers[0].f.pending) > 0 {
				t.Errorf("%d blocks are in use", blocks)
			}
		})
	}
}

// TestReusedMemoryIsBounded: a fetcher that has handed out all holds nothing, and a huge
// batch is not kept.
func TestReusedMemoryIsBounded(t *testing.T) {
	t.Parallel()
	c := new(Client)
	f := newFetcher(c, "t", 0, 1, 0)
	f.memory = &memory{of: &c.memories}
	random := rand.New(rand.NewPCG(3, 4))
	m := &fetchMessage{}
	m.records, m.highWatermark = batchesFrom(random, sealerOf(t, "snappy"), 0, 5)
	if _, err := f.accept(m); err != nil {
		t.Fatal(err)
	}
	if len(f.memory.blocks) != 5 {
		t.Fatalf("%d blocks of 5 batches", len(f.memory.blocks))
	}
	f.memory.blocks[4].bytes = make([]byte, keepBlockBytesMax+1)
	f.pending = nil
	f.memory.release(f.pending)
	if len(f.memory.blocks) != 0 || f.memory.records != nil {
		t.Error("what was handed out is held")
	}
	for range 8 { // a pool may lose some by itself
		if b, _ := c.memories.blocks.Get().(*block); b != nil && cap(b.bytes) > keepBlockBytesMax {
			t.Error("the memory of a huge batch is kept")
		}
	}
}
