package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// TopicSpec is a topic as it should be.
type TopicSpec struct {
	Name       string
	Partitions int
	// Retention is how long records stay, for topics that are not compacted.
	Retention time.Duration
	// Compacted keeps the last record of each key for ever.
	Compacted bool
	// ReplicationFactor of zero means the cluster's default.
	ReplicationFactor int
}

// compactionLagMax bounds how long an overwritten or deleted value may stay
// in a compacted topic: a destroyed key must be gone within days.
const compactionLagMax = 24 * time.Hour

// EnsureTopics creates the topics that are missing and waits until each has
// its leaders. Several starters may run it at once. A topic that exists keeps
// its settings; fewer partitions than asked for are an error, because adding
// some moves keys between partitions and is an operator's decision.
func (c *Client) EnsureTopics(ctx context.Context, topics []TopicSpec) error {
	var errs []error
	for _, t := range topics {
		if err := c.ensureTopic(ctx, t); err != nil {
			errs = append(errs, fmt.Errorf("ensuring topic %s: %w", t.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Client) ensureTopic(ctx context.Context, t TopicSpec) error {
	if t.Name == "" || t.Partitions < 1 {
		return errors.New("kafka: topic needs a name and at least one partition")
	}
	n, err := c.partitionsOnce(ctx, t.Name)
	if err != nil {
		if err := c.createTopic(ctx, t); err != nil {
			return err
		}
		if n, err = c.awaitTopic(ctx, t.Name); err != nil {
			return err
		}
	}
	if n < t.Partitions {
		return fmt.Errorf("kafka: topic has %d partitions and needs %d", n, t.Partitions)
	}
	return nil
}

func (c *Client) createTopic(ctx context.Context, t TopicSpec) error {
	retry := backoff{100 * time.Millisecond, time.Second}
	deadline := c.now().Add(3 * c.cfg.RequestTimeout)
	optional := true
	for {
		err := c.createTopicOnce(ctx, t, optional)
		switch {
		case err == nil, errors.Is(err, kafkago.TopicAlreadyExists):
			return nil
		case errors.Is(err, kafkago.InvalidConfiguration) && optional:
			optional = false // a broker that does not know the optional settings
			continue
		case ctx.Err() != nil, !isTransient(err), c.now().After(deadline):
			return fmt.Errorf("creating the topic: %w", err)
		}
		c.noteError(err)
		if !sleep(ctx, retry.step()) {
			return ctx.Err()
		}
	}
}

func (c *Client) createTopicOnce(ctx context.Context, t TopicSpec, optional bool) error {
	spec := kafkago.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.ReplicationFactor}
	if spec.ReplicationFactor == 0 {
		spec.ReplicationFactor = -1
	}
	set := func(name, value string) {
		spec.ConfigEntries = append(spec.ConfigEntries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	millis := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	switch {
	case t.Compacted:
		set("cleanup.policy", "compact")
		if optional {
			set("max.compaction.lag.ms", millis(compactionLagMax))
		}
	case t.Retention > 0:
		set("retention.ms", millis(t.Retention))
	}
	res, err := c.api.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{spec}})
	if err != nil {
		return err
	}
	return res.Errors[t.Name]
}

// awaitTopic waits until the brokers know the topic and its leaders.
func (c *Client) awaitTopic(ctx context.Context, topic string) (int, error) {
	deadline := c.now().Add(3 * c.cfg.RequestTimeout)
	retry := backoff{20 * time.Millisecond, 500 * time.Millisecond}
	for {
		n, err := c.partitionsOnce(ctx, topic)
		if err == nil {
			var ends map[int]int64
			if ends, err = c.offsets(ctx, topic, kafkago.LastOffset); err == nil {
				return max(n, len(ends)), nil
			}
		}
		if ctx.Err() != nil || c.now().After(deadline) {
			return 0, fmt.Errorf("waiting for topic %s: %w", topic, err)
		}
		c.noteError(kafkago.UnknownTopicOrPartition)
		if !sleep(ctx, retry.step()) {
			return 0, ctx.Err()
		}
	}
}
