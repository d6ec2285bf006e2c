package scorer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
)

// producer sends records (kafka.Producer).
type producer interface {
	Produce(topic string, partition int, key, value []byte, headers ...kafka.Header) (*kafka.Ack, error)
	PartitionFor(ctx context.Context, topic string, key []byte) (int, error)
}

// sender hands records to the producer and remembers what is under way.
type sender struct {
	producer producer
	acks     []*kafka.Ack
}

// bufferFullPause is how long to leave the producer alone when its buffer is full
// and nothing of this partition is under way.
const bufferFullPause = 5 * time.Millisecond

func (s *sender) send(ctx context.Context, topic string, target int, key, value []byte, headers ...kafka.Header) error {
	for {
		ack, err := s.producer.Produce(topic, target, key, value, headers...)
		if err == nil {
			// A batch of the producer shares its Ack; one mention is enough.
			if n := len(s.acks); n == 0 || s.acks[n-1] != ack {
				s.acks = append(s.acks, ack)
			}
			return nil
		}
		if !errors.Is(err, kafka.ErrBufferFull) {
			return fmt.Errorf("producing to %s: %w", topic, err)
		}
		if len(s.acks) > 0 {
			if err := s.await(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("producing to %s: %w", topic, ctx.Err())
		case <-time.After(bufferFullPause):
		}
	}
}

// await returns once all that was sent is acknowledged.
func (s *sender) await(ctx context.Context) error {
	for _, ack := range s.acks {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for acknowledgements: %w", ctx.Err())
		case <-ack.Done():
		}
		if err := ack.Err(); err != nil {
			return fmt.Errorf("producing scores: %w", err)
		}
	}
	s.acks = s.acks[:0]
	return nil
}
