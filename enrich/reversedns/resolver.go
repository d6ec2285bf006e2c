package reversedns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	networksAtOnce = 64
	networkTimeMax = 30 * time.Second
	keptMax        = 8192
	keptFor        = time.Hour
	unansweredFor  = time.Minute
)

// Deps is what a Resolver works with.
type Deps struct {
	// Exclude reports whether a registrable domain is one that anybody may be under, such
	// as a mail service's. Nil excludes none.
	Exclude    func(domain string) bool
	Now        func() time.Time
	Registerer prometheus.Registerer
}

// Resolver asks for the names of networks. It is safe for concurrent use. Close it.
type Resolver struct {
	client  client
	budget  time.Duration
	exclude func(string) bool
	now     func() time.Time
	metrics *metrics
	slots   chan struct{} // one for each question under way
	ctx     context.Context
	stop    context.CancelFunc
	working sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	underWay int
	kept     map[key]*entry
	keptMax  int
	order    []kept // by age
}

// key is a network that prints as ***.
type key struct{ network netip.Prefix }

// Format prints *** for every verb.
func (key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "***") }

// entry is a network that is asked about, or was.
type entry struct {
	done  chan struct{} // closed once the result is there
	until time.Time     // the result holds; zero while it is not there
	result
}

type kept struct {
	key   key
	entry *entry
}

// New makes a Resolver of a configuration that is enabled.
func New(cfg Config, deps Deps) (*Resolver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if !cfg.Enabled() || deps.Now == nil || deps.Registerer == nil {
		return nil, errors.New("reversedns: no resolver, clock or registry is given")
	}
	cfg = cfg.withDefaults()
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	if deps.Exclude == nil {
		deps.Exclude = func(string) bool { return false }
	}
	r := &Resolver{
		client: client{server: cfg.Resolver, timeout: cfg.QueryTimeout}, budget: cfg.BatchBudget, exclude: deps.Exclude, now: deps.Now, metrics: m,
		slots: make(chan struct{}, cfg.QueriesMax), kept: make(map[key]*entry), keptMax: keptMax,
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// Close ends what is under way, and returns once nothing is. Nil has nothing.
func (r *Resolver) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.working.Wait()
	return nil
}

// Answers are what a batch may know of its networks. They do not change while the batch
// is worked on. Nil has none.
type Answers struct {
	domains map[key]string
	// unanswered are those whose names may be had another time.
	unanswered map[key]struct{}
}

// Domain is the registrable domain that all of a network is under, or empty.
func (a *Answers) Domain(network netip.Prefix) string {
	if a == nil {
		return ""
	}
	return a.domains[key{network}]
}

// Unanswered is how many of the networks have no answer yet.
func (a *Answers) Unanswered() int {
	if a == nil {
		return 0
	}
	return len(a.unanswered)
}

// Budget is how long a batch waits. Nil does not.
func (r *Resolver) Budget() time.Duration {
	if r == nil {
		return 0
	}
	return r.budget
}

// Ask returns what is known of the networks once it is known of all, or when the time is
// over. What is not answered by then goes on, for whoever asks next.
func (r *Resolver) Ask(ctx context.Context, networks []netip.Prefix, within time.Duration) *Answers {
	if len(networks) == 0 {
		return nil
	}
	out := &Answers{domains: make(map[key]string), unanswered: make(map[key]struct{})}
	entries := make(map[key]*entry, len(networks))
	for _, n := range networks {
		k := key{n}
		if _, twice := entries[k]; twice || !Fits(n) {
			continue
		}
		entries[k] = r.entryOf(k)
	}
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for k, e := range entries {
		got := e.wait(ctx)
		if got.outcome == OutcomeOverBudget {
			r.metrics.count(OutcomeOverBudget)
		}
		if !got.outcome.isSettled() {
			out.unanswered[k] = struct{}{}
		}
		if got.outcome == OutcomeConfirmed {
			out.domains[k] = got.domain
		}
	}
	r.metrics.wait.Observe(time.Since(started).Seconds())
	return out
}

// wait is the result, or that there was no time for it.
func (e *entry) wait(ctx context.Context) result {
	if e == nil {
		return result{outcome: OutcomeOverBudget}
	}
	select {
	case <-e.done:
		return e.result
	default:
	}
	select {
	case <-e.done:
		return e.result
	case <-ctx.Done():
		return result{outcome: OutcomeOverBudget}
	}
}

// entryOf is what is known of a network, or being asked; nil when no more can be asked
// now.
func (r *Resolver) entryOf(k key) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.kept[k]; e != nil && (e.until.IsZero() || r.now().Before(e.until)) {
		return e
	}
	if r.closed || r.underWay >= networksAtOnce {
		return nil
	}
	r.forget()
	e := &entry{done: make(chan struct{})}
	r.kept[k] = e
	r.order = append(r.order, kept{key: k, entry: e})
	r.underWay++
	r.working.Go(func() { r.find(k, e) })
	return e
}

// forget drops what is past its time, and the oldest when there is too much.
func (r *Resolver) forget() {
	now := r.now()
	for len(r.order) > 0 {
		oldest := r.order[0]
		if past := !oldest.entry.until.IsZero() && !now.Before(oldest.entry.until); !past && len(r.order) < r.keptMax {
			return
		}
		r.order = r.order[1:]
		if r.kept[oldest.key] == oldest.entry {
			delete(r.kept, oldest.key)
		}
	}
}

// find asks about a network and keeps what it finds.
func (r *Resolver) find(k key, e *entry) {
	ctx, cancel := context.WithTimeout(r.ctx, networkTimeMax)
	defer cancel()
	got := r.names(ctx, k.network)
	r.metrics.count(got.outcome)
	holds := keptFor
	if !got.outcome.isSettled() {
		holds = unansweredFor
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e.result, e.until = got, r.now().Add(holds)
	r.underWay--
	close(e.done)
}
