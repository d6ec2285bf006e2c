package collector

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
)

// initProducerID is the API key a producer asks for its identity under.
const initProducerID kafkatest.Request = 22

// faultFor is how long a fault lasts that does not end by itself: longer than
// SpoolAfter, so that each is hedged and then spooled.
const faultFor = 700 * time.Millisecond

// every calls do until the fault is over.
func every(interval time.Duration, do func()) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			do()
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// brokerFaults are all hooks of the test's broker, each at least once.
func brokerFaults() map[string]func(b *kafkatest.Broker, partition int) (end func()) {
	fails := func(r kafkatest.Request, f kafkatest.Fault) func(b *kafkatest.Broker, partition int) func() {
		return func(b *kafkatest.Broker, _ int) func() { return b.FailNext(r, f, -1).Remove }
	}
	ends := func() {}
	return map[string]func(b *kafkatest.Broker, partition int) func(){
		"not enough replicas":              fails(kafkatest.Produce, kafkatest.NotEnoughReplicas),
		"not enough replicas after append": fails(kafkatest.Produce, kafkatest.NotEnoughReplicasAfterAppend),
		"request timed out after append":   fails(kafkatest.Produce, kafkatest.RequestTimedOut),
		"not the leader":                   fails(kafkatest.Produce, kafkatest.NotLeader),
		"out of order sequence":            fails(kafkatest.Produce, kafkatest.OutOfOrderSequence),
		"unknown producer id":              fails(kafkatest.Produce, kafkatest.UnknownProducerID),
		"no metadata": func(b *kafkatest.Broker, _ int) func() {
			one, two := b.FailNext(kafkatest.Metadata, kafkatest.NotLeader, -1), b.FailNext(kafkatest.Produce, kafkatest.NotLeader, 10)
			return func() { one.Remove(); two.Remove() }
		},
		"no identity": func(b *kafkatest.Broker, _ int) func() {
			b.CutNext(initProducerID, 5)
			return b.FailNext(kafkatest.Produce, kafkatest.UnknownProducerID, 10).Remove
		},
		"one partition fails": func(b *kafkatest.Broker, partition int) func() {
			return b.FailPartition(kafkatest.Produce, kafkatest.NotEnoughReplicas, schemas.TopicEventsCollected, partition, -1).Remove
		},
		"one partition times out after append": func(b *kafkatest.Broker, partition int) func() {
			return b.FailPartition(kafkatest.Produce, kafkatest.RequestTimedOut, schemas.TopicEventsCollected, partition, -1).Remove
		},
		"one partition hangs": func(b *kafkatest.Broker, partition int) func() {
			return b.HoldPartition(schemas.TopicEventsCollected, partition)
		},
		"the ledger's partition hangs": func(b *kafkatest.Broker, _ int) func() { return b.HoldPartition(schemas.TopicLedgerEdge, 0) },
		"answers cut":                  func(b *kafkatest.Broker, _ int) func() { b.CutNext(kafkatest.Produce, 30); return ends },
		"requests cut":                 func(b *kafkatest.Broker, _ int) func() { b.CutReading(kafkatest.Produce, 30); return ends },
		"metadata cut": func(b *kafkatest.Broker, _ int) func() {
			b.CutNext(kafkatest.Metadata, 10)
			return b.FailNext(kafkatest.Produce, kafkatest.NotLeader, 10).Remove
		},
		"every connection cut, again and again": func(b *kafkatest.Broker, _ int) func() { return every(50*time.Millisecond, b.CutAll) },
		"slow": func(b *kafkatest.Broker, _ int) func() {
			var resume func()
			end := every(70*time.Millisecond, func() { // most acknowledgements come after HedgeAfter
				if resume == nil {
					resume = b.Stall()
				} else {
					resume()
					resume = nil
				}
			})
			return func() {
				end()
				if resume != nil {
					resume()
				}
			}
		},
		"stalled": func(b *kafkatest.Broker, _ int) func() { return b.Stall() },
		"leaders move": func(b *kafkatest.Broker, partition int) func() {
			return every(100*time.Millisecond, func() { b.MoveLeader(schemas.TopicEventsCollected, partition) })
		},
	}
}

// Whatever the broker does, every request is answered 200, every event accepted
// is in Kafka, more than once only with the mark, and the counts agree.
func TestNoFaultOfTheBrokerShows(t *testing.T) {
	t.Parallel()
	for name, fault := range brokerFaults() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := newTestBroker(t, kafkatest.Options{Brokers: 2})
			// Times short enough that the producer gives up within the fault, too.
			b := startDurableEdge(t, broker, t.TempDir(), nil,
				kafka.Config{RequestTimeout: 150 * time.Millisecond}, kafka.ProducerConfig{DeliveryTimeout: 400 * time.Millisecond})
			var l load
			stop := make(chan struct{})
			wait := l.run(b, 6, stop)
			waittest.Until(t, 20*time.Second, "the load has begun", func() bool { return l.count() > 30 })
			end := fault(broker, int(schemas.TenantBucket(testCompany)))
			over := time.After(faultFor)
			<-over
			end()
			after := l.count()
			waittest.Until(t, 20*time.Second, "the load goes on", func() bool { return l.count() > after+60 })
			close(stop)
			wait()
			b.drained(t)
			if err := b.stop(); err != nil {
				t.Error(err)
			}
			b.stopIO()
			l.check(t, b)
			if counts := ledgerMax(t, b.reread(schemas.TopicLedgerEdge)); counts[testCompany+"/none"] != uint64(len(l.ids)) {
				t.Errorf("the ledger counts %v, %d were accepted", counts, len(l.ids))
			}
		})
	}
}

// A broker that refuses for good (here: message.max.bytes set too low) is not
// slow: the client is told to send again, unless the refusal took so long that
// the spool had the event first, which waits there. What is accepted is in Kafka
// in the end, and nothing else is counted so.
func TestARefusalOfTheBrokerIsAnsweredRetry(t *testing.T) {
	t.Parallel()
	broker := newTestBroker(t, kafkatest.Options{})
	b := startDurableEdge(t, broker, t.TempDir(), nil, kafka.Config{}, kafka.ProducerConfig{})
	accepted, refused := 0, uint64(0)
	send := func(page map[string]any) {
		a := b.post(b.body(page))
		switch {
		case a.status == http.StatusOK && a.outcomes() == "accepted":
			accepted++
		case a.status == http.StatusServiceUnavailable && a.outcomes() == "retry:unacknowledged" && a.header.Get("Retry-After") != "":
			refused++
		default:
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	send(newPage(b.edge))
	partition := int(schemas.TenantBucket(testCompany))
	refusing := broker.FailPartition(kafkatest.Produce, kafkatest.MessageTooLarge, schemas.TopicEventsCollected, partition, -1)
	page := newPage(b.edge)
	for range 5 {
		send(page)
	}
	refusing.Remove()
	send(page)
	if refusing.Count() == 0 {
		t.Error("the broker refused nothing")
	}
	b.drained(t)
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	b.stopIO()
	counts := ledgerMax(t, b.reread(schemas.TopicLedgerEdge))
	if n := len(b.reread(schemas.TopicEventsCollected)); n != accepted || counts[testCompany+"/none"] != uint64(accepted) || counts[testCompany+"/unacknowledged"] != refused {
		t.Errorf("%d accepted, %d refused; %d events in Kafka, the ledger counts %v", accepted, refused, n, counts)
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
}
