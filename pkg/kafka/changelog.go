package kafka

import (
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

// ReadPartition reads one partition of a compacted topic from its start to where
// it ends now: the state that the owner of a partition left for the next one. apply
// gets the records in order; a nil or empty value is a tombstone. It must not keep
// key and value. An error of apply ends the reading. An absent broker is waited for
// until ctx ends.
func (c *Client) ReadPartition(ctx context.Context, topic string, partition int, apply func(key, value []byte) error) error {
	doing := func(err error) error { return fmt.Errorf("reading %s/%d from its start: %w", topic, partition, err) }
	t := c.NewTable(topic, apply)
	ends, err := t.persist(ctx, c.EndOffsets)
	if err != nil {
		return doing(err)
	}
	end, ok := ends[partition]
	if !ok {
		return doing(errors.New("there is no such partition"))
	}
	start := func() (int64, error) {
		starts, err := t.persist(ctx, func(ctx context.Context, topic string) (map[int]int64, error) {
			return c.offsets(ctx, topic, kafkago.FirstOffset)
		})
		return starts[partition], err
	}
	at, err := start()
	if err != nil {
		return doing(err)
	}
	f := newFetcher(c, topic, partition, defaultFetchBytesMax, at)
	f.compacted = true
	for f.next < end {
		err := f.fill(ctx, defaultFetchWaitMax, 1)
		if errors.Is(err, errOutOfRange) {
			if at, err = start(); err == nil {
				f.seek(at)
				continue
			}
		}
		if err != nil {
			return doing(err)
		}
		if err := t.applyAll(f.pending); err != nil {
			return err
		}
		f.pending = f.pending[:0]
	}
	return nil
}
