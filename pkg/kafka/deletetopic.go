package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// DeleteTopic deletes a topic with all its records, and returns once the brokers know
// it no more. One that is not there is no error. Measurements begin anew by it; no
// stage calls it.
func (c *Client) DeleteTopic(ctx context.Context, topic string) error {
	res, err := c.api.DeleteTopics(ctx, &kafkago.DeleteTopicsRequest{Topics: []string{topic}})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil && !errors.Is(err, kafkago.UnknownTopicOrPartition) {
		return fmt.Errorf("deleting topic %s: %w", topic, err)
	}
	deadline := c.now().Add(3 * c.cfg.RequestTimeout)
	retry := backoff{20 * time.Millisecond, 500 * time.Millisecond}
	for {
		c.transport.CloseIdleConnections() // with it goes what is remembered of the layout
		if _, err := c.partitionsOnce(ctx, topic); errors.Is(err, kafkago.UnknownTopicOrPartition) {
			return nil
		}
		if c.now().After(deadline) {
			return fmt.Errorf("deleting topic %s: %w", topic, kafkago.RequestTimedOut)
		}
		if !sleep(ctx, retry.step()) {
			return fmt.Errorf("deleting topic %s: %w", topic, ctx.Err())
		}
	}
}
