package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// Config is the size of a run.
type Config struct {
	// BinDir holds the binaries metiva and collector.
	BinDir string
	// Rounds is how often each measurement is repeated, in turns.
	Rounds int
	// Measure is how long each of them takes.
	Measure time.Duration
	// Connections are kept alive, all busy.
	Connections int
	// CollectorEnv are further settings of the collector, such as other limits.
	CollectorEnv map[string]string
	// ProfileDir, when given, gets a CPU and an allocation profile of the
	// collector, taken in a round of its own that is not part of the figures.
	ProfileDir string
	// Progress receives one line for each step.
	Progress io.Writer
	Log      *slog.Logger
}

const (
	// RunSecondsMax bounds the load of a run in all.
	RunSecondsMax  = 600
	connectionsMax = 4096
	roundsMax      = 100
	measureMin     = 100 * time.Millisecond
	// warm is how long a server is under load before it is measured.
	warm = 300 * time.Millisecond
	// profileSeconds is the least a CPU profile says something after.
	profileSeconds = 20
)

// Validate reports every fault.
func (c Config) Validate() error {
	var faults []error
	if c.BinDir == "" || c.Log == nil || c.Progress == nil {
		faults = append(faults, errors.New("bench: the folder with the binaries, the log or the progress is missing"))
	}
	if c.Rounds < 1 || c.Rounds > roundsMax {
		faults = append(faults, fmt.Errorf("bench: rounds must be between 1 and %d", roundsMax))
	}
	if c.Connections < 1 || c.Connections > connectionsMax {
		faults = append(faults, fmt.Errorf("bench: connections must be between 1 and %d", connectionsMax))
	}
	if c.Measure < measureMin {
		faults = append(faults, fmt.Errorf("bench: a round must last %s at least", measureMin))
	} else if s := float64(c.Rounds*phasesPerRound) * c.Measure.Seconds(); s > RunSecondsMax {
		faults = append(faults, fmt.Errorf("bench: the run would last %.0f s, at most %d are allowed", s, RunSecondsMax))
	}
	return errors.Join(faults...)
}

// phasesPerRound: closed with single and batched page views, and open, each on
// the three servers.
const phasesPerRound = 9

// Names of the servers measured: a bare handler, the collector with Kafka, and
// the collector without, which answers from its spool.
const (
	serverBare      = "bare"
	serverCollector = "collector"
	serverSpool     = "spool"
)

func servers() []string { return []string{serverBare, serverCollector, serverSpool} }

// kind is one line of the table: a server under one kind of load.
type kind struct {
	server string
	events int // page views of a request
	open   bool
}

// sample is what one phase measured.
type sample struct {
	requestsPerSecond float64
	cpuSeconds        float64 // of the server, a request
	mallocs           float64 // of the server, a request; the bare one is not asked
	p50, p99          time.Duration
}

// runner is a run under way.
type runner struct {
	cfg      Config
	rig      *rig
	scrape   float64 // allocations one look at the metrics costs
	samples  map[kind][]sample
	sent     int64 // events handed to the collectors
	accepted int64 // of them, by their own count
}

// Run measures and returns the figures. Everything it started has ended when
// it returns, whatever the error.
func Run(ctx context.Context, cfg Config) (report Report, err error) {
	if err := cfg.Validate(); err != nil {
		return Report{}, err
	}
	rig, err := newRig(cfg)
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, rig.stop()) }()
	if err := rig.start(ctx); err != nil {
		return Report{}, err
	}
	r := &runner{cfg: cfg, rig: rig, samples: make(map[kind][]sample)}
	if err := r.rounds(ctx); err != nil {
		return Report{}, fmt.Errorf("%w%s", err, rig.lastLines(serverCollector)+rig.lastLines(serverSpool))
	}
	if cfg.ProfileDir != "" {
		if err := r.profile(ctx); err != nil {
			return Report{}, err
		}
	}
	return r.report(), nil
}

// rounds measures everything, the servers in turns.
func (r *runner) rounds(ctx context.Context) (err error) {
	if r.scrape, err = r.rig.scrapeCost(ctx); err != nil {
		return err
	}
	for round := range r.cfg.Rounds {
		r.say("round %d of %d: as fast as answers come", round+1, r.cfg.Rounds)
		for _, events := range []int{1, batchEvents} {
			for _, server := range servers() {
				if err := r.phase(ctx, kind{server, events, false}, 0); err != nil {
					return err
				}
			}
		}
	}
	half := median(r.samples[kind{serverCollector, 1, false}], func(s sample) float64 { return s.requestsPerSecond }) / 2
	for round := range r.cfg.Rounds {
		r.say("round %d of %d: %.0f requests a second", round+1, r.cfg.Rounds, half)
		for _, server := range servers() {
			if err := r.phase(ctx, kind{server, 1, true}, half); err != nil {
				return err
			}
		}
	}
	return nil
}

// phase measures one server under one load.
func (r *runner) phase(ctx context.Context, k kind, rate float64) error {
	s, err := r.measure(ctx, k, rate, r.cfg.Measure)
	if err != nil {
		return fmt.Errorf("loading the %s server: %w", k.server, err)
	}
	r.samples[k] = append(r.samples[k], s)
	return nil
}

// account is what is known of a server at one moment.
type account struct {
	at       time.Time
	answered int64
	cpu      time.Duration
	mallocs  float64
	// atMallocs are the requests answered when mallocs was read.
	atMallocs int64
}

func (r *runner) measure(ctx context.Context, k kind, rate float64, measure time.Duration) (sample, error) {
	l := load{
		address: r.rig.address(k.server), visitors: r.rig.visitors(k.server), connections: r.cfg.Connections,
		events: k.events, rate: rate, warm: warm, measure: measure,
	}
	watched := k.server != serverBare
	var acceptedBefore, acceptedAfter float64
	var err error
	if watched {
		if acceptedBefore, err = r.rig.accepted(ctx, k.server); err != nil {
			return sample{}, err
		}
	}
	var from, until account
	s, err := l.run(ctx,
		func(answered func() int64) (err error) {
			if watched {
				if from.mallocs, err = r.rig.mallocs(ctx, k.server); err != nil {
					return err
				}
				from.atMallocs = answered()
			}
			from.at, from.answered = time.Now(), answered()
			from.cpu, err = cpuOf(r.rig.pid(k.server))
			return err
		},
		func(answered func() int64) (err error) {
			until.at, until.answered = time.Now(), answered()
			if until.cpu, err = cpuOf(r.rig.pid(k.server)); err != nil || !watched {
				return err
			}
			until.mallocs, err = r.rig.mallocs(ctx, k.server)
			until.atMallocs = answered()
			return err
		})
	if err != nil {
		return sample{}, err
	}
	if s.refused > 0 {
		r.say("%d of %d answers were not 2xx", s.refused, s.requests)
	}
	if watched {
		if acceptedAfter, err = r.rig.accepted(ctx, k.server); err != nil {
			return sample{}, err
		}
		r.sent += s.events
		r.accepted += int64(acceptedAfter - acceptedBefore)
	}
	n := float64(until.answered - from.answered)
	if n <= 0 {
		return sample{}, errors.New("nothing was answered while it was measured")
	}
	out := sample{
		requestsPerSecond: n / until.at.Sub(from.at).Seconds(),
		cpuSeconds:        (until.cpu - from.cpu).Seconds() / n,
		p50:               s.quantile(0.50), p99: s.quantile(0.99),
	}
	if watched {
		// Of a short phase with few requests the look at the metrics may cost more.
		out.mallocs = max(0, (until.mallocs-from.mallocs-r.scrape)/float64(until.atMallocs-from.atMallocs))
	}
	return out, nil
}

func (r *runner) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.cfg.Progress, format+"\n", args...)
}
