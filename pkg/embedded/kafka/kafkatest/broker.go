package kafkatest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fault is an error the broker can be told to answer with.
type Fault int

// The faults, with what the broker does besides answering.
const (
	// NotEnoughReplicas is answered instead of appending.
	NotEnoughReplicas Fault = iota
	// NotEnoughReplicasAfterAppend is answered after appending.
	NotEnoughReplicasAfterAppend
	// RequestTimedOut is answered after doing the work.
	RequestTimedOut
	// NotLeader is answered instead of appending.
	NotLeader
	// OutOfOrderSequence is answered instead of appending.
	OutOfOrderSequence
	// UnknownProducerID is answered instead of appending.
	UnknownProducerID
	// MessageTooLarge is answered instead of appending.
	MessageTooLarge
)

func (f Fault) err() *kerr.Error {
	switch f {
	case NotEnoughReplicas:
		return kerr.NotEnoughReplicas
	case NotEnoughReplicasAfterAppend:
		return kerr.NotEnoughReplicasAfterAppend
	case RequestTimedOut:
		return kerr.RequestTimedOut
	case NotLeader:
		return kerr.NotLeaderForPartition
	case OutOfOrderSequence:
		return kerr.OutOfOrderSequenceNumber
	case UnknownProducerID:
		return kerr.UnknownProducerID
	case MessageTooLarge:
		return kerr.MessageTooLarge
	default:
		return kerr.UnknownServerError
	}
}

// Request names a kind of request.
type Request int16

// The kinds of request that tests interfere with.
const (
	Produce      Request = 0
	Fetch        Request = 1
	Metadata     Request = 3
	OffsetCommit Request = 8
)

// Options change what Start gives.
type Options struct {
	// Brokers is the number of brokers; zero means one.
	Brokers int
	// Durable keeps the data on disk, so that Restart finds it again.
	Durable bool
	// SASLUser and SASLPassword, when set, are required with SASLMechanism
	// ("PLAIN", "SCRAM-SHA-256" or "SCRAM-SHA-512").
	SASLMechanism, SASLUser, SASLPassword string
	// TLS, when set, encrypts the connections. Cut and Stall do not work then.
	TLS *tls.Config
}

// Broker is a running broker (or several, in one cluster).
type Broker struct {
	t     testing.TB
	opts  Options
	dir   string
	ports []int
	wire  *wire

	mu      sync.Mutex
	cluster *kfake.Cluster
}

// Start starts one broker that ends with the test.
func Start(t testing.TB) *Broker {
	t.Helper()
	return StartWith(t, Options{})
}

// StartWith starts brokers as the options say; they end with the test.
func StartWith(t testing.TB, opts Options) *Broker {
	t.Helper()
	if opts.Brokers == 0 {
		opts.Brokers = 1
	}
	b := &Broker{t: t, opts: opts, ports: make([]int, opts.Brokers), wire: newWire()}
	if opts.Durable {
		b.dir = t.TempDir()
	}
	b.start()
	t.Cleanup(b.Stop)
	return b
}

func (b *Broker) start() {
	b.t.Helper()
	opts := []kfake.Opt{
		kfake.Ports(b.ports...),
		kfake.ListenFn(b.wire.listen),
		kfake.GroupMinSessionTimeout(500 * time.Millisecond),
	}
	if b.dir != "" {
		opts = append(opts, kfake.DataDir(b.dir), kfake.SyncWrites())
	}
	if b.opts.SASLUser != "" {
		opts = append(opts, kfake.EnableSASL(),
			kfake.Superuser(b.opts.SASLMechanism, b.opts.SASLUser, b.opts.SASLPassword))
	}
	if b.opts.TLS != nil {
		opts = append(opts, kfake.TLS(b.opts.TLS), kfake.ListenFn(net.Listen))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		b.t.Fatalf("starting the test broker: %v", err)
	}
	for i, addr := range cluster.ListenAddrs() {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			b.t.Fatalf("reading the address of the test broker: %v", err)
		}
		if b.ports[i], err = strconv.Atoi(port); err != nil {
			b.t.Fatalf("reading the port of the test broker: %v", err)
		}
	}
	b.mu.Lock()
	b.cluster = cluster
	b.mu.Unlock()
}

// Addrs gives the host:port of each broker; the same after Restart.
func (b *Broker) Addrs() []string {
	addrs := make([]string, len(b.ports))
	for i, port := range b.ports {
		addrs[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	return addrs
}

// Stop closes the brokers; connections break. Stopping twice is fine.
func (b *Broker) Stop() {
	b.mu.Lock()
	cluster := b.cluster
	b.cluster = nil
	b.mu.Unlock()
	if cluster == nil {
		return
	}
	b.wire.resume()
	cluster.Close()
	b.wire.closeAll()
}

// Restart starts the brokers again on the same ports. Only a Durable broker
// remembers anything.
func (b *Broker) Restart() {
	b.t.Helper()
	b.Stop()
	b.start()
}

func (b *Broker) running() *kfake.Cluster {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cluster == nil {
		b.t.Fatal("the test broker is stopped")
	}
	return b.cluster
}

// CreateTopic makes a topic.
func (b *Broker) CreateTopic(name string, partitions int) {
	b.t.Helper()
	b.create(name, partitions, nil)
}

// CreateCompacted makes a compacted topic, of one partition unless told otherwise.
func (b *Broker) CreateCompacted(name string, partitions ...int) {
	b.t.Helper()
	n := 1
	if len(partitions) > 0 {
		n = partitions[0]
	}
	b.create(name, n, map[string]string{"cleanup.policy": "compact"})
}

func (b *Broker) create(name string, partitions int, configs map[string]string) {
	b.t.Helper()
	if err := b.running().CreateTopic(name, int32(partitions), configs); err != nil {
		b.t.Fatalf("creating topic %s: %v", name, err)
	}
}

// Hits counts how often a fault was answered.
type Hits struct{ handle *kfake.FaultHandle }

// Count is the number of requests answered with the fault so far.
func (h *Hits) Count() int { return h.handle.Hits() }

// Remove ends the fault.
func (h *Hits) Remove() { h.handle.Remove() }

// Wait blocks until the fault was answered n times.
func (h *Hits) Wait(ctx context.Context, n int) error { return h.handle.Wait(ctx, n) }

// FailNext makes the broker answer the next n partitions of the given kind of
// request with the fault; n < 0 means until Hits.Remove.
func (b *Broker) FailNext(r Request, f Fault, n int) *Hits {
	b.t.Helper()
	return &Hits{b.running().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Key(r)}, Err: f.err(), Count: n})}
}

// Observe counts requests of a kind without changing them.
func (b *Broker) Observe(r Request) *Hits {
	b.t.Helper()
	return &Hits{b.running().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Key(r)}, Observe: true, Count: -1})}
}

// FailPartition is FailNext for one partition: the others of a request are
// served.
func (b *Broker) FailPartition(r Request, f Fault, topic string, partition, n int) *Hits {
	b.t.Helper()
	return &Hits{b.running().Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Key(r)}, Topic: topic, Partitions: []int32{int32(partition)}, Err: f.err(), Count: n,
	})}
}

// CutNext lets the next n requests of the kind be done and closes their
// connection instead of answering.
func (b *Broker) CutNext(r Request, n int) { b.wire.set(b.wire.cuts, int16(r), n) }

// CutReading closes the connection at the first bytes of the next n requests
// of the kind; the broker never sees them.
func (b *Broker) CutReading(r Request, n int) { b.wire.set(b.wire.early, int16(r), n) }

// CutAll closes every connection now.
func (b *Broker) CutAll() { b.wire.closeAll() }

// CutsLeft is how many cuts of both kinds are still to come.
func (b *Broker) CutsLeft(r Request) int {
	return b.wire.get(b.wire.cuts, int16(r)) + b.wire.get(b.wire.early, int16(r))
}

// Seen is how many requests of the kind have begun to arrive.
func (b *Broker) Seen(r Request) int { return b.wire.get(b.wire.seen, int16(r)) }

// Connections is how many connections were ever made.
func (b *Broker) Connections() int {
	b.wire.mu.Lock()
	defer b.wire.mu.Unlock()
	return b.wire.made
}

// HoldPartition keeps produce requests with a batch for the partition from
// being worked on, with all they hold, until the returned function is called.
// Other requests pass.
func (b *Broker) HoldPartition(topic string, partition int) (release func()) {
	b.t.Helper()
	c := b.running()
	held := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		req, ok := kreq.(*kmsg.ProduceRequest)
		for i := 0; ok && i < len(req.Topics); i++ {
			for _, p := range req.Topics[i].Partitions {
				if req.Topics[i].Topic == topic && p.Partition == int32(partition) {
					c.SleepControl(func() { <-held })
				}
			}
		}
		return nil, nil, false
	})
	var once sync.Once
	return func() { once.Do(func() { close(held) }) }
}

// Stall makes the brokers read nothing until the returned function is called
// (or the broker stops), as a paused process would.
func (b *Broker) Stall() (resume func()) {
	b.wire.stall()
	return b.wire.resume
}

// MoveLeader gives the partition to another broker.
func (b *Broker) MoveLeader(topic string, partition int) {
	b.t.Helper()
	c := b.running()
	next := (c.LeaderFor(topic, int32(partition)) + 1) % int32(len(b.ports))
	if err := c.MoveTopicPartition(topic, int32(partition), next); err != nil {
		b.t.Fatalf("moving the leader of %s/%d: %v", topic, partition, err)
	}
}

// Compact runs log compaction and retention now.
func (b *Broker) Compact() {
	b.t.Helper()
	b.running().Compact()
}

// Evict has every member of a consumer group join it anew, and so ends those that are gone:
// the broker never forgets a member whose connection ended while it waited to join, which
// keeps its partitions. In Apache Kafka its session ends.
func (b *Broker) Evict(group string) {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		b.t.Fatalf("evicting a group: %v", err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{group}
	described, err := describe.RequestWith(ctx, client)
	if err != nil {
		b.t.Fatalf("reading the members of %s: %v", group, err)
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = group
	for _, g := range described.Groups {
		for _, m := range g.Members {
			gone := kmsg.NewLeaveGroupRequestMember()
			gone.MemberID = m.MemberID
			leave.Members = append(leave.Members, gone)
		}
	}
	if _, err := leave.RequestWith(ctx, client); err != nil {
		b.t.Fatalf("evicting the members of %s: %v", group, err)
	}
}

// HighWatermark is the next offset of the partition.
func (b *Broker) HighWatermark(topic string, partition int) int64 {
	b.t.Helper()
	info := b.running().PartitionInfo(topic, int32(partition))
	if info == nil {
		b.t.Fatalf("no partition %s/%d", topic, partition)
	}
	return info.HighWatermark
}

// DeleteBefore removes the records below the offset, as retention does.
func (b *Broker) DeleteBefore(topic string, partition int, offset int64) {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		b.t.Fatalf("deleting records: %v", err)
	}
	defer client.Close()
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = int32(partition), offset
	rt := kmsg.NewDeleteRecordsRequestTopic()
	rt.Topic, rt.Partitions = topic, append(rt.Partitions, p)
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Topics, req.TimeoutMillis = append(req.Topics, rt), 5000
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := req.RequestWith(ctx, client)
	if err == nil && len(resp.Topics) == 1 && len(resp.Topics[0].Partitions) == 1 {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	} else if err == nil {
		err = fmt.Errorf("answer has %d topics", len(resp.Topics))
	}
	if err != nil {
		b.t.Fatalf("deleting records of %s/%d: %v", topic, partition, err)
	}
}
