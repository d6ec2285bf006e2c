package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// leaderTable says which broker leads each partition of the topics a producer
// writes to. It never changes.
type leaderTable struct {
	at     time.Time // asked for
	topics map[string]topicLeaders
}

type topicLeaders struct {
	brokers []int32 // by partition; -1: none
	err     error   // instead
}

// leader gives the broker of a partition, or -1.
func (t *leaderTable) leader(topic string, partition int32) int32 {
	if b := t.topics[topic].brokers; int(partition) < len(b) {
		return b[partition]
	}
	return -1
}

// missing says why there is no leader.
func (t *leaderTable) missing(topic string, partition int32) error {
	known, ok := t.topics[topic]
	switch {
	case !ok:
		return protocol.NewErrNoTopic(topic)
	case known.err != nil:
		return known.err
	case int(partition) >= len(known.brokers):
		return protocol.NewErrNoPartition(topic, partition)
	default:
		return protocol.NewErrNoLeader(topic, partition)
	}
}

// leaders is the table in use. kafka-go has one of its own, which cannot be
// asked to look again but by closing every connection; here a moved leader
// costs one small request, and those of other brokers go on meanwhile.
type leaders struct {
	client *Client
	table  atomic.Pointer[leaderTable]
	turn   chan struct{} // one asks at a time
}

// refresh makes sure that the table was asked for after a moment and knows
// about the topics.
func (s *leaders) refresh(ctx context.Context, after time.Time, topics []string) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting to ask for leaders: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	if t := s.table.Load(); t != nil && t.at.After(after) && t.covers(topics) {
		return nil
	}
	m := &leaderQuestion{rawMessage: rawMessage{clientID: s.client.cfg.ClientID}, topics: topics}
	at := s.client.now()
	res, err := s.client.transport.RoundTrip(ctx, s.client.addr, m)
	if err != nil {
		return fmt.Errorf("asking for leaders: %w", err)
	}
	answer, _ := res.(*leaderQuestion)
	s.client.metrics.leaderLookups.Inc()
	s.table.Store(&leaderTable{at: at, topics: answer.answer})
	return nil
}

func (t *leaderTable) covers(topics []string) bool {
	for _, topic := range topics {
		if _, ok := t.topics[topic]; !ok {
			return false
		}
	}
	return true
}

// leaderQuestion is a Metadata request about some topics. Any broker answers.
type leaderQuestion struct {
	rawMessage
	topics []string
	answer map[string]topicLeaders
}

func (*leaderQuestion) ApiKey() protocol.ApiKey { return protocol.Metadata }

// Required makes the transport call RawExchange.
func (*leaderQuestion) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange sends version 4, the oldest that does not create topics.
// https://kafka.apache.org/protocol.html#The_Messages_Metadata
func (m *leaderQuestion) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	const version = 4
	req := appendHead(nil, m.ApiKey(), version, m.clientID)
	req = binary.BigEndian.AppendUint32(req, uint32(len(m.topics)))
	for _, topic := range m.topics {
		req = appendString(req, topic)
	}
	req = append(req, 0) // create nothing
	b, err := exchange(rw, finishRequest(req), nil)
	if err != nil {
		return nil, err
	}
	if err := m.parse(b); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *leaderQuestion) parse(b []byte) error {
	c := cursor{b: b}
	c.int32() // throttle time
	for range c.count() {
		c.int32()  // broker
		c.string() // host
		c.int32()  // port
		c.string() // rack
	}
	c.string() // cluster
	c.int32()  // controller
	m.answer = map[string]topicLeaders{}
	for range c.count() {
		code, name := c.int16(), string(c.string())
		c.take(1) // internal
		var t topicLeaders
		if code != 0 {
			t.err = kafkago.Error(code)
		}
		for range c.count() {
			c.int16() // the leader is what counts
			partition, leader := c.int32(), c.int32()
			c.take(4 * c.count()) // replicas
			c.take(4 * c.count()) // in sync
			if c.bad || partition < 0 || int(partition) > len(b) {
				c.bad = true
				break
			}
			for int(partition) >= len(t.brokers) {
				t.brokers = append(t.brokers, -1)
			}
			t.brokers[partition] = leader
		}
		m.answer[name] = t
	}
	if c.bad {
		return fmt.Errorf("%w: Metadata", errCorrupt)
	}
	return nil
}

// prepare looks for the leaders of lanes and for identities, where they are
// missing, and brings the lanes back to the board.
func (p *Producer) prepare(lanes []*lane, now time.Time) {
	limit, _ := p.limits(lanes, now)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var (
		after  time.Time
		topics []string
		seen   = map[string]bool{}
	)
	for _, l := range lanes {
		if l.distrust.After(after) {
			after = l.distrust
		}
	}
	for key := range *p.lanes.Load() {
		if !seen[key.topic] {
			seen[key.topic] = true
			topics = append(topics, key.topic)
		}
	}
	err := p.leaders.refresh(ctx, after, topics)
	table := p.leaders.table.Load()
	led, anonymous := p.sortOut(lanes, table, err)
	p.land(led...)
	if len(anonymous) == 0 {
		return
	}
	id, epoch, err := p.client.initProducer(ctx)
	ended, spread := p.client.now(), chance()
	for _, l := range anonymous {
		if err != nil {
			l.again(err, ended, spread)
			continue
		}
		l.who, l.known = identity{id: id, epoch: epoch, seq: l.first}, true
		l.next = ended
	}
	if err != nil {
		p.noteBroken(err)
	}
	p.land(anonymous...)
}

// sortOut settles what is known after asking for leaders: lanes that are done
// with for now, and those that need an identity still.
func (p *Producer) sortOut(lanes []*lane, table *leaderTable, err error) (done, anonymous []*lane) {
	if err != nil {
		p.noteBroken(err)
	}
	ended, spread := p.client.now(), chance()
	for _, l := range lanes {
		switch {
		case err != nil:
			l.again(err, ended, spread)
		case table.leader(l.topic, l.partition) < 0:
			l.distrust = ended
			if missing := table.missing(l.topic, l.partition); isTransient(missing) {
				l.again(missing, ended, spread)
			} else {
				l.refuse(missing)
			}
		case !l.known:
			anonymous = append(anonymous, l)
			continue
		default:
			l.next = ended
		}
		done = append(done, l)
	}
	return done, anonymous
}

// noteBroken closes the connections when one has turned out to be dead: its
// idle neighbours probably are as well, and kafka-go would hand out one after
// the other.
func (p *Producer) noteBroken(err error) {
	if isBroken(err) || errors.Is(err, kafkago.BrokerNotAvailable) {
		p.client.noteError(err)
	}
}
