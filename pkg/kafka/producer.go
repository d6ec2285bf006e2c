package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultLinger           = 5 * time.Millisecond
	defaultBatchBytesMax    = 512 << 10
	defaultBufferedBytesMax = 64 << 20
	defaultDeliveryTimeout  = 30 * time.Second
	// batchBytesCeiling keeps a batch under what a broker accepts by default
	// (message.max.bytes, 1048588), header included.
	batchBytesCeiling  = 1_000_000
	partitionsKnownFor = 30 * time.Second
)

// ProducerConfig tunes a Producer. Zero values mean the default.
type ProducerConfig struct {
	// Linger is how long a record may wait for others (default 5 ms).
	Linger time.Duration
	// BatchBytesMax bounds a batch before compression, and so a record
	// (default 512 KiB, at most 1,000,000).
	BatchBytesMax int
	// BufferedBytesMax bounds what is accepted and not yet acknowledged
	// (default 64 MiB).
	BufferedBytesMax int64
	// Compression is none (default), lz4, snappy or zstd.
	Compression string
	// DeliveryTimeout is how long a record may wait for its acknowledgement
	// (default 30 s).
	DeliveryTimeout time.Duration
}

// Validate reports every fault of the configuration.
func (c ProducerConfig) Validate() error {
	var errs []error
	if c.Linger < 0 || c.DeliveryTimeout < 0 {
		errs = append(errs, errors.New("kafka: producer duration is negative"))
	}
	if c.BatchBytesMax < 0 || c.BatchBytesMax > batchBytesCeiling {
		errs = append(errs, fmt.Errorf("kafka: batch bytes must be between 1 and %d", batchBytesCeiling))
	}
	if c.BufferedBytesMax < 0 {
		errs = append(errs, errors.New("kafka: buffered bytes are negative"))
	}
	if _, err := parseCodec(c.Compression); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Producer sends records idempotently: each partition has one stream of
// batches with sequence numbers (a lane), one batch under way at a time,
// repeated with the same bytes until it is acknowledged or DeliveryTimeout has
// passed. Batches for one broker share requests; see dispatcher.
type Producer struct {
	client  *Client
	cfg     ProducerConfig
	sealer  *sealer
	batches sync.Pool // of *batch
	// requests that are done with, for their memory.
	requests sync.Pool // of *produceRequest
	board    *board
	leaders  *leaders
	made     time.Time // from which the lanes count

	buffered atomic.Int64 // bytes accepted and not yet finished
	stopping atomic.Bool
	lanes    atomic.Pointer[map[laneKey]*lane] // replaced under mu, never changed

	mu      sync.Mutex
	running bool
	ended   bool

	reportMu sync.Mutex
	reported int64 // of buffered, as the metric has it

	topicMu sync.Mutex
	topics  map[string]knownTopic
}

type laneKey struct {
	topic     string
	partition int
}

type knownTopic struct {
	partitions int
	at         time.Time
}

// NewProducer makes a producer; records are sent while Run runs.
func (c *Client) NewProducer(cfg ProducerConfig) (*Producer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Linger = orDefault(cfg.Linger, defaultLinger)
	cfg.BatchBytesMax = orDefault(cfg.BatchBytesMax, defaultBatchBytesMax)
	cfg.BufferedBytesMax = orDefault(cfg.BufferedBytesMax, defaultBufferedBytesMax)
	cfg.DeliveryTimeout = orDefault(cfg.DeliveryTimeout, defaultDeliveryTimeout)
	codec, err := parseCodec(cfg.Compression)
	if err != nil {
		return nil, err
	}
	sealer, err := newSealer(codec)
	if err != nil {
		return nil, err
	}
	p := &Producer{
		client: c, cfg: cfg, sealer: sealer, made: c.now(),
		board:   newBoard(),
		leaders: &leaders{client: c, turn: make(chan struct{}, 1)},
		topics:  map[string]knownTopic{},
	}
	p.requests.New = func() any { return &produceRequest{rawMessage: rawMessage{clientID: c.cfg.ClientID}} }
	p.batches.New = func() any { return &batch{} }
	p.lanes.Store(&map[laneKey]*lane{})
	return p, nil
}

// Run sends until ctx ends, then takes no more records, sends what is
// buffered (bounded by DeliveryTimeout) and returns nil. It runs once.
func (p *Producer) Run(ctx context.Context) error {
	p.mu.Lock()
	if p.running || p.ended {
		p.mu.Unlock()
		return errors.New("kafka: producer runs already or has run")
	}
	p.running = true
	p.mu.Unlock()
	closing := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.stopping.Store(true)
		close(closing)
	})
	defer stop()
	newDispatcher(p).run(closing)
	return nil
}

// Ack tells when a record's batch is done. It is shared by the batch.
type Ack struct {
	done chan struct{}
	err  error
}

// Done is closed once the batch is acknowledged or has failed.
func (a *Ack) Done() <-chan struct{} { return a.done }

// Err is nil when every in-sync replica has the record. It is valid after
// Done. ErrOutcomeUnknown in the chain means the record may be in the log.
func (a *Ack) Err() error { return a.err }

// Produce takes a record for a partition. It copies key, value and headers,
// and never waits for the network. Errors: ErrBufferFull, ErrClosed,
// ErrTooLarge. Records of one partition stay in the order of the calls.
func (p *Producer) Produce(topic string, partition int, key, value []byte, headers ...Header) (*Ack, error) {
	if p.stopping.Load() {
		return nil, ErrClosed
	}
	size := recordBytesMax(key, value, headers)
	if size > p.cfg.BatchBytesMax {
		return nil, ErrTooLarge
	}
	if p.buffered.Add(int64(size)) > p.cfg.BufferedBytesMax {
		p.buffered.Add(-int64(size))
		p.client.metrics.bufferFull.Inc()
		return nil, ErrBufferFull
	}
	l, err := p.lane(topic, partition)
	if err == nil {
		var ack *Ack
		if ack, err = l.append(size, key, value, headers); err == nil {
			return ack, nil
		}
	}
	p.buffered.Add(-int64(size))
	return nil, err
}

// ProduceSync takes a record and waits for its acknowledgement. When ctx ends
// first the record may still be written.
func (p *Producer) ProduceSync(ctx context.Context, topic string, partition int, key, value []byte, headers ...Header) error {
	ack, err := p.Produce(topic, partition, key, value, headers...)
	if err != nil {
		return err
	}
	select {
	case <-ack.Done():
		return ack.Err()
	case <-ctx.Done():
		return fmt.Errorf("waiting for the acknowledgement: %w: %w", ErrOutcomeUnknown, ctx.Err())
	}
}

// Stalled is how long the oldest record that is neither acknowledged nor given
// up has waited, over all partitions; 0 when there is none. It is for circuit
// breakers, and cheap enough for each request: an atomic read a partition.
// Without a fault it stays under Linger and one round trip.
func (p *Producer) Stalled() time.Duration {
	oldest := int64(0)
	for _, l := range *p.lanes.Load() {
		if born := l.oldest.Load(); born != 0 && (oldest == 0 || born < oldest) {
			oldest = born
		}
	}
	if oldest == 0 {
		return 0
	}
	return max(p.client.now().Sub(p.made)-time.Duration(oldest), 0)
}

// PartitionFor gives the partition of a key, as Java's default partitioner
// would (murmur2). The number of partitions is remembered for 30 seconds.
func (p *Producer) PartitionFor(ctx context.Context, topic string, key []byte) (int, error) {
	p.topicMu.Lock()
	known, ok := p.topics[topic]
	p.topicMu.Unlock()
	now := p.client.now()
	if !ok || now.Sub(known.at) > partitionsKnownFor {
		n, err := p.client.Partitions(ctx, topic)
		switch {
		case err == nil:
			known = knownTopic{n, now}
			p.topicMu.Lock()
			p.topics[topic] = known
			p.topicMu.Unlock()
		case !ok: // an old number is better than none while Kafka is away
			return 0, err
		}
	}
	return int(murmur2(key)&0x7fffffff) % known.partitions, nil
}

func (p *Producer) lane(topic string, partition int) (*lane, error) {
	key := laneKey{topic, partition}
	if l := (*p.lanes.Load())[key]; l != nil {
		return l, nil
	}
	if partition < 0 || topic == "" {
		return nil, fmt.Errorf("kafka: no partition %d of topic %q", partition, topic)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := *p.lanes.Load()
	if l := old[key]; l != nil {
		return l, nil
	}
	if p.ended {
		return nil, ErrClosed
	}
	lanes := make(map[laneKey]*lane, len(old)+1)
	for k, l := range old {
		lanes[k] = l
	}
	l := newLane(p, topic, int32(partition))
	lanes[key] = l
	p.lanes.Store(&lanes)
	return l, nil
}

// reportBuffered brings the metric, which several producers share, up to date.
func (p *Producer) reportBuffered() {
	p.reportMu.Lock()
	defer p.reportMu.Unlock()
	n := p.buffered.Load()
	p.client.metrics.bufferedBytes.Add(float64(n - p.reported))
	p.reported = n
}

// murmur2 is the hash of Java's default partitioner
// (org.apache.kafka.common.utils.Utils.murmur2).
func murmur2(key []byte) uint32 {
	const m = 0x5bd1e995
	h := uint32(0x9747b28c) ^ uint32(len(key))
	for len(key) >= 4 {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> 24
		k *= m
		h *= m
		h ^= k
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
