package bench

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// findings compare what clients were answered with what Kafka holds.
type findings struct {
	// lost are events that were accepted and are not there.
	lost int64
	// invented are events that are there and were never sent.
	invented int64
	// doubled are events with two copies without the mark, or with copies that are
	// not of one acceptance (ADR 0018).
	doubled int64
	// marked are records with the mark, copies those beyond the first of an event.
	marked, copies int64
	// counted are the collectors' own counts by reason, from the ledger.
	counted map[string]uint64
	// accepted of them are those without a reason.
	accepted, received uint64
}

// copiesOf is what Kafka holds of one event.
type copiesOf struct {
	plain, marked uint16
	// sealing tells acceptances apart: each seals the address anew.
	sealing  [8]byte
	mixed    bool
	accepted bool
}

// readBack reads the topics from their beginnings.
func (o *outage) readBack(ctx context.Context, shots []shot) (f findings, err error) {
	client, err := kafka.NewClient(kafka.Config{Brokers: []string{o.kafka}, ClientID: "metiva-bench"}, o.cfg.Log, prometheus.NewRegistry())
	if err != nil {
		return findings{}, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	events := make(map[[16]byte]*copiesOf, len(shots))
	held := make([]copiesOf, len(shots))
	for i := range shots {
		held[i].accepted = shots[i].accepted
		events[shots[i].id] = &held[i]
	}
	if err := readTopic(ctx, client, schemas.TopicEventsCollected, func(_, value []byte) error { return f.event(events, value) }); err != nil {
		return findings{}, err
	}
	for i := range held {
		f.judge(&held[i])
	}
	ledger := ledgerCounts{greatest: make(map[string]uint64), reasons: make(map[string]metivav1.Reason)}
	if err := readTopic(ctx, client, schemas.TopicLedgerEdge, ledger.apply); err != nil {
		return findings{}, err
	}
	f.counted = make(map[string]uint64)
	for key, n := range ledger.greatest {
		f.received += n
		if reason := ledger.reasons[key]; reason == metivav1.Reason_REASON_UNSPECIFIED {
			f.accepted += n
		} else {
			f.counted[schemas.Label(reason)] += n
		}
	}
	return f, nil
}

// event takes one record of events.collected.
func (f *findings) event(events map[[16]byte]*copiesOf, value []byte) error {
	var e metivav1.CollectedEvent
	if err := proto.Unmarshal(value, &e); err != nil {
		return fmt.Errorf("reading an event: %w", err)
	}
	if len(e.GetEventId()) != len(shot{}.id) {
		f.invented++
		return nil
	}
	c := events[[16]byte(e.GetEventId())]
	if c == nil {
		f.invented++
		return nil
	}
	sum := sha256.Sum256(e.GetSealedAddress())
	sealing := [8]byte(sum[:])
	if c.plain+c.marked > 0 && c.sealing != sealing {
		c.mixed = true
	}
	c.sealing = sealing
	if e.GetReplayed() {
		c.marked++
	} else {
		c.plain++
	}
	return nil
}

// judge adds what one event that was sent says.
func (f *findings) judge(c *copiesOf) {
	n := int64(c.plain) + int64(c.marked)
	f.marked += int64(c.marked)
	switch {
	case n == 0 && c.accepted:
		f.lost++
	case n > 0:
		f.copies += n - 1
	}
	if c.plain > 1 || c.mixed {
		f.doubled++
	}
}

// ledgerCounts keeps the greatest count of each entry, as the sink does: a
// replayed entry may come after a later one.
type ledgerCounts struct {
	greatest map[string]uint64
	reasons  map[string]metivav1.Reason
}

func (l *ledgerCounts) apply(key, value []byte) error {
	var e metivav1.LedgerEntry
	if err := proto.Unmarshal(value, &e); err != nil {
		return fmt.Errorf("reading the ledger: %w", err)
	}
	if e.GetStage() != metivav1.Stage_STAGE_COLLECTOR {
		return nil
	}
	l.greatest[string(key)] = max(l.greatest[string(key)], e.GetCount())
	l.reasons[string(key)] = e.GetReason()
	return nil
}

// readTopic gives every record of a topic to apply.
func readTopic(ctx context.Context, client *kafka.Client, topic string, apply func(key, value []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	table := client.NewTable(topic, apply)
	ended := make(chan error, 1)
	go func() { ended <- table.Run(ctx) }()
	select {
	case <-table.Ready():
		cancel()
		if err := <-ended; err != nil {
			return fmt.Errorf("reading %s: %w", topic, err)
		}
		return nil
	case err := <-ended:
		return fmt.Errorf("reading %s: %w", topic, errors.Join(err, ctx.Err()))
	}
}
