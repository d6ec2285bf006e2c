package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/secret"
)

func TestMurmur2LikeJava(t *testing.T) {
	t.Parallel()
	// From org.apache.kafka.common.utils.UtilsTest.
	for key, want := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536,
		"a-little-bit-longer-string": -1486304829, "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestSequenceWraps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ seq, n, want int32 }{
		{0, 1, 1}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 2, 5, 2}, {math.MaxInt32 - 2, 2, math.MaxInt32},
	} {
		who := identity{seq: tc.seq}
		if who.advance(tc.n); who.seq != tc.want {
			t.Errorf("%d + %d = %d, want %d", tc.seq, tc.n, who.seq, tc.want)
		}
	}
}

// Apache Kafka agrees on what follows 2^31-1, also for a batch that straddles
// it and shares its request. kfake counts modulo 2^31-1 instead and refuses;
// there the producer must go on under a new identity.
func TestConformanceSequenceWraps(t *testing.T) {
	t.Parallel()
	real := os.Getenv("METIVA_TEST_KAFKA_BROKERS")
	brokers := strings.Split(real, ",")
	if real == "" {
		brokers = kafkatest.Start(t).Addrs()
	}
	const partitions = 3
	c := testClient(t, brokers)
	topic := fmt.Sprintf("test.wrap.%d", time.Now().UnixNano())
	if err := c.EnsureTopics(t.Context(), []TopicSpec{{Name: topic, Partitions: partitions, Retention: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	// An identity begins at 0 on an empty partition; on one that has records
	// the broker takes any first sequence, since it may have forgotten us.
	for partition, seq := range sendTens(t, c, topic, []int32{0, 0, 0}) {
		if seq != 100 {
			t.Errorf("partition %d: sequence %d after 100 records", partition, seq)
		}
	}
	after := sendTens(t, c, topic, []int32{math.MaxInt32 - 25, 1000, math.MaxInt32 - 49})
	for partition, want := range []int32{74, 1100, 50} {
		if after[partition] != want && (real != "" || partition == 1) {
			t.Errorf("partition %d: sequence %d, want %d", partition, after[partition], want)
		}
	}
	ends, err := c.EndOffsets(t.Context(), topic)
	for partition := range partitions {
		if err != nil || ends[partition] != 200 {
			t.Errorf("%d records in partition %d, want 200 (%v)", ends[partition], partition, err)
		}
	}
}

// sendTens sends ten batches of ten records to each partition, from a first
// sequence on, and gives the sequences after them.
func sendTens(t *testing.T, c *Client, topic string, first []int32) []int32 {
	t.Helper()
	p, err := c.NewProducer(ProducerConfig{Linger: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	lanes := make([]*lane, len(first))
	for partition := range first {
		if lanes[partition], err = p.lane(topic, partition); err != nil {
			t.Fatal(err)
		}
		lanes[partition].first = first[partition]
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	for range 10 {
		var acks []*Ack
		for i := range 10 * len(lanes) {
			ack, err := p.Produce(topic, i%len(lanes), nil, fmt.Append(nil, i))
			if err != nil {
				t.Fatal(err)
			}
			acks = append(acks, ack)
		}
		for _, ack := range acks {
			<-ack.Done()
			if ack.Err() != nil {
				t.Fatal(ack.Err())
			}
		}
	}
	cancel()
	<-ended
	after := make([]int32, len(lanes))
	for i, l := range lanes {
		after[i] = l.who.seq
	}
	return after
}

func testClient(t testing.TB, brokers []string) *Client {
	t.Helper()
	c, err := NewClient(Config{Brokers: brokers}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err  error
		want verdict
	}{
		{nil, delivered},
		{kafkago.DuplicateSequenceNumber, delivered},
		{kafkago.NotEnoughReplicas, retryClean},
		{protocol.NewErrNoTopic("t"), retryClean},
		{&net.OpError{Op: "dial", Err: io.EOF}, retryClean},
		{kafkago.NotEnoughReplicasAfterAppend, retryUnclear},
		{kafkago.RequestTimedOut, retryUnclear},
		{kafkago.NotLeaderForPartition, retryUnclear},
		{kafkago.Unknown, retryUnclear},
		{io.ErrUnexpectedEOF, retryUnclear},
		{context.DeadlineExceeded, retryUnclear},
		{&net.OpError{Op: "read", Err: io.EOF}, retryUnclear},
		{kafkago.OutOfOrderSequenceNumber, lostIdentity},
		{kafkago.UnknownProducerId, lostIdentity},
		{fmt.Errorf("wrapped: %w", kafkago.InvalidProducerEpoch), lostIdentity},
		{kafkago.MessageSizeTooLarge, refused},
		{kafkago.TopicAuthorizationFailed, refused},
	} {
		if got := judge(tc.err); got != tc.want {
			t.Errorf("judge(%v) = %d, want %d", tc.err, got, tc.want)
		}
	}
}

func TestPlanMetadata(t *testing.T) {
	t.Parallel()
	if last, ok := parsePlan(encodePlan(41), 7); !ok || last != 41 {
		t.Errorf("round trip: %d %v", last, ok)
	}
	for _, bad := range []string{"", "plan/1 last=", "plan/1 last=x", "plan/1 last=6", "plan/2 last=9", encodePlan(9) + " "} {
		if last, ok := parsePlan(bad, 7); ok {
			t.Errorf("%q gave %d", bad, last)
		}
	}
}

func sealed(t testing.TB, name string, records int) []byte {
	t.Helper()
	c, err := parseCodec(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer(c)
	if err != nil {
		t.Fatal(err)
	}
	b := &batch{firstMs: 1_000, maxMs: 2_000}
	for i := range records {
		b.records = appendRecord(b.records, int64(i)-2, int64(i), fmt.Append(nil, "k", i), []byte(strings.Repeat("v", i)), []Header{{Key: "h", Value: []byte{byte(i)}}})
		b.count++
	}
	return s.seal(nil, identity{id: 5, epoch: 1, seq: 9}, b)[lengthBytes:]
}

func TestBatchRoundTrip(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"none", "lz4", "snappy", "zstd"} {
		data := sealed(t, name, 20)
		two := append(bytes.Clone(data), data[:len(data)-1]...) // the second is cut off
		got, next, err := decodeBatches(nil, "t", 3, two, 5)
		if err != nil || next != 20 || len(got) != 15 {
			t.Fatalf("%s: %d records, next %d, %v", name, len(got), next, err)
		}
		for i, r := range got {
			if r.Offset != int64(i+5) || string(r.Key) != fmt.Sprint("k", i+5) || len(r.Value) != i+5 ||
				r.Headers[0].Value[0] != byte(i+5) || r.Time.UnixMilli() != int64(1_000+i+3) || r.Partition != 3 {
				t.Fatalf("%s: record %d is %d %q", name, i, r.Offset, r.Key)
			}
		}
		broken := bytes.Clone(data)
		broken[len(broken)-1] ^= 1
		if _, _, err := decodeBatches(nil, "t", 3, broken, 0); !errors.Is(err, errCorrupt) {
			t.Errorf("%s: a flipped bit: %v", name, err)
		}
	}
}

func FuzzDecodeBatches(f *testing.F) {
	for _, name := range []string{"none", "lz4", "snappy", "zstd"} {
		f.Add(sealed(f, name, 3), int64(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, from int64) {
		if from < 0 {
			return
		}
		records, next, err := decodeBatches(nil, "t", 0, data, from)
		if next < from {
			t.Fatalf("next %d is before %d", next, from)
		}
		for _, r := range records {
			if r.Offset < from {
				t.Fatalf("offset %d is before %d", r.Offset, from)
			}
		}
		if err == nil && len(records) > 0 && len(data) < batchHeaderBytes {
			t.Fatal("records from nothing")
		}
		if n, _ := survey(data); n < 0 || n > len(data) {
			t.Fatalf("%d records surveyed in %d bytes", n, len(data))
		}
		// The same without checksum and framing in the way.
		if len(data) >= batchHeaderBytes {
			_, _ = decodeBatch(nil, nil, "t", 0, data, from)
		}
	})
}

func FuzzFetchAnswer(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &fetchMessage{}
		if err := m.parse(data); err == nil && len(m.records) > len(data) {
			t.Fatal("records from nothing")
		}
	})
}

// A broker answers without topics while a client is over its quota. That is
// neither damage nor the end of the partition.
func TestFetchAnswerOverQuota(t *testing.T) {
	t.Parallel()
	answer := func(throttleMs uint32) []byte {
		b := binary.BigEndian.AppendUint32(nil, throttleMs)
		return append(b, make([]byte, 2+4+4)...) // no error, no session, no topics
	}
	m := &fetchMessage{}
	if err := m.parse(answer(1500)); err != nil || m.throttled != 1500*time.Millisecond {
		t.Errorf("throttled %v, error %v", m.throttled, err)
	}
	if err := (&fetchMessage{}).parse(answer(0)); !errors.Is(err, errCorrupt) {
		t.Errorf("an answer without topics and throttle: %v", err)
	}
}

// Empty answers below the end pass a gap of a compacted topic; a topic that
// is not compacted is asked again, because what is there would be lost.
func TestEmptyAnswersBelowTheEnd(t *testing.T) {
	t.Parallel()
	for compacted, want := range map[bool]int64{true: 10, false: 4} {
		f := &fetcher{topic: "t", compacted: compacted, next: 4}
		for range 2 * emptyFetchesMax {
			if err := f.take(&fetchMessage{highWatermark: 10}); err != nil {
				t.Fatal(err)
			}
		}
		if f.next != want {
			t.Errorf("compacted %v: next offset %d, want %d", compacted, f.next, want)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	ok := []string{"localhost:9092"}
	for i, tc := range []struct {
		cfg  Config
		want string // "" is valid
	}{
		{Config{Brokers: ok}, ""},
		{Config{}, "no broker"},
		{Config{Brokers: []string{"localhost"}}, "host:port"},
		{Config{Brokers: ok, SASLMechanism: "gssapi"}, "not one of"},
		{Config{Brokers: ok, SASLMechanism: SASLPlain}, "without user"},
		{Config{Brokers: ok, SASLUser: "u"}, "without a SASL mechanism"},
		{Config{Brokers: ok, SASLMechanism: SASLPlain, SASLUser: "u", SASLPassword: secret.New("pä")}, "ASCII"},
		{Config{Brokers: ok, TLSCAFile: "ca.pem"}, "without TLS"},
		{Config{Brokers: ok, DialTimeout: -1}, "negative"},
	} {
		err := tc.cfg.Validate()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("case %d: %v, want %q", i, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "pä") {
			t.Errorf("case %d: the password is in the error", i)
		}
	}
}

// drained is a producer whose lanes are emptied without a network.
func drained(t testing.TB) *Producer {
	t.Helper()
	p, err := testClient(t, []string{"127.0.0.1:1"}).NewProducer(ProducerConfig{Linger: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func drain(l *lane) {
	now := time.Now()
	for due := now; !due.IsZero(); due = l.land(now) {
		l.take()
		l.settle(nil, now, 0)
	}
	l.p.board.clear(nil)
}

func TestProduceAllocations(t *testing.T) {
	p := drained(t)
	key, value := []byte("key"), make([]byte, 400)
	l, err := p.lane("t", 0)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	produce := func() {
		if _, err := p.Produce("t", 0, key, value, Header{Key: "h", Value: key}); err != nil {
			t.Fatal(err)
		}
		if i++; i%500 == 0 {
			drain(l)
		}
	}
	for range 1000 {
		produce()
	}
	if n := testing.AllocsPerRun(5000, produce); n >= 0.1 {
		t.Errorf("%.2f allocations per record", n)
	}
}

func BenchmarkProduce(b *testing.B) {
	p := drained(b)
	key, value := []byte("key"), make([]byte, 400)
	l, err := p.lane("t", 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for i := 0; b.Loop(); i++ {
		if _, err := p.Produce("t", 0, key, value); err != nil {
			b.Fatal(err)
		}
		if i%500 == 499 {
			drain(l)
		}
	}
}

// BenchmarkProduceSend is the whole way into the embedded broker and back, in
// one process: producer, loopback and broker share the measured CPU.
func BenchmarkProduceSend(b *testing.B) {
	broker := kafkatest.Start(b)
	broker.CreateTopic("t", 4)
	p, err := testClient(b, broker.Addrs()).NewProducer(ProducerConfig{Linger: 5 * time.Millisecond})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Run(ctx) }()
	value := make([]byte, 400)
	b.ReportAllocs()
	var last *Ack
	for i := 0; b.Loop(); i++ {
		ack, err := p.Produce("t", i%4, nil, value)
		for errors.Is(err, ErrBufferFull) {
			<-last.Done()
			ack, err = p.Produce("t", i%4, nil, value)
		}
		if err != nil {
			b.Fatal(err)
		}
		last = ack
	}
	cancel()
	<-ended
}
