package plaincopy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

const (
	queueMessages    = 10_000
	roundMessagesMax = 10_000
	roundWaitMax     = 20 * time.Millisecond
	fetchBytesMax    = 2 << 20
	// fetchWaitMax is how long a broker may wait for records, and so how long a stop may
	// take: the Reader does not break a fetch off.
	fetchWaitMax     = 250 * time.Millisecond
	batchMessagesMax = 1000
	batchWaitMax     = 5 * time.Millisecond
	dialTimeout      = 5 * time.Second
)

// Config is what is copied. All fields are needed.
type Config struct {
	// Brokers are host:port addresses, in plaintext and without SASL.
	Brokers []string
	// Group is the consumer group whose offsets are moved.
	Group string
	// From and To are topics with the same number of partitions.
	From, To string
	// OnCopied is told how many messages were copied and committed, after each round.
	OnCopied func(messages int)
}

// Validate reports every fault.
func (c Config) Validate() error {
	var faults []error
	if len(c.Brokers) == 0 {
		faults = append(faults, errors.New("plaincopy: no broker addresses"))
	}
	if c.Group == "" || c.From == "" || c.To == "" {
		faults = append(faults, errors.New("plaincopy: the group or a topic is missing"))
	}
	if c.From == c.To {
		faults = append(faults, errors.New("plaincopy: a topic cannot be copied to itself"))
	}
	if c.OnCopied == nil {
		faults = append(faults, errors.New("plaincopy: nobody is told of what was copied"))
	}
	return errors.Join(faults...)
}

// Run copies until ctx ends; the round at work is finished first.
func Run(ctx context.Context, cfg Config) (err error) {
	if err := cfg.Validate(); err != nil {
		return err
	}
	reader := kafkago.NewReader(kafkago.ReaderConfig{
		Brokers: cfg.Brokers, GroupID: cfg.Group, Topic: cfg.From, StartOffset: kafkago.FirstOffset,
		QueueCapacity: queueMessages, MaxBytes: fetchBytesMax, MaxWait: fetchWaitMax,
	})
	transport := &kafkago.Transport{DialTimeout: dialTimeout, Dial: (&net.Dialer{Timeout: dialTimeout}).DialContext}
	writer := &kafkago.Writer{
		Addr: kafkago.TCP(cfg.Brokers...), Topic: cfg.To, Transport: transport,
		RequiredAcks: kafkago.RequireAll, Compression: kafkago.Snappy,
		BatchSize: batchMessagesMax, BatchTimeout: batchWaitMax,
		Balancer: kafkago.BalancerFunc(func(m kafkago.Message, _ ...int) int { return m.Partition }),
	}
	defer func() {
		err = errors.Join(err, writer.Close(), reader.Close())
		transport.CloseIdleConnections()
	}()
	r := round{reader: reader, writer: writer, last: make(map[int]int)}
	for {
		if err := r.gather(ctx); err != nil {
			return err
		}
		if len(r.messages) > 0 {
			if err := r.pass(context.WithoutCancel(ctx)); err != nil {
				return err
			}
			cfg.OnCopied(len(r.messages))
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// round is the messages between two commits, in memory that is used again.
type round struct {
	reader   *kafkago.Reader
	writer   *kafkago.Writer
	messages []kafkago.Message
	last     map[int]int // by partition, the index of its last message
	commits  []kafkago.Message
}

// gather waits for a message and takes what comes with it. It returns with fewer
// messages, or none, when ctx ends.
func (r *round) gather(ctx context.Context) error {
	r.messages = r.messages[:0]
	if err := r.fetch(ctx); err != nil || len(r.messages) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, roundWaitMax)
	defer cancel()
	for len(r.messages) < roundMessagesMax && ctx.Err() == nil {
		if err := r.fetch(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fetch takes one message, or none when ctx ends.
func (r *round) fetch(ctx context.Context) error {
	m, err := r.reader.FetchMessage(ctx)
	if err != nil && ctx.Err() != nil {
		return nil //nolint:nilerr // the round is over, or the copy
	}
	if err != nil {
		return fmt.Errorf("fetching messages: %w", err)
	}
	r.messages = append(r.messages, m)
	return nil
}

// pass writes the messages and commits once all are acknowledged.
func (r *round) pass(ctx context.Context) error {
	clear(r.last)
	for i := range r.messages {
		m := &r.messages[i]
		r.last[m.Partition] = i
	}
	r.commits = r.commits[:0]
	for _, i := range r.last {
		r.commits = append(r.commits, r.messages[i])
	}
	for i := range r.messages { // the Writer takes no message that names a topic of its own
		m := &r.messages[i]
		*m = kafkago.Message{Partition: m.Partition, Key: m.Key, Value: m.Value}
	}
	if err := r.writer.WriteMessages(ctx, r.messages...); err != nil {
		return fmt.Errorf("writing messages: %w", err)
	}
	if err := r.reader.CommitMessages(ctx, r.commits...); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}
