package enrich

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/pkg/kafka"
)

// Probe is the chain of a worker without Kafka, for measurements (`metiva bench
// enrich`). It belongs to one goroutine.
type Probe struct {
	p    *partition
	view geo.View
}

// NewProbe makes a probe of the worker's chain. Its opener must know the keys of
// the records. Close it.
func (w *Worker) NewProbe() (*Probe, error) {
	view, err := w.deps.Databases.View()
	if err != nil {
		return nil, fmt.Errorf("taking the address databases: %w", err)
	}
	return &Probe{p: &partition{w: w, scratch: newScratch()}, view: view}, nil
}

// Close gives the databases back.
func (p *Probe) Close() { p.view.Release() }

// errDropped: a measurement of drops would flatter the chain.
var errDropped = errors.New("a record of the measurement is no event")

// Enrich takes a record from the bytes of events.collected to those of
// events.enriched, which are valid until the next call.
func (p *Probe) Enrich(r *kafka.Record) ([]byte, error) {
	source := p.p.scratch.sourceOf(r.Partition, r.Offset)
	out, err := p.p.guarded(p.view, r, source)
	if err != nil {
		return nil, err
	}
	if out, err = p.p.encode(out, source); err != nil {
		return nil, err
	}
	if out.record.GetEvent() == nil {
		return nil, errDropped
	}
	p.p.count(&out)
	return p.p.encoded, nil
}

// stepTotal adds up what a stopwatch observes.
type stepTotal struct {
	seconds float64
	left    int // out: interrupted
}

// interrupted is longer than any step takes: something else had the core. Such a lap
// says nothing of the step and would outweigh thousands of others.
const interrupted = 100e-6

func (s *stepTotal) Observe(v float64) {
	if v > interrupted {
		s.left++
		return
	}
	s.seconds += v
}

// probeLaps is how many empty steps are timed to know what timing one costs.
const probeLaps = 1 << 16

// Steps enriches the records, times every step of each, and returns what a step
// takes of an event on average, over all records. What the timing itself costs is
// taken off, and what something else interrupted is left out.
func (p *Probe) Steps(records []kafka.Record) (map[string]time.Duration, error) {
	m := p.p.w.metrics
	before := maps.Clone(m.steps)
	defer func() { m.steps = before }()
	totals := make(map[string]*stepTotal, len(before))
	watched := make(map[string]prometheus.Observer, len(before))
	for _, step := range slices.Collect(maps.Keys(before)) {
		totals[step] = new(stepTotal)
		watched[step] = totals[step]
	}
	m.steps = watched
	empty := m.watch(true)
	for range probeLaps {
		empty.lap(stepBuild)
	}
	cost := totals[stepBuild].seconds / probeLaps
	*totals[stepBuild] = stepTotal{}
	p.p.scratch.timed = true
	defer func() { p.p.scratch.timed = false }()
	for i := range records {
		if _, err := p.Enrich(&records[i]); err != nil {
			return nil, err
		}
	}
	out := make(map[string]time.Duration, len(totals))
	for step, total := range totals {
		if total.seconds == 0 {
			continue // a step that is not part of the chain
		}
		each := max(total.seconds/float64(max(len(records)-total.left, 1))-cost, 0)
		out[step] = time.Duration(each * float64(time.Second))
	}
	return out, nil
}
