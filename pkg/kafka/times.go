package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// OffsetsAt gives, of each partition of a topic, the first offset whose record is of
// at or later, by the records' own times; the end where there is none. Times within a
// partition need not rise: it is the first such record, and older ones may follow it.
func (c *Client) OffsetsAt(ctx context.Context, topic string, at time.Time) (map[int]int64, error) {
	ends, err := c.EndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	req := make([]kafkago.OffsetRequest, len(ends))
	for i := range req {
		req[i] = kafkago.TimeOffsetOf(i, at)
	}
	var last error
	for range 5 {
		if last = c.offsetsAtOnce(ctx, topic, req, ends); last == nil {
			return ends, nil
		}
		if ctx.Err() != nil || !isTransient(last) {
			break
		}
		c.noteError(last)
		if !sleep(ctx, refreshEvery) {
			break
		}
	}
	return nil, fmt.Errorf("listing offsets of %s by time: %w", topic, last)
}

func (c *Client) offsetsAtOnce(ctx context.Context, topic string, req []kafkago.OffsetRequest, into map[int]int64) error {
	res, err := c.api.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: req}})
	if err != nil {
		return err
	}
	if len(res.Topics[topic]) != len(req) {
		return errors.New("kafka: answer does not cover every partition")
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return p.Error
		}
	}
	for _, p := range res.Topics[topic] {
		for offset := range p.Offsets {
			if offset >= 0 { // -1: no record is as late
				into[p.Partition] = min(into[p.Partition], offset)
			}
		}
	}
	return nil
}

// CommitOffset notes an offset of a partition for a group that has no members: the
// progress of a run that reads by itself. metadata may say more, in up to 4 KiB.
func (c *Client) CommitOffset(ctx context.Context, group, topic string, partition int, offset int64, metadata string) error {
	var last error
	for range 5 {
		if last = c.commitOnce(ctx, group, topic, partition, offset, metadata); last == nil {
			return nil
		}
		if ctx.Err() != nil || !isTransient(last) {
			break
		}
		c.noteError(last)
		if !sleep(ctx, refreshEvery) {
			break
		}
	}
	return fmt.Errorf("noting offset %d of %s/%d for %s: %w", offset, topic, partition, group, last)
}

func (c *Client) commitOnce(ctx context.Context, group, topic string, partition int, offset int64, metadata string) error {
	res, err := c.api.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafkago.OffsetCommit{topic: {{Partition: partition, Offset: offset, Metadata: metadata}}},
	})
	if err != nil {
		return err
	}
	if len(res.Topics[topic]) != 1 {
		return fmt.Errorf("%w: offset commit answer", errCorrupt)
	}
	return res.Topics[topic][0].Error
}
