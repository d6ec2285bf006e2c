package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"golang.org/x/sync/errgroup"
)

// Table reads a topic from its start, without a group: every process that has
// one sees the whole topic. It is for compacted topics: a gap up to the end of
// a partition counts as compacted. The partitions are those the topic has when
// Run begins.
type Table struct {
	client *Client
	topic  string
	apply  func(key, value []byte) error
	ready  chan struct{}
	ran    atomic.Bool

	applyMu sync.Mutex // one apply at a time

	mu      sync.Mutex
	pos     map[int]int64 // next offset to apply, per partition
	changed chan struct{} // closed and replaced at every change of pos
}

// NewTable makes a table; it reads while Run runs. apply gets the records one
// at a time, those of a partition in order; a nil or empty value is a
// tombstone. It must not keep key and value. An error of apply ends Run.
func (c *Client) NewTable(topic string, apply func(key, value []byte) error) *Table {
	return &Table{
		client: c, topic: topic, apply: apply,
		ready: make(chan struct{}), changed: make(chan struct{}), pos: map[int]int64{},
	}
}

// Ready is closed once everything that was in the topic when Run began has
// been applied.
func (t *Table) Ready() <-chan struct{} { return t.ready }

// Run reads until ctx ends (nil) or apply or the broker refuses a record.
// It runs once.
func (t *Table) Run(ctx context.Context) error {
	if t.ran.Swap(true) {
		return errors.New("kafka: table runs already or has run")
	}
	ends, err := t.persist(ctx, t.client.EndOffsets)
	if err != nil {
		return endOf(ctx, err)
	}
	starts, err := t.persist(ctx, func(ctx context.Context, topic string) (map[int]int64, error) {
		return t.client.offsets(ctx, topic, kafkago.FirstOffset)
	})
	if err != nil {
		return endOf(ctx, err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if t.await(groupCtx, ends) == nil {
			close(t.ready)
		}
		return nil
	})
	for partition := range ends {
		group.Go(func() error { return t.read(groupCtx, partition, starts[partition]) })
	}
	return endOf(ctx, group.Wait())
}

// endOf turns the end of ctx into a clean end.
func endOf(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && errors.Is(err, cause) {
		return nil
	}
	return err
}

func (t *Table) read(ctx context.Context, partition int, at int64) error {
	f := newFetcher(t.client, t.topic, partition, defaultFetchBytesMax, at)
	f.compacted = true
	t.moveTo(partition, at)
	for {
		err := f.fill(ctx, defaultFetchWaitMax, 1)
		if errors.Is(err, errOutOfRange) {
			starts, err := t.persist(ctx, func(ctx context.Context, topic string) (map[int]int64, error) {
				return t.client.offsets(ctx, topic, kafkago.FirstOffset)
			})
			if err != nil {
				return err
			}
			f.seek(starts[partition])
			continue
		}
		if err != nil {
			return err
		}
		if err := t.applyAll(f.pending); err != nil {
			return err
		}
		f.pending = f.pending[:0]
		t.moveTo(partition, f.next)
	}
}

func (t *Table) applyAll(records []Record) error {
	if len(records) == 0 {
		return nil
	}
	t.applyMu.Lock()
	defer t.applyMu.Unlock()
	for i := range records {
		r := &records[i]
		if err := t.apply(r.Key, r.Value); err != nil {
			return fmt.Errorf("applying %s/%d at offset %d: %w", t.topic, r.Partition, r.Offset, err)
		}
	}
	t.client.metrics.tableRecords.WithLabelValues(t.topic).Add(float64(len(records)))
	return nil
}

func (t *Table) moveTo(partition int, next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.pos[partition]; ok && old == next {
		return
	}
	t.pos[partition] = next
	close(t.changed)
	t.changed = make(chan struct{})
}

// CatchUp returns once everything that is in the topic now has been applied.
func (t *Table) CatchUp(ctx context.Context) error {
	ends, err := t.persist(ctx, t.client.EndOffsets)
	if err != nil {
		return fmt.Errorf("catching up with %s: %w", t.topic, err)
	}
	if err := t.await(ctx, ends); err != nil {
		return fmt.Errorf("catching up with %s: %w", t.topic, err)
	}
	return nil
}

// await waits until every partition has been applied up to its end.
func (t *Table) await(ctx context.Context, ends map[int]int64) error {
	for {
		t.mu.Lock()
		behind := false
		for partition, end := range ends {
			if pos, ok := t.pos[partition]; !ok || pos < end {
				behind = true
			}
		}
		changed := t.changed
		t.mu.Unlock()
		if !behind {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// persist repeats an inquiry until it succeeds, is refused for good or ctx
// ends: a table outlasts an absent broker and a topic that is not there yet.
func (t *Table) persist(ctx context.Context, ask func(context.Context, string) (map[int]int64, error)) (map[int]int64, error) {
	retry := backoff{100 * time.Millisecond, 2 * time.Second}
	for {
		out, err := ask(ctx, t.topic)
		if err == nil {
			return out, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !isTransient(err) {
			return nil, err
		}
		t.client.log.Debug("reading a kafka table", "topic", t.topic, "error", err)
		t.client.noteError(err)
		if !sleep(ctx, jitter(retry.step())) {
			return nil, ctx.Err()
		}
	}
}
