package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/kafka/plaincopy"
	"github.com/metiva-io/metiva/schemas"
)

const (
	// The limits of a batch are the worker's defaults, for the copy too.
	copyRecordsMax  = 1000
	copyBytesMax    = 2 << 20
	copyWaitMax     = 20 * time.Millisecond
	copyCompression = "snappy"
)

// copyOnce has a bare worker copy the recorded events: consume, produce, commit.
func (r *enrichRig) copyOnce(ctx context.Context, round int) (u usage, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeMax)
	defer cancel()
	var copied atomic.Int64
	all := int64(r.cfg.Events)
	u, err = measured(func() error {
		return r.producing(ctx, func(producer *kafka.Producer) error {
			consumer, err := r.client.NewConsumer(kafka.ConsumerConfig{Group: fmt.Sprintf("bench-copy-%d", round), Topics: []string{schemas.TopicEventsCollected}, ReuseMemory: true})
			if err != nil {
				return err
			}
			return until(ctx, func(ctx context.Context) error {
				return consumer.Run(ctx, func(ctx context.Context, c *kafka.Claim) error { return copyPartition(ctx, c, producer, &copied) })
			}, func() (bool, error) { return copied.Load() >= all, nil })
		})
	})
	if err == nil && copied.Load() != all {
		err = fmt.Errorf("the copy read %d of %d events", copied.Load(), all)
	}
	return u, err
}

// libraryCopyOnce has package plaincopy copy the recorded events: the library as it
// comes.
func (r *enrichRig) libraryCopyOnce(ctx context.Context, round int) (u usage, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeMax)
	defer cancel()
	var copied atomic.Int64
	cfg := plaincopy.Config{
		Brokers: []string{r.broker}, Group: fmt.Sprintf("bench-library-copy-%d", round), From: schemas.TopicEventsCollected, To: schemas.TopicEventsEnriched,
		OnCopied: func(n int) { copied.Add(int64(n)) },
	}
	all := int64(r.cfg.Events)
	u, err = measured(func() error {
		return until(ctx, func(ctx context.Context) error { return plaincopy.Run(ctx, cfg) }, func() (bool, error) { return copied.Load() >= all, nil })
	})
	if err == nil && copied.Load() != all {
		err = fmt.Errorf("the library's copy read %d of %d events", copied.Load(), all)
	}
	return u, err
}

// complete runs a copy and looks whether the broker has one record more for each that
// was recorded, in each partition.
func (r *enrichRig) complete(ctx context.Context, do func(context.Context, int) (usage, error), round int) (usage, error) {
	before, err := r.client.EndOffsets(ctx, schemas.TopicEventsEnriched)
	if err != nil {
		return usage{}, err
	}
	u, err := do(ctx, round)
	if err != nil {
		return u, err
	}
	after, err := r.client.EndOffsets(ctx, schemas.TopicEventsEnriched)
	if err != nil {
		return u, err
	}
	source, err := r.client.EndOffsets(ctx, schemas.TopicEventsCollected)
	if err != nil {
		return u, err
	}
	for partition, records := range source {
		if got := after[partition] - before[partition]; got != records {
			return u, fmt.Errorf("partition %d has %d records and its copy %d", partition, records, got)
		}
	}
	return u, nil
}

// copyPartition copies the records of one partition as they are.
func copyPartition(ctx context.Context, c *kafka.Claim, producer *kafka.Producer, copied *atomic.Int64) error {
	var acks []*kafka.Ack
	for {
		batch, err := c.NextBatch(ctx, kafka.BatchLimit{RecordsMax: copyRecordsMax, BytesMax: copyBytesMax, WaitMax: copyWaitMax})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		if err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		acks = acks[:0]
		for i := range batch.Records {
			rec := &batch.Records[i]
			ack, err := producer.Produce(schemas.TopicEventsEnriched, rec.Partition, rec.Key, rec.Value)
			if err != nil {
				return fmt.Errorf("copying: %w", err)
			}
			if n := len(acks); n == 0 || acks[n-1] != ack {
				acks = append(acks, ack)
			}
		}
		for _, ack := range acks {
			select {
			case <-ctx.Done():
				return nil
			case <-ack.Done():
			}
			if err := ack.Err(); err != nil {
				return fmt.Errorf("copying: %w", err)
			}
		}
		if err := c.Commit(ctx, batch); err != nil {
			return fmt.Errorf("committing: %w", err)
		}
		copied.Add(int64(len(batch.Records)))
	}
}
