package spool

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// FuzzSegment opens a spool over a segment of any content and replays it: no
// panic, no endless loop, nothing but whole frames, and room for new records.
func FuzzSegment(f *testing.F) {
	const salt = 7
	var b Batch
	for _, v := range []string{"a", "", "ccc"} {
		_ = b.Add("topic", 3, []byte("key"), []byte(v))
	}
	number(b.buf, 1, 5, true)
	finishFrames(b.buf, salt)
	whole := append(appendHeader(nil, header{first: 1}, salt), b.buf...)
	f.Add(whole, []byte{})
	f.Add(whole[:len(whole)-3], []byte{})
	f.Add(append(bytes.Clone(whole), whole[headerBytes:]...), bytes.Repeat([]byte{1}, 4200))
	f.Add(append(bytes.Clone(whole[:headerBytes+20]), whole[headerBytes:]...), []byte(progressMagic))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, segment, progress []byte) {
		disk := newMemoryDisk(rand.New(rand.NewPCG(1, 1)))
		disk.names[segmentName(1, salt)] = &memoryData{live: segment}
		disk.names[progressName] = &memoryData{live: progress}
		deps, _ := testDeps()
		s, err := open(Config{Dir: "memory"}, deps, disk, func() uint32 { return 9 })
		if err != nil {
			t.Fatal(err)
		}
		want := s.Stats().Records
		if err := b.Add("topic", 1, nil, nil); err != nil {
			t.Fatal(err)
		}
		var one Batch
		_ = one.Add("last", 0, nil, []byte("one"))
		if _, err := s.Append(&one, false); err != nil {
			t.Fatal(err)
		}
		s.commit()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var w Window
		for last := ""; last != "last"; {
			if err := s.Next(ctx, &w, 64); err != nil {
				t.Fatal(err)
			}
			want -= int64(len(w.Entries))
			last = w.Entries[len(w.Entries)-1].Topic
			if err := s.Done(w.Last()); err != nil {
				t.Fatal(err)
			}
		}
		if want > 0 {
			t.Errorf("%d records were counted and not read", want)
		}
		_ = s.close()
	})
}
