package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

const (
	defaultHeartbeatInterval = time.Second
	defaultSessionTimeout    = 10 * time.Second
	defaultRebalanceTimeout  = 30 * time.Second
	defaultHandlerBackoff    = time.Second
	handlerBackoffMax        = 30 * time.Second
	rejoinBackoff            = 500 * time.Millisecond
	// leaveTimeout bounds how long leaving the group may hold up the end.
	leaveTimeout = 3 * time.Second
)

// ConsumerConfig tunes a Consumer. Zero durations and sizes mean the default.
type ConsumerConfig struct {
	// Group names the consumers that share the partitions.
	Group string
	// Topics are read by every member.
	Topics []string
	// FetchBytesMax bounds the answer to one fetch (default 4 MiB); a larger
	// batch still comes, alone.
	FetchBytesMax int
	// ReuseMemory: the records of a batch, and all they hold, are the handler's until it
	// calls NextBatch again, and other records' from then on.
	ReuseMemory bool
	// FetchWaitMax is how long a broker may hold a fetch that finds nothing
	// (default 500 ms).
	FetchWaitMax time.Duration
	// HeartbeatInterval is also how soon a rebalance is noticed (default 1 s).
	HeartbeatInterval time.Duration
	// SessionTimeout is after how long without heartbeats the partitions of a
	// dead member go to others (default 10 s).
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the others wait for this member's handlers
	// to end (default 30 s).
	RebalanceTimeout time.Duration
	// HandlerBackoff is the first pause after a handler error; it doubles up
	// to 30 s (default 1 s).
	HandlerBackoff time.Duration
}

// Validate reports every fault of the configuration.
func (c ConsumerConfig) Validate() error {
	var errs []error
	if c.Group == "" {
		errs = append(errs, errors.New("kafka: consumer group has no name"))
	}
	if len(c.Topics) == 0 {
		errs = append(errs, errors.New("kafka: consumer has no topics"))
	}
	if c.FetchBytesMax < 0 || c.FetchBytesMax > responseBytesMax/2 {
		errs = append(errs, fmt.Errorf("kafka: fetch bytes must be between 1 and %d", responseBytesMax/2))
	}
	for _, d := range []time.Duration{c.FetchWaitMax, c.HeartbeatInterval, c.SessionTimeout, c.RebalanceTimeout, c.HandlerBackoff} {
		if d < 0 {
			errs = append(errs, errors.New("kafka: consumer duration is negative"))
			break
		}
	}
	return errors.Join(errs...)
}

// Consumer is one member of a consumer group.
type Consumer struct {
	client *Client
	cfg    ConsumerConfig
	claims atomic.Uint32
}

// NewConsumer makes a member; it joins while Run runs.
func (c *Client) NewConsumer(cfg ConsumerConfig) (*Consumer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.FetchBytesMax = orDefault(cfg.FetchBytesMax, defaultFetchBytesMax)
	cfg.FetchWaitMax = orDefault(cfg.FetchWaitMax, defaultFetchWaitMax)
	cfg.HeartbeatInterval = orDefault(cfg.HeartbeatInterval, defaultHeartbeatInterval)
	cfg.SessionTimeout = orDefault(cfg.SessionTimeout, defaultSessionTimeout)
	cfg.RebalanceTimeout = orDefault(cfg.RebalanceTimeout, defaultRebalanceTimeout)
	cfg.HandlerBackoff = orDefault(cfg.HandlerBackoff, defaultHandlerBackoff)
	return &Consumer{client: c, cfg: cfg}, nil
}

// Run joins the group and calls handle in one goroutine per owned partition,
// until ctx ends; then it ends the handlers, waits for them, leaves the group
// and returns nil. handle must return when its ctx ends (rebalance, end). When
// it returns before, for whatever reason, it is called again after a pause,
// and starts from the last commit.
func (c *Consumer) Run(ctx context.Context, handle func(ctx context.Context, claim *Claim) error) error {
	if err := c.awaitTopics(ctx); err != nil {
		return nil // ctx ended
	}
	conns := &connTracker{dial: (&net.Dialer{Timeout: c.client.cfg.DialTimeout}).DialContext, open: map[net.Conn]struct{}{}}
	dialer := *c.client.dialer
	dialer.DialFunc = conns.dialContext
	group, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID:                    c.cfg.Group,
		Brokers:               c.client.cfg.Brokers,
		Dialer:                &dialer,
		Topics:                c.cfg.Topics,
		HeartbeatInterval:     c.cfg.HeartbeatInterval,
		SessionTimeout:        c.cfg.SessionTimeout,
		RebalanceTimeout:      c.cfg.RebalanceTimeout,
		JoinGroupBackoff:      rejoinBackoff,
		StartOffset:           kafkago.FirstOffset,
		WatchPartitionChanges: true,
		Timeout:               c.client.cfg.RequestTimeout,
	})
	if err != nil {
		return fmt.Errorf("joining group %s: %w", c.cfg.Group, err)
	}
	defer c.leave(group, conns)
	for {
		gen, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, kafkago.ErrGroupClosed):
			return nil
		case err != nil:
			c.client.log.Warn("joining the kafka group", "group", c.cfg.Group, "error", err)
			continue
		}
		c.client.metrics.generations.WithLabelValues(c.cfg.Group).Inc()
		g := &generation{consumer: c, gen: gen}
		drained := make(chan struct{})
		gen.Start(func(genCtx context.Context) {
			g.serve(ctx, genCtx, handle)
			close(drained)
			// Returning would end the generation and start the next join.
			<-genCtx.Done()
		})
		<-drained
		if ctx.Err() != nil {
			return nil
		}
	}
}

// awaitTopics waits until every topic exists: kafka-go rejoins without pause
// while one does not.
func (c *Consumer) awaitTopics(ctx context.Context) error {
	retry := backoff{200 * time.Millisecond, 5 * time.Second}
	for _, topic := range c.cfg.Topics {
		for {
			_, err := c.client.Partitions(ctx, topic)
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				c.client.log.Warn("waiting for a kafka topic", "group", c.cfg.Group, "topic", topic, "error", err)
			}
			if !sleep(ctx, retry.step()) {
				return ctx.Err()
			}
		}
	}
	return nil
}

// leave closes the group. A join that waits for the other members would hold
// it up, so the connections are closed after a while.
func (c *Consumer) leave(group *kafkago.ConsumerGroup, conns *connTracker) {
	timer := time.AfterFunc(leaveTimeout, conns.closeAll)
	defer timer.Stop()
	_ = group.Close()
}

// generation is what this member owns between two rebalances.
type generation struct {
	consumer *Consumer
	gen      *kafkago.Generation
}

// serve runs the handlers until the generation or ctx ends and all of them
// have returned.
func (g *generation) serve(ctx, genCtx context.Context, handle func(context.Context, *Claim) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(genCtx, cancel)
	defer stop()
	owned := 0
	var wg sync.WaitGroup
	for topic, assignments := range g.gen.Assignments {
		for _, a := range assignments {
			owned++
			wg.Go(func() { g.own(ctx, topic, a.ID, handle) })
		}
	}
	g.consumer.client.log.Info("kafka group generation", "group", g.gen.GroupID, "generation", g.gen.ID, "partitions", owned)
	<-ctx.Done()
	wg.Wait()
}

// own runs the handler of one partition again and again.
func (g *generation) own(ctx context.Context, topic string, partition int, handle func(context.Context, *Claim) error) {
	c := g.consumer
	retry := backoff{c.cfg.HandlerBackoff, handlerBackoffMax}
	for ctx.Err() == nil {
		claim, err := g.claim(ctx, topic, partition)
		if err == nil {
			err = handle(ctx, claim)
			claim.release()
			if claim.progress {
				retry = backoff{c.cfg.HandlerBackoff, handlerBackoffMax}
			}
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("kafka: handler returned before its partition was taken away")
		}
		c.client.metrics.handlerErrors.WithLabelValues(c.cfg.Group, topic).Inc()
		c.client.log.Error("kafka handler", "group", c.cfg.Group, "topic", topic, "partition", partition, "error", err)
		if !sleep(ctx, retry.step()) {
			return
		}
	}
}

// connTracker remembers open connections, to end them from outside.
type connTracker struct {
	dial func(context.Context, string, string) (net.Conn, error)
	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func (t *connTracker) dialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := t.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	tracked := &trackedConn{Conn: conn, tracker: t}
	t.mu.Lock()
	t.open[tracked] = struct{}{}
	t.mu.Unlock()
	return tracked, nil
}

func (t *connTracker) closeAll() {
	t.mu.Lock()
	open := t.open
	t.open = map[net.Conn]struct{}{}
	t.mu.Unlock()
	for conn := range open {
		_ = conn.Close()
	}
}

type trackedConn struct {
	net.Conn
	tracker *connTracker
}

func (c *trackedConn) Close() error {
	c.tracker.mu.Lock()
	delete(c.tracker.open, c)
	c.tracker.mu.Unlock()
	return c.Conn.Close()
}
