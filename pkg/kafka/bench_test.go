package kafka_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
)

// BenchmarkPaced is what a producer costs at the pace of a loaded collector:
// records arrive one by one, spread over the partitions, and leave when the
// linger ends. With the broker in another process (METIVA_TEST_KAFKA_BROKERS)
// cpu-ns/record is the producer's alone.
func BenchmarkPaced(b *testing.B) {
	for _, rate := range []int{2_000, 20_000} {
		b.Run(fmt.Sprintf("%d per second", rate), func(b *testing.B) { paced(b, rate) })
	}
}

func paced(b *testing.B, perSecond int) {
	const partitions = 16
	client := newClient(b, cluster(b))
	topic := newTopic(b, client, partitions, false)
	p := newProducer(b, client, kafka.ProducerConfig{})
	value := make([]byte, 400)
	send := func(n int) {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		began := time.Now()
		var last *kafka.Ack
		for i := 0; i < n; <-tick.C {
			due := min(n, int(time.Since(began)*time.Duration(perSecond)/time.Second))
			for ; i < due; i++ {
				ack, err := p.Produce(topic, i*7%partitions, nil, value)
				if err != nil {
					b.Fatal(err)
				}
				last = ack
			}
		}
		if err := await(b, last); err != nil {
			b.Fatal(err)
		}
	}
	send(partitions)
	idle := kafka.ProcessCPU(b)
	b.ReportAllocs()
	b.ResetTimer()
	send(b.N)
	b.StopTimer()
	b.ReportMetric(float64(kafka.ProcessCPU(b)-idle)/float64(b.N), "cpu-ns/record")
}
