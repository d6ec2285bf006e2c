package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// twoTopics is a request with three lanes and something to send on each.
func twoTopics(t testing.TB, codec string) (*Producer, *produceRequest) {
	t.Helper()
	p, err := testClient(t, []string{"127.0.0.1:1"}).NewProducer(ProducerConfig{Compression: codec})
	if err != nil {
		t.Fatal(err)
	}
	var lanes []*lane
	for _, at := range []laneKey{{"a", 3}, {"b", 0}, {"b", 12}} {
		if _, err := p.Produce(at.topic, at.partition, nil, bytes.Repeat([]byte("v"), 300)); err != nil {
			t.Fatal(err)
		}
		l, err := p.lane(at.topic, at.partition)
		if err != nil {
			t.Fatal(err)
		}
		l.take()
		l.who = identity{id: 7, epoch: 2, seq: math.MaxInt32}
		lanes = append(lanes, l)
	}
	r := p.newRequest(1, lanes)
	r.encode(p.sealer)
	return p, r
}

func answerTo(topics map[string]map[int32]int16) []byte {
	be := binary.BigEndian
	b := be.AppendUint32(nil, uint32(len(topics)))
	for topic, codes := range topics {
		b = appendString(b, topic)
		b = be.AppendUint32(b, uint32(len(codes)))
		for partition, code := range codes {
			b = be.AppendUint32(b, uint32(partition))
			b = be.AppendUint16(b, uint16(code))
			b = append(b, make([]byte, 3*8)...)
		}
	}
	return be.AppendUint32(b, 0) // throttle time
}

func TestAnswerByPartition(t *testing.T) {
	t.Parallel()
	_, r := twoTopics(t, "none")
	err := r.parse(answerTo(map[string]map[int32]int16{
		"b": {12: 7, 0: 0, 1: 3}, // 1 was not asked for
		"c": {3: 3},
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := answerError(r.codes[0]); !errors.Is(err, errCorrupt) || judge(err) != retryUnclear {
		t.Errorf("a partition that is not answered: %v", err)
	}
	if err := answerError(r.codes[1]); err != nil {
		t.Errorf("an accepted partition: %v", err)
	}
	if err := answerError(r.codes[2]); !errors.Is(err, kafkago.RequestTimedOut) {
		t.Errorf("a refused partition: %v", err)
	}
	if err := r.parse(answerTo(map[string]map[int32]int16{"a": {3: 0}})[:20]); !errors.Is(err, errCorrupt) {
		t.Errorf("half an answer: %v", err)
	}
}

// A repetition has the same bytes; under a new identity only that and the
// checksum differ.
func TestRepetitionHasTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, codec := range []string{"none", "lz4", "snappy", "zstd"} {
		p, r := twoTopics(t, codec)
		l, span := r.lanes[1], r.spans[1]
		sent := bytes.Clone(r.wire[span[0]:span[1]])
		l.under.keep(sent)
		l.under.keep([]byte("kept once only"))
		again := p.sealer.seal([]byte("before"), l.who, l.under)[len("before")+lengthBytes:]
		if !bytes.Equal(again, sent) {
			t.Errorf("%s: the repetition differs", codec)
		}
		renamed := p.sealer.seal(nil, identity{id: 8, epoch: 0, seq: 1}, l.under)[lengthBytes:]
		records, _, err := decodeBatches(nil, "b", 0, renamed, 0)
		if err != nil || len(records) != 1 || len(records[0].Value) != 300 {
			t.Errorf("%s: under a new identity %d records are read: %v", codec, len(records), err)
		}
		if id := binary.BigEndian.Uint64(renamed[batchAtProducer:]); id != 8 {
			t.Errorf("%s: producer id %d", codec, id)
		}
		same := bytes.Clone(renamed)
		copy(same[batchAtCRC:], sent[batchAtCRC:batchAtBody])
		copy(same[batchAtProducer:], sent[batchAtProducer:batchAtSequence+4])
		if !bytes.Equal(same, sent) {
			t.Errorf("%s: more than the identity has changed", codec)
		}
	}
}

// What does not get smaller is not compressed: sealed values do not.
func TestIncompressibleBatchGoesAsItIs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"lz4", "snappy", "zstd"} {
		c, err := parseCodec(name)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newSealer(c)
		if err != nil {
			t.Fatal(err)
		}
		b := &batch{records: []byte("abcdefghij"), count: 1}
		wire := s.seal(nil, identity{}, b)[lengthBytes:]
		if !bytes.Equal(wire[batchHeaderBytes:], b.records) || wire[batchAtBody+1] != 0 {
			t.Errorf("%s: ten different bytes became %d, attributes %d", name, len(wire)-batchHeaderBytes, wire[batchAtBody+1])
		}
	}
}

// A partition that made others wait travels alone until it is quick again; so
// does one under which connections break.
func TestWhoTravelsAlone(t *testing.T) {
	t.Parallel()
	l := &lane{}
	for i, step := range []struct {
		err   error
		lanes int
		took  time.Duration
		want  bool
	}{
		{nil, 4, time.Millisecond, false},
		{kafkago.NotLeaderForPartition, 4, time.Millisecond, false},
		{kafkago.RequestTimedOut, 4, mergedWait, true},
		{kafkago.NotEnoughReplicas, 1, time.Millisecond, true},
		{nil, 1, 2 * mergedWait, true},
		{nil, 1, time.Millisecond, false},
		{io.ErrUnexpectedEOF, 4, time.Millisecond, false},
		{io.ErrUnexpectedEOF, 4, time.Millisecond, true},
		{nil, 1, time.Millisecond, false},
		{context.DeadlineExceeded, 4, 10 * time.Second, true},
		{nil, 1, time.Millisecond, false},
	} {
		if l.companions(step.err, step.lanes, step.took); l.alone != step.want {
			t.Errorf("step %d: alone is %v", i, l.alone)
		}
	}
}

func FuzzProduceAnswer(f *testing.F) {
	f.Add(answerTo(map[string]map[int32]int16{"a": {3: 0}, "b": {0: 7, 12: -1}}))
	f.Add([]byte{0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff})
	_, r := twoTopics(f, "none")
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &produceRequest{lanes: r.lanes, codes: []int16{codeMissing, codeMissing, codeMissing}}
		if err := r.parse(data); err != nil && !errors.Is(err, errCorrupt) {
			t.Fatal(err)
		}
	})
}

func FuzzLeaderAnswer(f *testing.F) {
	f.Add(leaderAnswer(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &leaderQuestion{}
		if err := m.parse(data); err != nil {
			return
		}
		for name, topic := range m.answer {
			if len(topic.brokers) > len(data)+1 {
				t.Fatalf("%d partitions of %q from %d bytes", len(topic.brokers), name, len(data))
			}
		}
	})
}

// leaderAnswer is one topic of two partitions, the first without a leader.
func leaderAnswer(t testing.TB) []byte {
	t.Helper()
	be := binary.BigEndian
	b := be.AppendUint32(nil, 0) // throttle time
	b = be.AppendUint32(b, 1)
	b = be.AppendUint32(b, 5)
	b = appendString(b, "host")
	b = be.AppendUint32(b, 9092)
	b = append(b, 0xff, 0xff, 0xff, 0xff) // no rack, no cluster id
	b = be.AppendUint32(b, 5)
	b = be.AppendUint32(b, 2)
	b = be.AppendUint16(b, 0)
	b = appendString(b, "a")
	b = append(b, 0)
	b = be.AppendUint32(b, 2)
	for partition, leader := range []int32{-1, 5} {
		b = be.AppendUint16(b, 0)
		b = be.AppendUint32(b, uint32(partition))
		b = be.AppendUint32(b, uint32(leader))
		b = be.AppendUint32(b, 1)
		b = be.AppendUint32(b, 5)
		b = be.AppendUint32(b, 0)
	}
	b = be.AppendUint16(b, uint16(kafkago.TopicAuthorizationFailed))
	b = appendString(b, "b")
	b = append(b, 0)
	return be.AppendUint32(b, 0)
}

func TestLeaderAnswer(t *testing.T) {
	t.Parallel()
	m := &leaderQuestion{}
	if err := m.parse(leaderAnswer(t)); err != nil {
		t.Fatal(err)
	}
	table := &leaderTable{topics: m.answer}
	for _, tc := range []struct {
		topic     string
		partition int32
		want      int32
		transient bool
	}{
		{"a", 0, -1, true}, {"a", 1, 5, true}, {"a", 2, -1, true}, {"b", 0, -1, false}, {"c", 0, -1, true},
	} {
		if got := table.leader(tc.topic, tc.partition); got != tc.want {
			t.Errorf("%s/%d is led by %d", tc.topic, tc.partition, got)
		}
		if err := table.missing(tc.topic, tc.partition); tc.want < 0 && isTransient(err) != tc.transient {
			t.Errorf("%s/%d: %v", tc.topic, tc.partition, err)
		}
	}
	if err := m.parse(leaderAnswer(t)[:40]); !errors.Is(err, errCorrupt) {
		t.Errorf("half an answer: %v", err)
	}
}

// A topic nobody may write to is refused at once, not after a delivery timeout.
func TestForbiddenTopicIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	p, err := testClient(t, []string{"127.0.0.1:1"}).NewProducer(ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ack, err := p.Produce("a", 0, nil, []byte("v"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := p.lane("a", 0)
	if err != nil {
		t.Fatal(err)
	}
	l.take()
	m := &leaderQuestion{}
	if err := m.parse(leaderAnswer(t)); err != nil {
		t.Fatal(err)
	}
	l.topic = "b"
	done, anonymous := p.sortOut([]*lane{l}, &leaderTable{topics: m.answer}, nil)
	if len(done) != 1 || len(anonymous) != 0 {
		t.Errorf("%d lanes done, %d to be named", len(done), len(anonymous))
	}
	<-ack.Done()
	if !errors.Is(ack.Err(), kafkago.TopicAuthorizationFailed) || errors.Is(ack.Err(), ErrOutcomeUnknown) {
		t.Errorf("got %v", ack.Err())
	}
}
