package kafka

import (
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

// CommittedOffsets gives the offset a group has committed of each partition of a
// topic: the records before it are done. It is -1 where the group committed nothing.
func (c *Client) CommittedOffsets(ctx context.Context, group, topic string) (map[int]int64, error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	partitions := make([]int, n)
	for i := range partitions {
		partitions[i] = i
	}
	res, err := c.api.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: partitions}})
	if err == nil {
		err = res.Error
	}
	out := make(map[int]int64, n)
	if errors.Is(err, kafkago.GroupIdNotFound) {
		for i := range n {
			out[i] = -1
		}
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what group %s has committed of %s: %w", group, topic, err)
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, fmt.Errorf("reading what group %s has committed of %s/%d: %w", group, topic, p.Partition, p.Error)
		}
		out[p.Partition] = p.CommittedOffset
	}
	return out, nil
}
