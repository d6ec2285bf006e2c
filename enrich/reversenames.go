package enrich

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Reverse DNS, where a resolver is configured (ADR 0044). A batch's events are gone
// through once before they are enriched, only as far as the company, to find the networks
// of which nothing else is known; what the resolver says of them in time holds for the
// whole batch.

const (
	// restoreNamesMax is how long all that is read again for visits waits for names.
	restoreNamesMax = 10 * time.Second
	// replayNamesMax is how long a record of a replay does: longer than a look-up takes.
	replayNamesMax = time.Minute
)

// asking collects the networks of a batch whose names the chain asks for.
type asking struct {
	scratch  *scratch
	networks []netip.Prefix
	seen     map[netip.Prefix]struct{}
	// unanswered is how many had no answer the last time.
	unanswered int
}

// Domain notes the question and knows nothing (company.ReverseNames).
func (a *asking) Domain(network netip.Prefix) string {
	if _, twice := a.seen[network]; !twice {
		a.seen[network] = struct{}{}
		a.networks = append(a.networks, network)
	}
	return ""
}

func (a *asking) reset() {
	clear(a.seen)
	clear(a.networks)
	a.networks = a.networks[:0]
}

// askNames asks for the names of the records' networks, where the chain would, and lets
// the steps have what comes within the time. Without a resolver it does nothing.
func (p *partition) askNames(ctx context.Context, view geo.View, records []kafka.Record, within time.Duration) error {
	resolver := p.w.deps.Reverse
	if resolver == nil {
		return nil
	}
	if p.asking == nil {
		p.asking = &asking{scratch: newScratch(), seen: make(map[netip.Prefix]struct{})}
		p.asking.scratch.reverse = p.asking
	}
	a := p.asking
	defer a.reset()
	for i := range records {
		err := p.wants(view, &records[i])
		if errors.Is(err, errKeyMissing) && !p.caughtUp {
			if err := p.catchUp(ctx); err != nil {
				return err
			}
			err = p.wants(view, &records[i])
		}
		if err != nil && !errors.Is(err, errKeyMissing) {
			return err
		}
	}
	answers := resolver.Ask(ctx, a.networks, within)
	a.unanswered = answers.Unanswered()
	p.scratch.reverse = answers
	return nil
}

// askName is askNames for one record.
func (p *partition) askName(ctx context.Context, view geo.View, r *kafka.Record, within time.Duration) error {
	if p.w.deps.Reverse == nil {
		return nil
	}
	return p.askNames(ctx, view, []kafka.Record{*r}, within)
}

// wants goes through one record. A panic ends it for that record alone, which becomes a
// dead letter when it is enriched.
func (p *partition) wants(view geo.View, r *kafka.Record) (err error) {
	defer func() {
		if recover() != nil {
			err = nil
		}
	}()
	sc := p.asking.scratch
	return p.w.steps.wants(sc, view, r.Value, sc.sourceOf(r.Partition, r.Offset))
}

// wants runs the steps of an event as far as the company, so that the chain asks for what
// it needs. What ends an event before the company ends it here too, and so does what its
// sender says of itself.
func (s *steps) wants(sc *scratch, v geo.View, value []byte, from *metivav1.SourceRef) error {
	defer sc.forget()
	e := &sc.collected.Event
	if !decode(&sc.collected, value) || s.takenBack(e) != 0 || e.GetAutomated() {
		return nil
	}
	binding := seal.Binding{CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), EventID: [schemas.IDBytes]byte(e.GetEventId())}
	if reason := s.openAgent(sc, binding); reason != 0 {
		return missing(reason)
	}
	said := sc.agents.of(sc.agent)
	if !said.known {
		said.bot, said.known = s.bots.Classify(sc.agent), true
	}
	if said.bot != metivav1.BotClass_BOT_CLASS_NONE {
		return nil
	}
	out := sc.leaving.take(e, from)
	if s.origin(sc, out) {
		return nil // referrer spam
	}
	reason, err := s.resolve(sc, out, v, binding)
	if err != nil {
		return fmt.Errorf("looking for networks without a name: %w", err)
	}
	return missing(reason)
}

func missing(reason metivav1.Reason) error {
	if reason == metivav1.Reason_REASON_UNKNOWN_KEY {
		return errKeyMissing
	}
	return nil
}
