package kafka

import (
	"context"
	"errors"
	"fmt"
)

// Range is a part of one partition: the offsets from From to before To. A From
// below the oldest record begins there.
type Range struct {
	Topic     string
	Partition int
	From, To  int64
	// Compacted: a gap up to the end of the partition counts as compacted. In other
	// topics it is on its way, and reading waits for it.
	Compacted bool
}

// ReadRange gives the records of a range in order, one at a time, and returns
// behind the last. apply must not keep a record. skipped is how many offsets of the
// range retention had removed, from its beginning on. What may pass is waited out; ctx
// bounds it. An error of apply ends the reading.
func (c *Client) ReadRange(ctx context.Context, r Range, apply func(*Record) error) (skipped int64, err error) {
	f := newFetcher(c, r.Topic, r.Partition, defaultFetchBytesMax, max(r.From, 0))
	f.compacted = r.Compacted
	for f.next < r.To {
		err := f.fill(ctx, defaultFetchWaitMax, 1)
		if errors.Is(err, errOutOfRange) {
			first, err := c.firstOffset(ctx, r.Topic, r.Partition)
			if err != nil {
				return skipped, fmt.Errorf("reading the first offset of %s/%d: %w", r.Topic, r.Partition, err)
			}
			if first < f.next {
				return skipped, fmt.Errorf("reading %s/%d: %w", r.Topic, r.Partition, errOutOfRange)
			}
			if r.From >= 0 {
				skipped += min(first, r.To) - f.next
			}
			f.seek(first)
			continue
		}
		if err != nil {
			return skipped, err
		}
		for i := range f.pending {
			record := &f.pending[i]
			if record.Offset >= r.To {
				return skipped, nil
			}
			if err := apply(record); err != nil {
				return skipped, fmt.Errorf("applying %s/%d at offset %d: %w", r.Topic, r.Partition, record.Offset, err)
			}
		}
		f.pending = f.pending[:0]
	}
	return skipped, nil
}
