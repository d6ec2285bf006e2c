package enrich

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// ledgerEvery is the pause between two reports, ledgerBookAge how long one writer's
// name is used: what a book holds stays in memory for that long. A worker that catches
// up has the minutes of days in a few of its own, so a book has its bound, too.
const (
	ledgerEvery       = time.Second
	ledgerBookAge     = 10 * time.Minute
	ledgerBookKeysMax = 50_000
)

// ledger reports what the worker has passed on, by tenant, site, minute of receipt
// and reason, on ledger.edge beside the collectors' counts. Only batches whose commit
// succeeded are counted: nobody works on those again, so no record counts twice. A
// worker that is killed has not reported its last second; its rows tell of that.
type ledger struct {
	run string

	mu    sync.Mutex
	book  *book
	begun uint64 // books: no two have one name

	// Of whoever publishes, one at a time.
	publishing sync.Mutex
	closed     []*book // former ones that have something unsent
}

// book is the counts under one name. They are cumulative.
type book struct {
	writerID string
	begun    time.Time
	counts   map[ledgerKey]uint64
	unsent   map[ledgerKey]bool
}

type ledgerKey struct {
	companyID, siteID string
	minute            int64 // since 1970
	reason            metivav1.Reason
}

func newLedger() *ledger {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return &ledger{run: "enrich-" + hex.EncodeToString(id[:])}
}

// counted is what one batch adds, gathered by its partition.
type counted struct {
	counts map[ledgerKey]uint64
	// last and n are the key at hand: events of one tenant and minute come together.
	last ledgerKey
	n    uint64
}

func (c *counted) reset() {
	clear(c.counts)
	c.last, c.n = ledgerKey{}, 0
}

// add counts an outcome. Records that tell no time of receipt are not counted: they
// have no minute.
func (c *counted) add(out *outcome) {
	var key ledgerKey
	receivedMs := int64(0)
	if e := out.record.GetEvent(); e != nil {
		key.companyID, key.siteID, receivedMs = e.GetCompanyId(), e.GetSiteId(), e.GetReceivedAtMs()
	} else {
		d := out.record.GetDrop()
		key.companyID, key.siteID, receivedMs, key.reason = d.GetCompanyId(), d.GetSiteId(), d.GetReceivedAtMs(), d.GetReason()
	}
	if receivedMs <= 0 {
		return
	}
	key.minute = receivedMs / time.Minute.Milliseconds()
	if key == c.last {
		c.n++
		return
	}
	c.flush()
	c.last, c.n = key, 1
}

// flush moves the key at hand to the others. Its texts may be kept (ADR 0030).
func (c *counted) flush() {
	if c.n == 0 {
		return
	}
	if c.counts == nil {
		c.counts = make(map[ledgerKey]uint64)
	}
	c.counts[c.last] += c.n
	c.n = 0
}

// add takes in a batch that was committed.
func (l *ledger) add(c *counted, now time.Time) {
	c.flush()
	if len(c.counts) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.book == nil || now.Sub(l.book.begun) >= ledgerBookAge || len(l.book.counts) >= ledgerBookKeysMax {
		if l.book != nil {
			l.closed = append(l.closed, l.book)
		}
		l.begun++
		l.book = &book{
			writerID: l.run + "-" + strconv.FormatUint(l.begun, 36), begun: now,
			counts: make(map[ledgerKey]uint64), unsent: make(map[ledgerKey]bool),
		}
	}
	for key, n := range c.counts {
		if _, known := l.book.counts[key]; !known {
			key.companyID, key.siteID = strings.Clone(key.companyID), strings.Clone(key.siteID)
		}
		l.book.counts[key] += n
		l.book.unsent[key] = true
	}
}

// ledgerSend is one entry on its way.
type ledgerSend struct {
	book  *book
	key   ledgerKey
	count uint64
}

// take empties the lists of what has changed.
func (l *ledger) take() []ledgerSend {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sends []ledgerSend
	books := l.closed
	if l.book != nil {
		books = append(books, l.book)
	}
	for _, b := range books {
		for key := range b.unsent {
			sends = append(sends, ledgerSend{b, key, b.counts[key]})
		}
		clear(b.unsent)
	}
	l.closed = nil
	return sends
}

// putBack lists what was not acknowledged again.
func (l *ledger) putBack(sends []ledgerSend) {
	l.mu.Lock()
	defer l.mu.Unlock()
	closed := make(map[*book]bool)
	for _, s := range sends {
		s.book.unsent[s.key] = true
		if s.book != l.book && !closed[s.book] {
			closed[s.book] = true
			l.closed = append(l.closed, s.book)
		}
	}
}

// publish sends what has changed and returns when it is acknowledged. What is not is
// sent again the next time.
func (l *ledger) publish(ctx context.Context, p producer) error {
	l.publishing.Lock()
	defer l.publishing.Unlock()
	sends := l.take()
	acks := make([]*kafka.Ack, 0, len(sends))
	var failed []ledgerSend
	var faults error
	for i := range sends {
		ack, err := sends[i].produce(p)
		if err != nil {
			failed, faults = append(failed, sends[i:]...), err
			break
		}
		acks = append(acks, ack)
	}
	for i, ack := range acks {
		select {
		case <-ack.Done():
		case <-ctx.Done():
			l.putBack(append(failed, sends[i:len(acks)]...))
			return fmt.Errorf("publishing the ledger: %w", ctx.Err())
		}
		if err := ack.Err(); err != nil {
			failed, faults = append(failed, sends[i]), errors.Join(faults, err)
		}
	}
	l.putBack(failed)
	if faults != nil {
		return fmt.Errorf("publishing the ledger: %w", faults)
	}
	return nil
}

func (s *ledgerSend) produce(p producer) (*kafka.Ack, error) {
	k := s.key
	minuteMs := k.minute * time.Minute.Milliseconds()
	value, err := schemas.Encode(nil, &metivav1.LedgerEntry{
		WriterId: s.book.writerID, CompanyId: k.companyID, SiteId: k.siteID, MinuteMs: minuteMs,
		Stage: metivav1.Stage_STAGE_ENRICH, Reason: k.reason, Count: s.count,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a ledger entry: %w", err)
	}
	key := fmt.Appendf(nil, "%s/%s/%s/%d/%s", s.book.writerID, k.companyID, k.siteID, minuteMs, schemas.Label(k.reason))
	ack, err := p.Produce(schemas.TopicLedgerEdge, 0, key, value)
	if err != nil {
		return nil, fmt.Errorf("producing a ledger entry: %w", err)
	}
	return ack, nil
}

// report publishes the ledger until ctx ends.
func (w *Worker) report(ctx context.Context) error {
	ticker := time.NewTicker(ledgerEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := w.ledger.publish(ctx, w.producer); err != nil && ctx.Err() == nil {
			w.deps.Log.Warn("the ledger is behind", "error", err)
		}
	}
}

// reportLast publishes what the last batches added, within the drain timeout.
func (w *Worker) reportLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.DrainTimeout)
	defer cancel()
	if err := w.ledger.publish(ctx, w.producer); err != nil {
		w.deps.Log.Warn("the last counts of the ledger were not published", "error", err)
	}
}
