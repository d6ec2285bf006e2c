package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// BatchLimit bounds what NextBatch gives. Zero RecordsMax or BytesMax means
// no such bound; WaitMax is how long to wait for more after the first record.
type BatchLimit struct {
	RecordsMax int
	BytesMax   int
	WaitMax    time.Duration
}

// Batch is a run of records of one partition. First..Last is the range of
// offsets it covers, both included; compacted offsets are missing from Records.
type Batch struct {
	Topic       string
	Partition   int
	First, Last int64
	Records     []Record
	// Again: an earlier owner planned the range, and may have begun with its effects.
	Again bool
}

// Claim is the ownership of one partition within one group generation. It
// belongs to the goroutine of its handler.
type Claim struct {
	gen       *generation
	attempt   uint32 // counts the claims of this member
	topic     string
	partition int
	fetcher   *fetcher
	pos       int64 // first offset of the next batch
	planned   *span // to be given again, as a whole
	open      []span
	progress  bool // something was committed
	// committed and metadata are what stands at the broker, or would.
	committed int64
	metadata  string
}

// span is a range of offsets, both included.
type span struct{ first, last int64 }

// planPrefix marks the commit metadata that Plan writes.
const planPrefix = "plan/1 last="

func encodePlan(last int64) string { return planPrefix + strconv.FormatInt(last, 10) }

// parsePlan gives the last offset of a plan that begins at first.
func parsePlan(metadata string, first int64) (last int64, ok bool) {
	text, ok := strings.CutPrefix(metadata, planPrefix)
	if !ok {
		return 0, false
	}
	last, err := strconv.ParseInt(text, 10, 64)
	return last, err == nil && last >= first
}

// claim reads where the group stands on the partition.
func (g *generation) claim(ctx context.Context, topic string, partition int) (*Claim, error) {
	c := g.consumer
	cl := &Claim{gen: g, attempt: c.claims.Add(1), topic: topic, partition: partition}
	var committed kafkago.OffsetFetchPartition
	err := cl.persist(ctx, func(ctx context.Context) error {
		res, err := c.client.api.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: c.cfg.Group, Topics: map[string][]int{topic: {partition}}})
		if err != nil {
			return err
		}
		if res.Error != nil {
			return res.Error
		}
		if len(res.Topics[topic]) != 1 {
			return fmt.Errorf("%w: offset fetch answer", errCorrupt)
		}
		committed = res.Topics[topic][0]
		return committed.Error
	})
	if err != nil {
		return nil, fmt.Errorf("reading the committed offset of %s/%d: %w", topic, partition, err)
	}
	cl.pos = committed.CommittedOffset
	if cl.pos < 0 {
		err := cl.persist(ctx, func(ctx context.Context) (err error) {
			cl.pos, err = c.client.firstOffset(ctx, topic, partition)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading the first offset of %s/%d: %w", topic, partition, err)
		}
	} else if last, ok := parsePlan(committed.Metadata, cl.pos); ok {
		cl.planned = &span{cl.pos, last}
	}
	cl.committed, cl.metadata = cl.pos, committed.Metadata
	cl.fetcher = newFetcher(c.client, topic, partition, c.cfg.FetchBytesMax, cl.pos)
	if c.cfg.ReuseMemory {
		cl.fetcher.memory = &memory{of: &c.client.memories}
	}
	return cl, nil
}

func (c *Claim) release() {
	c.gen.consumer.client.metrics.consumerLag.DeleteLabelValues(c.gen.consumer.cfg.Group, c.topic, strconv.Itoa(c.partition))
}

// Topic is the topic of the partition.
func (c *Claim) Topic() string { return c.topic }

// Partition is the number of the partition.
func (c *Claim) Partition() int { return c.partition }

// Position is the first offset of the next batch: until something is handed out,
// where the group stands on the partition.
func (c *Claim) Position() int64 { return c.pos }

// NextBatch gives the next records in the order of their offsets: at least
// one, at most the limit (a record above BytesMax comes alone). It waits until
// there is one, or ctx ends. When the last owner ended between Plan and Commit,
// the first batch is exactly the planned range, whatever the limit says; only
// records that retention has removed since are missing from it.
func (c *Claim) NextBatch(ctx context.Context, lim BatchLimit) (Batch, error) {
	if c.planned != nil {
		b, ok, err := c.replay(ctx)
		if err != nil || ok {
			return b, err
		}
	}
	var until time.Time // set by the first record
	client := c.gen.consumer.client
	for {
		n, size, full := c.measure(lim)
		if n > 0 && until.IsZero() {
			until = client.now().Add(lim.WaitMax)
		}
		wait := c.gen.consumer.cfg.FetchWaitMax
		if n > 0 {
			wait = until.Sub(client.now())
		}
		if full || n > 0 && wait <= 0 {
			return c.take(n, c.fetcher.pending[n-1].Offset), nil
		}
		bytesMin := 1
		if n > 0 && lim.BytesMax > 0 {
			bytesMin = min(lim.BytesMax-size, c.fetcher.bytesMax)
		}
		err := c.fetcher.fill(ctx, wait, bytesMin)
		switch {
		case errors.Is(err, errOutOfRange) && n > 0:
			return c.take(n, c.fetcher.pending[n-1].Offset), nil
		case errors.Is(err, errOutOfRange):
			if err := c.restart(ctx); err != nil {
				return Batch{}, err
			}
		case err != nil:
			return Batch{}, err // what was fetched stays for the next call
		}
		c.noteLag()
	}
}

// measure counts the pending records that fit the limit, and whether the
// limit is reached.
func (c *Claim) measure(lim BatchLimit) (n, size int, full bool) {
	for i := range c.fetcher.pending {
		r := &c.fetcher.pending[i]
		s := len(r.Key) + len(r.Value)
		if n > 0 && lim.BytesMax > 0 && size+s > lim.BytesMax {
			return n, size, true
		}
		n++
		size += s
		if lim.RecordsMax > 0 && n >= lim.RecordsMax || lim.BytesMax > 0 && size >= lim.BytesMax {
			return n, size, true
		}
	}
	return n, size, false
}

// take hands out n pending records as the batch up to last.
func (c *Claim) take(n int, last int64) Batch {
	b := Batch{Topic: c.topic, Partition: c.partition, First: c.pos, Last: last, Records: c.fetcher.pending[:n:n]}
	c.fetcher.pending = c.fetcher.pending[n:]
	if len(c.fetcher.pending) == 0 {
		c.fetcher.pending = nil // do not keep the memory of what was handed out
	}
	c.pos = last + 1
	c.open = append(c.open, span{b.First, b.Last})
	c.gen.consumer.client.metrics.consumedRecords.WithLabelValues(c.gen.consumer.cfg.Group, c.topic).Add(float64(n))
	c.noteLag()
	return b
}

// replay gives the planned range. ok is false when nothing of it is left.
func (c *Claim) replay(ctx context.Context) (b Batch, ok bool, err error) {
	plan := *c.planned
	for c.fetcher.next <= plan.last {
		err := c.fetcher.fill(ctx, c.gen.consumer.cfg.FetchWaitMax, 1)
		if errors.Is(err, errOutOfRange) {
			if err = c.restart(ctx); err == nil && (c.pos > plan.last || c.pos < plan.first) {
				c.planned = nil
				return Batch{}, false, nil
			}
			c.pos = plan.first // the range keeps its name
		}
		if err != nil {
			return Batch{}, false, err
		}
	}
	c.planned = nil
	n := 0
	for n < len(c.fetcher.pending) && c.fetcher.pending[n].Offset <= plan.last {
		n++
	}
	if n == 0 {
		c.pos = plan.last + 1
		return Batch{}, false, nil
	}
	c.pos = plan.first
	b = c.take(n, plan.last)
	b.Again = true
	return b, true, nil
}

// restart goes on from the oldest record there is.
func (c *Claim) restart(ctx context.Context) error {
	var first int64
	err := c.persist(ctx, func(ctx context.Context) (err error) {
		first, err = c.gen.consumer.client.firstOffset(ctx, c.topic, c.partition)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the first offset of %s/%d: %w", c.topic, c.partition, err)
	}
	client := c.gen.consumer.client
	if first > c.fetcher.next {
		client.metrics.skippedRecords.WithLabelValues(c.topic).Add(float64(first - c.fetcher.next))
	}
	client.log.Error("kafka offset is out of range, going on from the oldest record",
		"group", c.gen.consumer.cfg.Group, "topic", c.topic, "partition", c.partition, "offset", c.fetcher.next, "oldest", first)
	c.fetcher.seek(first)
	c.pos = first
	return nil
}

func (c *Claim) noteLag() {
	lag := max(c.fetcher.end-c.pos, 0)
	c.gen.consumer.client.metrics.consumerLag.
		WithLabelValues(c.gen.consumer.cfg.Group, c.topic, strconv.Itoa(c.partition)).Set(float64(lag))
}

// Plan makes the range of the batch durable before its effects: whoever owns
// the partition next gets the same range again, until it is committed. The
// batch must be the oldest uncommitted one. ErrFenced: the partition has a
// newer owner, and the batch must be left alone.
func (c *Claim) Plan(ctx context.Context, b Batch) error {
	if len(c.open) == 0 || c.open[0] != (span{b.First, b.Last}) {
		return ErrPlanOrder
	}
	return c.commit(ctx, b.First, encodePlan(b.Last))
}

// Commit says that the effects of the batch, and of all before it, are done.
func (c *Claim) Commit(ctx context.Context, b Batch) error {
	n := 0
	for n < len(c.open) && c.open[n].last <= b.Last {
		n++
	}
	if n == 0 || c.open[n-1] != (span{b.First, b.Last}) {
		return ErrPlanOrder
	}
	if err := c.commit(ctx, b.Last+1, ""); err != nil {
		return err
	}
	c.open = c.open[n:]
	c.progress = true
	return nil
}

func (c *Claim) commit(ctx context.Context, offset int64, metadata string) error {
	gen := c.gen.gen
	err := c.persist(ctx, func(ctx context.Context) error {
		res, err := c.gen.consumer.client.api.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{
			GroupID: gen.GroupID, GenerationID: int(gen.ID), MemberID: gen.MemberID,
			Topics: map[string][]kafkago.OffsetCommit{c.topic: {{Partition: c.partition, Offset: offset, Metadata: metadata}}},
		})
		if err != nil {
			return err
		}
		if len(res.Topics[c.topic]) != 1 {
			return fmt.Errorf("%w: offset commit answer", errCorrupt)
		}
		return res.Topics[c.topic][0].Error
	})
	if err = fenced(err); err == nil {
		c.committed, c.metadata = offset, metadata
		return nil
	}
	return fmt.Errorf("committing offset %d of %s/%d: %w", offset, c.topic, c.partition, err)
}

// persist repeats a request until it succeeds, is refused for good, ctx ends
// or three request timeouts have passed.
func (c *Claim) persist(ctx context.Context, request func(context.Context) error) error {
	client := c.gen.consumer.client
	deadline := client.now().Add(3 * client.cfg.RequestTimeout)
	retry := backoff{50 * time.Millisecond, time.Second}
	for {
		err := request(ctx)
		if err == nil || ctx.Err() != nil || !isTransient(err) || client.now().After(deadline) {
			return err
		}
		client.noteError(err)
		if !sleep(ctx, jitter(retry.step())) {
			return err
		}
	}
}
