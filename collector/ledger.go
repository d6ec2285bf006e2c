package collector

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// ledgerKeep is how long the counts of a minute stay in memory after it: longer
// than a request may wait, so that a late outcome still adds to its minute.
const ledgerKeep = 10 * time.Minute

// ledger counts every event's outcome by tenant, site, minute of receipt and
// reason, and publishes the counts: cumulative per writer, so that repeating an
// entry changes nothing.
type ledger struct {
	writerID string
	producer Producer
	now      func() time.Time

	mu      sync.Mutex
	entries map[ledgerKey]*ledgerCount
	unsent  []ledgerKey
	// forgotten is when old minutes were last forgotten.
	forgotten time.Time
}

type ledgerKey struct {
	companyID, siteID string
	minuteMs          int64
	reason            metivav1.Reason
}

type ledgerCount struct {
	count  uint64
	unsent bool // is in ledger.unsent
}

func newLedger(writerID string, producer Producer, now func() time.Time) *ledger {
	return &ledger{writerID: writerID, producer: producer, now: now, entries: map[ledgerKey]*ledgerCount{}}
}

// add counts n events received at a time. An empty tenant is one that could not
// be resolved.
func (l *ledger) add(companyID, siteID string, received time.Time, reason metivav1.Reason, n int) {
	if n <= 0 {
		return
	}
	key := ledgerKey{companyID: companyID, siteID: siteID, minuteMs: received.Truncate(time.Minute).UnixMilli(), reason: reason}
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[key]
	if e == nil {
		e = &ledgerCount{}
		l.entries[key] = e
	}
	e.count += uint64(n)
	if !e.unsent {
		e.unsent = true
		l.unsent = append(l.unsent, key)
	}
}

// ledgerSend is one entry on its way.
type ledgerSend struct {
	key   ledgerKey
	count uint64
	ack   Ack
}

// publish, which must not run twice at once, sends every changed count and returns how many are still unsent. The
// first error is returned; what was not acknowledged is sent again next time.
func (l *ledger) publish(ctx context.Context) (unsent int, err error) {
	sends := l.takeUnsent()
	var failed []ledgerKey
	for i := range sends {
		s := &sends[i]
		if err == nil {
			s.ack, err = l.produce(s)
		}
		if s.ack == nil {
			failed = append(failed, s.key)
		}
	}
	for i := range sends {
		s := &sends[i]
		if s.ack == nil {
			continue
		}
		sendErr := waitAck(ctx, s.ack)
		if sendErr != nil {
			failed = append(failed, s.key)
			if err == nil {
				err = sendErr
			}
		}
	}
	unsent = l.putBack(failed)
	if err != nil {
		return unsent, fmt.Errorf("publishing ledger: %w", err)
	}
	return unsent, nil
}

func waitAck(ctx context.Context, ack Ack) error {
	select {
	case <-ack.Done():
		return ack.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *ledger) produce(s *ledgerSend) (Ack, error) {
	value, err := schemas.Encode(nil, &metivav1.LedgerEntry{
		WriterId: l.writerID, CompanyId: s.key.companyID, SiteId: s.key.siteID, MinuteMs: s.key.minuteMs,
		Stage: metivav1.Stage_STAGE_COLLECTOR, Reason: s.key.reason, Count: s.count,
	})
	if err != nil {
		return nil, err
	}
	key := fmt.Appendf(nil, "%s/%s/%s/%s/%s", l.writerID, s.key.companyID, s.key.siteID,
		strconv.FormatInt(s.key.minuteMs, 10), schemas.Label(s.key.reason))
	return l.producer.Produce(schemas.TopicLedgerEdge, 0, key, value)
}

// takeUnsent empties the list of changed counts.
func (l *ledger) takeUnsent() []ledgerSend {
	l.mu.Lock()
	defer l.mu.Unlock()
	sends := make([]ledgerSend, 0, len(l.unsent))
	for _, key := range l.unsent {
		e := l.entries[key]
		e.unsent = false
		sends = append(sends, ledgerSend{key: key, count: e.count})
	}
	l.unsent = l.unsent[:0]
	return sends
}

// putBack lists what was not acknowledged again. Nothing is on its way now, so
// minutes that are over and sent can be forgotten: once a minute.
func (l *ledger) putBack(failed []ledgerKey) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range failed {
		if e := l.entries[key]; e != nil && !e.unsent {
			e.unsent = true
			l.unsent = append(l.unsent, key)
		}
	}
	if now := l.now(); now.Sub(l.forgotten) >= time.Minute {
		l.forgotten = now
		oldest := now.Add(-ledgerKeep).UnixMilli()
		for key, e := range l.entries {
			if key.minuteMs < oldest && !e.unsent {
				delete(l.entries, key)
			}
		}
	}
	return len(l.unsent)
}
