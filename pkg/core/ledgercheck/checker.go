package ledgercheck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/metiva-io/metiva/pkg/core/analytics"
)

// Checker compares the ledger. It belongs to one goroutine.
type Checker struct {
	cfg     Config
	deps    Deps
	metrics *metrics

	// known are the hours as they were last kept, those outside of the window only
	// while they differ.
	known map[tenantHour]analytics.LedgerCheck
	// again are the hours that did not balance.
	again  map[int64]bool
	newest time.Time
	// lateAt is when every hour was last compared.
	lateAt time.Time
	ready  bool
}

type tenantHour struct {
	company string
	hour    int64 // seconds since 1970
}

// New makes a checker. It asks nothing yet.
func New(cfg Config, deps Deps) (*Checker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Ledger == nil || deps.Now == nil || deps.Log == nil || deps.Registerer == nil {
		return nil, errors.New("the comparison of the ledger lacks a dependency")
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	return &Checker{
		cfg: cfg.withDefaults(), deps: deps, metrics: m,
		known: make(map[tenantHour]analytics.LedgerCheck), again: make(map[int64]bool),
	}, nil
}

// Run compares until ctx ends. A comparison that cannot be made is logged and made
// again at its next time.
func (c *Checker) Run(ctx context.Context) error {
	ticker := time.NewTicker(c.cfg.Interval)
	defer ticker.Stop()
	for {
		if _, err := c.Check(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			c.metrics.failures.Inc()
			c.deps.Log.Warn("the ledger could not be compared", slog.Any("error", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Check compares once and returns the tenants' hours that do not balance, in order.
func (c *Checker) Check(ctx context.Context) ([]analytics.LedgerCheck, error) {
	started := c.deps.Now()
	settled := started.Add(-c.cfg.Settle).UTC().Truncate(time.Minute)
	oldest := started.Add(-c.cfg.KeepDifferent).UTC().Truncate(time.Hour)
	if !c.ready {
		if err := c.recall(ctx, oldest); err != nil {
			return nil, err
		}
	}
	from := settled.Add(-c.cfg.Window).Truncate(time.Hour)
	if !c.newest.IsZero() && c.newest.Before(from) {
		from = c.newest // nobody looked since then
	}
	if from.Before(oldest) {
		from = oldest
	}
	lateDue := started.Sub(c.lateAt) >= c.cfg.LateEvery
	found, err := c.earlier(ctx, from, oldest, started, lateDue)
	if err != nil && lateDue && ctx.Err() == nil {
		// The window is compared whatever becomes of the hours before it.
		c.metrics.failures.Inc()
		c.deps.Log.Warn("the hours of the last days could not be compared", slog.Any("error", err))
		c.lateAt = started.Add(min(c.cfg.LateEvery, lateAgain) - c.cfg.LateEvery)
		lateDue = false
		found, err = c.earlier(ctx, from, oldest, started, lateDue)
	}
	if err != nil {
		return nil, err
	}
	some, err := c.compare(ctx, from, settled, started)
	if err != nil {
		return nil, err
	}
	found = append(found, some...)
	if err := c.deps.Ledger.KeepLedgerChecks(ctx, c.changed(found)); err != nil {
		return nil, fmt.Errorf("comparing the ledger: %w", err)
	}
	differ := c.conclude(found, from, oldest)
	c.newest = settled.Truncate(time.Hour)
	if lateDue {
		c.lateAt = started
		c.metrics.late.Set(float64(started.Unix()))
	}
	c.metrics.took.Observe(c.deps.Now().Sub(started).Seconds())
	c.metrics.last.Set(float64(c.deps.Now().Unix()))
	return differ, nil
}

// lateAgain is the pause after which all hours are tried again when they could not be
// compared: the question is larger than the window's.
const lateAgain = time.Hour

// earlier compares what is compared before the window.
func (c *Checker) earlier(ctx context.Context, from, oldest, started time.Time, all bool) ([]analytics.LedgerCheck, error) {
	var found []analytics.LedgerCheck
	for _, part := range c.parts(from, oldest, all) {
		if all {
			if err := c.remember(ctx, part); err != nil {
				return nil, err
			}
		}
		some, err := c.compare(ctx, part.From, part.To, started)
		if err != nil {
			return nil, err
		}
		found = append(found, c.late(some)...)
	}
	return found, nil
}

// recall reads what a former process found.
func (c *Checker) recall(ctx context.Context, oldest time.Time) error {
	unbalanced, newest, err := c.deps.Ledger.HoursToCheck(ctx, oldest)
	if err != nil {
		return fmt.Errorf("comparing the ledger: %w", err)
	}
	for _, hour := range unbalanced {
		c.again[hour.Unix()] = true
	}
	c.newest, c.ready = newest, true
	return nil
}

// hours are those before the window that did not balance.
func (c *Checker) hours(from, oldest time.Time) []time.Time {
	var out []time.Time
	for at := range c.again {
		hour := time.Unix(at, 0).UTC()
		if hour.Before(oldest) {
			delete(c.again, at)
		} else if hour.Before(from) {
			out = append(out, hour)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}

// parts are what is compared before the window: the hours that did not balance, or, when
// that is due, all of them, in pieces as long as the window.
func (c *Checker) parts(from, oldest time.Time, all bool) []analytics.Period {
	var out []analytics.Period
	hours := c.hours(from, oldest)
	if !all {
		for _, hour := range hours {
			out = append(out, analytics.Period{From: hour, To: hour.Add(time.Hour)})
		}
		return out
	}
	step := max(c.cfg.Window.Truncate(time.Hour), time.Hour)
	for at := oldest; at.Before(from); at = at.Add(step) {
		end := at.Add(step)
		if from.Before(end) {
			end = from
		}
		out = append(out, analytics.Period{From: at, To: end})
	}
	return out
}

// remember reads what was kept of hours that no comparison since the start has had, so
// that only what is new of them is kept and told.
func (c *Checker) remember(ctx context.Context, p analytics.Period) error {
	kept, err := c.deps.Ledger.KeptLedgerChecks(ctx, p.From, p.To)
	if err != nil {
		return fmt.Errorf("comparing the ledger: %w", err)
	}
	for i := range kept {
		if _, known := c.known[keyOf(&kept[i])]; !known {
			c.known[keyOf(&kept[i])] = kept[i]
		}
	}
	return nil
}

// late leaves out hours that balanced, for which nothing was accepted since, and that
// lack rows now: a retention shorter than KeepDifferent took those. One that has rows
// twice is not left out: no retention does that.
func (c *Checker) late(found []analytics.LedgerCheck) []analytics.LedgerCheck {
	return slices.DeleteFunc(found, func(check analytics.LedgerCheck) bool {
		before, known := c.known[keyOf(&check)]
		return known && before.Balanced && !check.Balanced && check.Doubled == 0 && check.Accepted <= before.Accepted
	})
}

// compare adds up whole hours, the last of which may end early.
func (c *Checker) compare(ctx context.Context, from, to, now time.Time) ([]analytics.LedgerCheck, error) {
	if !from.Before(to) {
		return nil, nil
	}
	ledger, err := c.deps.Ledger.AddUp(ctx, analytics.LedgerQuestion{From: from, To: to, Step: time.Hour})
	if err != nil {
		return nil, fmt.Errorf("comparing the ledger: %w", err)
	}
	var out []analytics.LedgerCheck
	for i := range ledger.Lines {
		l := &ledger.Lines[i]
		if l.CompanyID == "" {
			continue
		}
		until := l.From.Add(time.Hour)
		if to.Before(until) {
			until = to
		}
		out = append(out, analytics.CheckOf(l, until, now))
	}
	return out, nil
}

func keyOf(check *analytics.LedgerCheck) tenantHour {
	return tenantHour{check.CompanyID, check.Hour.Unix()}
}

// changed are the checks that say something new.
func (c *Checker) changed(found []analytics.LedgerCheck) []analytics.LedgerCheck {
	var out []analytics.LedgerCheck
	for i := range found {
		same, known := c.known[keyOf(&found[i])]
		same.CheckedAt = found[i].CheckedAt
		if !known || same != found[i] {
			out = append(out, found[i])
		}
	}
	return out
}

// conclude notes what was found, tells of what has changed, and returns what
// differs.
func (c *Checker) conclude(found []analytics.LedgerCheck, from, oldest time.Time) []analytics.LedgerCheck {
	clear(c.again)
	sums := map[string]uint64{pairCollectorEnrich: 0, pairEnrichSink: 0, pairDoubled: 0}
	next := make(map[tenantHour]analytics.LedgerCheck, len(found))
	var differ []analytics.LedgerCheck
	for i := range found {
		check := &found[i]
		before, known := c.known[keyOf(check)]
		c.tell(check, &before, known)
		if !check.Balanced {
			c.again[check.Hour.Unix()] = true
			differ = append(differ, *check)
			sums[pairCollectorEnrich] += check.MissingAtEnrich
			sums[pairEnrichSink] += check.MissingAtSink
			sums[pairDoubled] += check.Doubled
		}
		if !check.Balanced || !check.Hour.Before(from) {
			next[keyOf(check)] = *check
		}
	}
	c.known = next
	for pair, n := range sums {
		c.metrics.difference.WithLabelValues(pair).Set(float64(n))
	}
	c.metrics.hours.Set(float64(len(differ)))
	slices.SortFunc(differ, func(a, b analytics.LedgerCheck) int {
		return cmp.Or(a.Hour.Compare(b.Hour), cmp.Compare(a.CompanyID, b.CompanyID))
	})
	maps.DeleteFunc(c.again, func(at int64, _ bool) bool { return at < oldest.Unix() })
	return differ
}

// tell logs an hour that does not balance, once as long as it stays the same, and one
// that balances again.
func (c *Checker) tell(check, before *analytics.LedgerCheck, known bool) {
	attrs := []any{
		slog.String("company_id", check.CompanyID), slog.Time("hour", check.Hour),
		slog.Uint64("missing_at_enrich", check.MissingAtEnrich), slog.Uint64("missing_at_sink", check.MissingAtSink), slog.Uint64("doubled", check.Doubled),
	}
	differs := check.MissingAtEnrich != before.MissingAtEnrich || check.MissingAtSink != before.MissingAtSink || check.Doubled != before.Doubled
	switch {
	case !check.Balanced && (!known || differs):
		c.deps.Log.Error("the ledger does not balance", attrs...)
	case check.Balanced && known && !before.Balanced:
		c.deps.Log.Info("the ledger balances again", attrs...)
	}
}
