package collector

import (
	"context"

	"github.com/metiva-io/metiva/pkg/kafka"
)

// Producer writes records to Kafka. It copies key and value before returning.
type Producer interface {
	// Produce hands a record over without waiting for the network.
	Produce(topic string, partition int, key, value []byte) (Ack, error)
	// ProduceSync returns when the record is acknowledged.
	ProduceSync(ctx context.Context, topic string, partition int, key, value []byte) error
}

// Ack tells when, and whether, a record became durable.
type Ack interface {
	Done() <-chan struct{}
	Err() error // valid once Done is closed
}

// KafkaProducer is the producer of pkg/kafka as the collector's Producer.
func KafkaProducer(p *kafka.Producer) Producer { return kafkaProducer{p} }

type kafkaProducer struct{ p *kafka.Producer }

func (k kafkaProducer) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	ack, err := k.p.Produce(topic, partition, key, value)
	if err != nil {
		return nil, err // a nil *kafka.Ack must not become a non-nil Ack
	}
	return ack, nil
}

func (k kafkaProducer) ProduceSync(ctx context.Context, topic string, partition int, key, value []byte) error {
	return k.p.ProduceSync(ctx, topic, partition, key, value)
}
