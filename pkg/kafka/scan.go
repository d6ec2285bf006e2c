package kafka

import (
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

// ErrScanEnough ends a scan without an error.
var ErrScanEnough = errors.New("kafka: enough was scanned")

// Scan reads a topic once from its oldest record to where each partition ended when
// it began, partition by partition and in the order of the offsets, outside of any
// group. It is for an operator's commands. An error of each ends it.
func (c *Client) Scan(ctx context.Context, topic string, each func(*Record) error) error {
	starts, err := c.StartOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("scanning %s: %w", topic, err)
	}
	ends, err := c.EndOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("scanning %s: %w", topic, err)
	}
	for partition := range len(ends) {
		if err := c.scanPartition(ctx, topic, partition, starts[partition], ends[partition], each); err != nil {
			if errors.Is(err, ErrScanEnough) {
				return nil
			}
			return err
		}
	}
	return nil
}

func (c *Client) scanPartition(ctx context.Context, topic string, partition int, at, end int64, each func(*Record) error) error {
	f := newFetcher(c, topic, partition, defaultFetchBytesMax, at)
	f.compacted = true // gaps up to the end are gaps
	for f.next < end {
		err := f.fill(ctx, defaultFetchWaitMax, 1)
		if errors.Is(err, errOutOfRange) {
			starts, err := c.offsets(ctx, topic, kafkago.FirstOffset)
			if err != nil {
				return fmt.Errorf("scanning %s: %w", topic, err)
			}
			if starts[partition] <= f.next {
				return fmt.Errorf("scanning %s/%d: %w", topic, partition, errOutOfRange)
			}
			f.seek(starts[partition]) // retention was quicker
			continue
		}
		if err != nil {
			return fmt.Errorf("scanning %s: %w", topic, err)
		}
		for i := range f.pending {
			if f.pending[i].Offset >= end {
				return nil
			}
			if err := each(&f.pending[i]); err != nil {
				return err
			}
		}
		f.pending = f.pending[:0]
	}
	return nil
}
