package kafka

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/segmentio/kafka-go/compress"
)

const (
	// keepBlockBytesMax is how large the memory of an unpacked batch may be that is kept
	// for another: our producers' batches are half of it at most.
	keepBlockBytesMax = 1 << 20
	// keepRecordsMax is how many records the memory of a fetch may have room for that is
	// kept for another.
	keepRecordsMax = 1 << 16
)

// memories is what the readers of a client have done with and leave to one another. What
// nobody takes goes to the collector of garbage.
type memories struct {
	blocks  sync.Pool // of *block
	records sync.Pool // of *[]Record
}

// block is the memory of one unpacked batch.
type block struct {
	bytes []byte
	last  int64 // offset of the batch's last record
}

// memory is what the records of one fetcher are in, if they are not to be kept by who
// reads them (ConsumerConfig.ReuseMemory). A nil one makes all anew.
type memory struct {
	of      *memories
	blocks  []*block  // in the order of the log
	records *[]Record // of which the fetcher's pending ones are the end
}

// release takes back the memory of what was handed out: of all before the first that is
// pending, or of everything.
func (m *memory) release(pending []Record) {
	if m == nil {
		return
	}
	n := 0
	for n < len(m.blocks) && (len(pending) == 0 || m.blocks[n].last < pending[0].Offset) {
		if cap(m.blocks[n].bytes) <= keepBlockBytesMax {
			m.of.blocks.Put(m.blocks[n])
		}
		n++
	}
	left := copy(m.blocks, m.blocks[n:])
	clear(m.blocks[left:])
	m.blocks = m.blocks[:left]
	if len(pending) > 0 || m.records == nil {
		return
	}
	if cap(*m.records) <= keepRecordsMax {
		clear(*m.records)
		m.of.records.Put(m.records)
	}
	m.records = nil
}

// front gives the pending records at the beginning of their memory, which release has
// made free.
func (m *memory) front(pending []Record) []Record {
	if m == nil {
		return pending
	}
	if m.records == nil {
		if m.records, _ = m.of.records.Get().(*[]Record); m.records == nil {
			m.records = new([]Record)
		}
	}
	had := *m.records
	out := append(had[:0], pending...)
	if len(had) > len(out) {
		clear(had[len(out):]) // nothing refers to what was handed out
	}
	return out
}

// note says where the records are that the fetcher has now.
func (m *memory) note(pending []Record) {
	if m != nil {
		*m.records = pending
	}
}

// forget leaves all to who has it.
func (m *memory) forget() {
	if m != nil {
		m.blocks, m.records = nil, nil
	}
}

// unpack is decompress in memory that was used before.
func (m *memory) unpack(c compress.Compression, data []byte, last int64) ([]byte, error) {
	if m == nil || c != compress.Snappy || bytes.HasPrefix(data, []byte(xerialMagic)) {
		return decompress(c, data)
	}
	n, err := blockLen(data)
	if err != nil {
		return nil, err
	}
	b, _ := m.of.blocks.Get().(*block)
	if b == nil {
		b = &block{}
	}
	if cap(b.bytes) < n {
		b.bytes = make([]byte, n)
	}
	if b.bytes, err = s2.Decode(b.bytes[:cap(b.bytes)], data); err != nil {
		return nil, err
	}
	b.last = last
	m.blocks = append(m.blocks, b)
	return b.bytes, nil
}
