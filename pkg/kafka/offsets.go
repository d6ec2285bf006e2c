package kafka

import (
	"context"

	kafkago "github.com/segmentio/kafka-go"
)

// StartOffsets gives the offset of the oldest record of each partition of a
// topic: above 0, retention has removed something.
func (c *Client) StartOffsets(ctx context.Context, topic string) (map[int]int64, error) {
	return c.offsets(ctx, topic, kafkago.FirstOffset)
}
