package sink

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/metiva-io/metiva/pkg/kafka"
)

// budget bounds what a sink holds of records, over all its partitions. Half of it is
// for records as they were read, half for the form they are written in.
//
// Of the first half every partition has a share it need not ask for, so none waits
// for another to read; the other part of it is lent to partitions that are behind and
// could fill a larger batch, as far as there is some. The second half is taken before
// a batch is decoded, in the order of asking, and given back after each attempt, so a
// batch that is refused again and again keeps none of it while it pauses. Who waits
// for the second half holds the first, and never the other way round: there is no
// circle to wait in.
type budget struct {
	reading int64 // raw bytes, over all partitions
	writing int64 // of the semaphore
	slots   *semaphore.Weighted

	mu         sync.Mutex
	partitions int64
	lent       int64
}

const (
	// readWeight is what a byte of a record that was read takes: itself, its place in
	// the list, and what is left of the block it came in.
	readWeight = 2
	// rowWeight and byteWeight are what a record takes while it is written: the
	// decoded event, its place in the look-up, its columns, the driver's block and the
	// request. Measured on events of 500 bytes, rounded up.
	rowWeight  = 2500
	byteWeight = 3
	// shareLeast is a partition's share however many there are.
	shareLeast = 64 << 10
)

func newBudget(bytesMax int) *budget {
	half := int64(bytesMax) / 2
	return &budget{reading: half / readWeight, writing: half, slots: semaphore.NewWeighted(half)}
}

// join counts a partition in; the returned function counts it out.
func (b *budget) join() (leave func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.partitions++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.partitions--
	}
}

// read gives the bytes that the next batch of a partition may have, of those wanted,
// and the function that takes them back.
func (b *budget) read(wanted int64) (granted int64, done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	share := max(b.reading/2/max(b.partitions, 1), shareLeast)
	if wanted <= share {
		return wanted, func() {}
	}
	lent := min(wanted-share, max(b.reading/2-b.lent, 0))
	b.lent += lent
	return share + lent, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.lent -= lent
	}
}

// write waits until a batch may be decoded and written. A batch beyond all there is
// has it all to itself.
func (b *budget) write(ctx context.Context, batch kafka.Batch) (done func(), err error) {
	need := int64(0)
	for i := range batch.Records {
		need += rowWeight + byteWeight*int64(len(batch.Records[i].Key)+len(batch.Records[i].Value))
	}
	need = min(need, b.writing)
	if err := b.slots.Acquire(ctx, need); err != nil {
		return nil, err
	}
	return func() { b.slots.Release(need) }, nil
}
