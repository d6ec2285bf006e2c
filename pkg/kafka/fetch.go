package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	fetchVersion         = 11
	defaultFetchBytesMax = 4 << 20
	defaultFetchWaitMax  = 500 * time.Millisecond
	// emptyFetchesMax is how many empty answers below the end of a compacted
	// topic prove that nothing is left in between.
	emptyFetchesMax = 3
	// throttleWaitMax bounds how long a broker's quota may make us wait before
	// we ask again.
	throttleWaitMax = 10 * time.Second
	// keepAnswerBytesMax is how large the memory of an answer may be that is kept for
	// another: twice that of a usual fetch.
	keepAnswerBytesMax = 2 * defaultFetchBytesMax
)

// fetchMessage reads one partition from an offset on.
type fetchMessage struct {
	rawMessage
	topic     string
	partition int32
	offset    int64
	wait      time.Duration
	bytesMin  int32
	bytesMax  int32

	// The answer.
	throttled     time.Duration // above zero: a quota has answered, not the partition
	highWatermark int64
	records       []byte
	answer        []byte // whose memory records share
}

func (*fetchMessage) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Broker sends the request to the leader.
func (m *fetchMessage) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	none := protocol.Broker{ID: -1}
	topic, ok := cluster.Topics[m.topic]
	if !ok {
		return none, protocol.NewErrNoTopic(m.topic)
	}
	partition, ok := topic.Partitions[m.partition]
	if !ok {
		return none, protocol.NewErrNoPartition(m.topic, m.partition)
	}
	leader, ok := cluster.Brokers[partition.Leader]
	if !ok {
		return none, protocol.NewErrNoLeader(m.topic, m.partition)
	}
	return leader, nil
}

// Required notes the version and makes the transport call RawExchange.
func (m *fetchMessage) Required(versions map[protocol.ApiKey]int16) bool {
	m.version = versions[protocol.Fetch]
	return true
}

// RawExchange writes a fetch request without a session and reads the answer.
func (m *fetchMessage) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if m.version < fetchVersion {
		return nil, errOldBroker
	}
	be := binary.BigEndian
	b := appendHead(make([]byte, 0, 128+len(m.topic)+len(m.clientID)), m.ApiKey(), fetchVersion, m.clientID)
	b = be.AppendUint32(b, 0xffffffff) // replica: a consumer
	b = be.AppendUint32(b, uint32(m.wait.Milliseconds()))
	b = be.AppendUint32(b, uint32(m.bytesMin))
	b = be.AppendUint32(b, uint32(m.bytesMax))
	b = append(b, 0)                   // read uncommitted
	b = be.AppendUint32(b, 0)          // no session
	b = be.AppendUint32(b, 0xffffffff) // and none wanted
	b = be.AppendUint32(b, 1)
	b = appendString(b, m.topic)
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, uint32(m.partition))
	b = be.AppendUint32(b, 0xffffffff) // leader epoch: any
	b = be.AppendUint64(b, uint64(m.offset))
	b = be.AppendUint64(b, 0xffffffffffffffff) // log start: not a follower
	b = be.AppendUint32(b, uint32(m.bytesMax))
	b = be.AppendUint32(b, 0) // nothing to forget
	b = appendString(b, "")   // no rack
	var err error
	if m.answer, err = exchange(rw, finishRequest(b), m.answer); err != nil {
		return nil, err
	}
	return m, m.parse(m.answer)
}

func (m *fetchMessage) parse(answer []byte) error {
	c := cursor{b: answer}
	throttle := time.Duration(c.int32()) * time.Millisecond
	code := c.int16()
	c.int32() // session
	if code != 0 {
		return kafkago.Error(code)
	}
	topics := c.int32()
	if topics == 0 && throttle > 0 && !c.bad {
		// Over its quota a client gets an answer without topics (KIP-219).
		m.throttled = throttle
		return nil
	}
	if topics != 1 {
		return fmt.Errorf("%w: fetch answer", errCorrupt)
	}
	c.take(int(c.int16())) // topic
	if c.int32() != 1 {    // partitions
		return fmt.Errorf("%w: fetch answer", errCorrupt)
	}
	c.int32() // partition
	code = c.int16()
	m.highWatermark = c.int64()
	c.int64() // last stable offset
	c.int64() // log start
	for n := c.int32(); n > 0 && !c.bad; n-- {
		c.take(16) // aborted transactions: nothing here is transactional
	}
	c.int32() // preferred replica
	if n := c.int32(); n > 0 {
		m.records = c.take(int(n))
	}
	if c.bad {
		return fmt.Errorf("%w: fetch answer", errCorrupt)
	}
	if code != 0 {
		return kafkago.Error(code)
	}
	return nil
}

// errOutOfRange: the offset is below the oldest record, or above the end.
var errOutOfRange = errors.New("kafka: offset is out of range")

// fetcher reads one partition in order. It belongs to one goroutine.
type fetcher struct {
	client    *Client
	topic     string
	partition int
	bytesMax  int

	// compacted allows gaps up to the end to be skipped.
	compacted bool

	next    int64    // offset to fetch
	pending []Record // fetched and not yet handed out
	memory  *memory  // of what was handed out; nil: whoever has it may keep it
	end     int64    // next offset of the partition, at the last fetch
	empty   int      // empty answers in a row below end
	retry   backoff
}

func newFetcher(c *Client, topic string, partition, bytesMax int, at int64) *fetcher {
	f := &fetcher{client: c, topic: topic, partition: partition, bytesMax: bytesMax}
	f.seek(at)
	return f
}

func (f *fetcher) seek(at int64) {
	f.next, f.pending, f.empty = at, nil, 0
	f.memory.forget()
	f.retry = backoff{50 * time.Millisecond, 2 * time.Second}
}

// fill makes one fetch that waits at most the given time for bytesMin bytes.
// An error that may pass is logged, waited out and swallowed.
func (f *fetcher) fill(ctx context.Context, wait time.Duration, bytesMin int) error {
	err := f.fetch(ctx, wait, bytesMin)
	switch {
	case err == nil:
		f.retry = backoff{50 * time.Millisecond, 2 * time.Second}
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, kafkago.OffsetOutOfRange):
		return errOutOfRange
	case !isTransient(err):
		return fmt.Errorf("reading %s/%d at offset %d: %w", f.topic, f.partition, f.next, err)
	}
	f.client.metrics.fetchErrors.WithLabelValues(f.topic).Inc()
	f.client.log.Debug("fetching from kafka", "topic", f.topic, "partition", f.partition, "error", err)
	f.client.noteError(err)
	if !sleep(ctx, jitter(f.retry.step())) {
		return ctx.Err()
	}
	return nil
}

func (f *fetcher) fetch(ctx context.Context, wait time.Duration, bytesMin int) error {
	c := f.client
	wait = max(wait, time.Millisecond)
	f.memory.release(f.pending)
	request, cancel := context.WithTimeout(ctx, wait+c.cfg.RequestTimeout)
	defer cancel()
	// After an error a connection may still be writing into the answer: it is left.
	answer, _ := c.answers.Get().(*[]byte)
	if answer == nil {
		answer = new([]byte)
	}
	res, err := c.transport.RoundTrip(request, c.addr, &fetchMessage{
		answer:     *answer,
		rawMessage: rawMessage{clientID: c.cfg.ClientID},
		topic:      f.topic, partition: int32(f.partition), offset: f.next,
		wait: wait, bytesMin: int32(max(bytesMin, 1)), bytesMax: int32(f.bytesMax),
	})
	if err != nil {
		return err
	}
	m, ok := res.(*fetchMessage)
	if !ok {
		return fmt.Errorf("%w: fetch answer", errCorrupt)
	}
	if m.throttled > 0 {
		sleep(ctx, min(m.throttled, throttleWaitMax))
		return ctx.Err()
	}
	isPacked, err := f.accept(m)
	if *answer = m.answer; isPacked {
		c.keepAnswer(answer)
	}
	return err
}

// accept adds the records of an answer to the pending ones, and reports whether they
// share no memory with it.
func (f *fetcher) accept(m *fetchMessage) (isPacked bool, err error) {
	records, isPacked := survey(m.records)
	f.pending = slices.Grow(f.memory.front(f.pending), records)
	err = f.take(m)
	f.memory.note(f.pending)
	return isPacked, err
}

// keepAnswer leaves memory to another fetch. A batch above what fetches ask for still
// comes, and its memory would go round for as long as something is fetched.
func (c *Client) keepAnswer(answer *[]byte) {
	if cap(*answer) <= keepAnswerBytesMax {
		c.answers.Put(answer)
	}
}

// take decodes an answer of the partition.
func (f *fetcher) take(m *fetchMessage) error {
	f.end = m.highWatermark
	before := f.next
	var err error
	f.pending, f.next, err = decodeBatchesIn(f.memory, f.pending, f.topic, f.partition, m.records, f.next)
	if err != nil {
		return err
	}
	if f.next > before || f.next >= f.end || len(m.records) > 0 {
		f.empty = 0
		return nil
	}
	// Nothing at all below the end. In a compacted topic the cleaner took it;
	// in others it is on its way (from remote storage, say), and to skip it
	// would lose it.
	if f.empty++; f.compacted && f.empty >= emptyFetchesMax {
		f.empty, f.next = 0, f.end
	}
	return nil
}
