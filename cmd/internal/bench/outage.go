package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// OutageConfig is the size of an outage run.
type OutageConfig struct {
	// BinDir holds the binaries metiva and collector.
	BinDir string
	// Rate is how many events a second are sent, one in each request, whatever the
	// answers do.
	Rate float64
	// Connections are kept alive, each with its share of the rate.
	Connections int
	// Calm is the length of each phase in which nothing happens.
	Calm time.Duration
	// Stall is how long Kafka's process is stopped, and Away how long it is gone.
	Stall, Away time.Duration
	// Duration bounds the whole run.
	Duration time.Duration
	// Progress receives one line for each step.
	Progress io.Writer
	Log      *slog.Logger
}

const (
	// OutageSecondsMax bounds a run.
	OutageSecondsMax = 3600
	rateMax          = 50_000
	// runOverhead is what starting, catching up and reading may take beside the
	// phases.
	runOverhead = 20 * time.Second
)

// Validate reports every fault.
func (c OutageConfig) Validate() error {
	var faults []error
	if c.BinDir == "" || c.Log == nil || c.Progress == nil {
		faults = append(faults, errors.New("bench: the folder with the binaries, the log or the progress is missing"))
	}
	if c.Rate < 1 || c.Rate > rateMax {
		faults = append(faults, fmt.Errorf("bench: between 1 and %d events a second can be sent", rateMax))
	}
	if c.Connections < 1 || c.Connections > connectionsMax {
		faults = append(faults, fmt.Errorf("bench: connections must be between 1 and %d", connectionsMax))
	}
	for _, d := range []time.Duration{c.Calm, c.Stall, c.Away} {
		if d < measureMin {
			faults = append(faults, fmt.Errorf("bench: a phase must last %s at least", measureMin))
		}
	}
	if c.Duration > OutageSecondsMax*time.Second {
		faults = append(faults, fmt.Errorf("bench: a run may last %d s at most", OutageSecondsMax))
	} else if need := 5*c.Calm + c.Stall + c.Away + runOverhead; need > c.Duration {
		faults = append(faults, fmt.Errorf("bench: the phases need %s, the run may last %s", need, c.Duration))
	}
	return errors.Join(faults...)
}

// Phases of an outage run, in their order.
const (
	phaseWarm   = "warm up"
	phaseCalm   = "calm"
	phaseStall  = "Kafka stalls"
	phaseAfter  = "after the stall"
	phaseAway   = "Kafka away"
	phaseReplay = "Kafka is back"
	phaseRoll   = "collectors restart"
	phaseEnd    = "calm again"
)

const (
	// caughtUpSeconds: a spool whose oldest record is younger is not behind.
	caughtUpSeconds = 1
	// outageStopDelay is longer than the balancer takes to see that a collector
	// goes.
	outageStopDelay = 2 * time.Second
	// collectorStopTimeout is longer than a collector's own time for stopping.
	collectorStopTimeout = 25 * time.Second
)

// outagePhase is one phase and what was seen of the worse collector in it.
type outagePhase struct {
	name             string
	from, until      time.Duration // since the begin of the load
	begin, peak, end gauge
	looks            int
	// The machine's pressure when it began, and what was added in it.
	pressed, pressure pressure
}

// outage is a run under way.
type outage struct {
	cfg      OutageConfig
	rig      *rig
	kafka    string // address
	watched  []*watched
	balancer *balancer
	load     *steady

	mu     sync.Mutex
	phases []*outagePhase
	latest gauge
}

func collectorNames() []string { return []string{"collector-1", "collector-2"} }

// RunOutage drives a steady load through two collectors behind one address while
// Kafka stalls, goes away and comes back, and while the collectors are restarted
// one after the other; then it compares what was answered with what is in Kafka.
// Everything it started has ended when it returns, whatever the error.
func RunOutage(ctx context.Context, cfg OutageConfig) (report OutageReport, err error) {
	if err := cfg.Validate(); err != nil {
		return OutageReport{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.Duration, fmt.Errorf("the run takes longer than %s", cfg.Duration))
	defer cancel()
	rig, err := newRig(Config{BinDir: cfg.BinDir, Log: cfg.Log})
	if err != nil {
		return OutageReport{}, err
	}
	defer func() { err = errors.Join(err, rig.stop()) }()
	o := &outage{cfg: cfg, rig: rig}
	if err := o.start(ctx); err != nil {
		return OutageReport{}, err
	}
	defer o.balancer.stop()
	shots, err := o.run(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = errors.Join(err, cause)
		}
		return OutageReport{}, fmt.Errorf("%w%s%s", err, rig.lastLines(collectorNames()[0]), rig.lastLines(collectorNames()[1]))
	}
	o.say("reading what is in Kafka")
	found, err := o.readBack(ctx, shots)
	if err != nil {
		return OutageReport{}, err
	}
	return o.report(shots, found), nil
}

// start brings Kafka, the collectors and the balancer up.
func (o *outage) start(ctx context.Context) (err error) {
	r := o.rig
	if err := r.prepare(); err != nil {
		return err
	}
	if o.kafka, err = freeAddress(ctx); err != nil {
		return err
	}
	if err := o.startKafka(ctx); err != nil {
		return err
	}
	if err := r.seed(ctx, o.kafka); err != nil {
		return err
	}
	var backends []*backend
	for _, name := range collectorNames() {
		listen, err := freeAddress(ctx)
		if err != nil {
			return err
		}
		if r.admins[name], err = freeAddress(ctx); err != nil {
			return err
		}
		w := &watched{rig: r, name: name}
		o.watched = append(o.watched, w)
		if err := o.startCollector(ctx, w, listen); err != nil {
			return err
		}
		backends = append(backends, &backend{address: listen, ready: r.answers("http://" + r.admins[name] + "/readyz")})
	}
	if o.balancer, err = startBalancer(ctx, backends...); err != nil {
		return err
	}
	return o.untilUp(ctx)
}

// startKafka starts the broker, with what it wrote before. It is never asked to
// stop: its ends are kills.
func (o *outage) startKafka(ctx context.Context) error {
	spec := o.rig.kafkaSpec(serverKafka, o.kafka)
	spec.StopSignal = syscall.SIGKILL
	return o.rig.launch(ctx, serverKafka, o.kafka, spec)
}

func (o *outage) startCollector(ctx context.Context, w *watched, listen string) error {
	spec := o.rig.collectorSpec(w.name, o.kafka, listen, o.rig.admins[w.name])
	spec.Env = append(spec.Env, "METIVA_COLLECTOR_NAME="+w.name, "METIVA_COLLECTOR_STOP_DELAY="+outageStopDelay.String())
	spec.StopTimeout = collectorStopTimeout
	if err := o.rig.launch(ctx, w.name, listen, spec); err != nil {
		return err
	}
	w.began(o.rig.pid(w.name))
	return nil
}

// run drives the load through the phases and ends with the collectors stopped.
func (o *outage) run(ctx context.Context) ([]shot, error) {
	o.load = &steady{
		address: o.balancer.address(), connections: o.cfg.Connections, rate: o.cfg.Rate, began: time.Now(),
		visitors: visitors{host: o.balancer.address(), siteKey: siteKey, tokens: o.rig.tokens, results: true},
	}
	o.enter(phaseWarm)
	watching, stopWatching := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { o.watch(watching) })
	stop, shots := make(chan struct{}), make(chan []shot, 1)
	running.Go(func() { shots <- o.load.run(ctx, stop) })
	defer running.Wait()
	defer stopWatching()
	err := o.steps(ctx)
	close(stop)
	all := <-shots
	if err != nil {
		return nil, err
	}
	o.say("waiting for the spools to be empty")
	if err := o.until(ctx, func(g gauge) bool { return g.spoolRecords == 0 }); err != nil {
		return nil, fmt.Errorf("waiting for the spools to be empty: %w", err)
	}
	stopWatching()
	for _, name := range collectorNames() {
		if err := o.rig.end(name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (o *outage) steps(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{phaseWarm, func(ctx context.Context) error { return wait(ctx, o.cfg.Calm/2) }},
		{phaseCalm, func(ctx context.Context) error { return wait(ctx, o.cfg.Calm) }},
		{phaseStall, o.stall},
		{phaseAfter, o.untilCaughtUp},
		{phaseAway, o.away},
		{phaseReplay, func(ctx context.Context) error {
			if err := o.startKafka(ctx); err != nil {
				return err
			}
			return o.untilCaughtUp(ctx)
		}},
		{phaseRoll, o.roll},
		{phaseEnd, func(ctx context.Context) error { return wait(ctx, o.cfg.Calm) }},
	} {
		o.enter(step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		o.leave()
	}
	return nil
}

// stall stops Kafka's process as a hung disk or a long collection of garbage would.
func (o *outage) stall(ctx context.Context) error {
	pid := o.rig.pid(serverKafka)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stopping Kafka's process: %w", err)
	}
	err := wait(ctx, o.cfg.Stall)
	if contErr := syscall.Kill(pid, syscall.SIGCONT); contErr != nil {
		err = errors.Join(err, fmt.Errorf("letting Kafka's process go on: %w", contErr))
	}
	return err
}

// away kills Kafka.
func (o *outage) away(ctx context.Context) error {
	if err := o.rig.end(serverKafka); err != nil {
		return err
	}
	return wait(ctx, o.cfg.Away)
}

// roll restarts the collectors one after the other, each once the balancer knows
// the other.
func (o *outage) roll(ctx context.Context) error {
	for _, w := range o.watched {
		if err := o.untilUp(ctx); err != nil {
			return err
		}
		listen := o.rig.address(w.name)
		if _, err := w.look(ctx); err != nil { // for its last counts
			return err
		}
		if err := o.rig.end(w.name); err != nil {
			return err
		}
		if err := o.startCollector(ctx, w, listen); err != nil {
			return err
		}
	}
	return o.untilUp(ctx)
}

// enter begins a phase.
func (o *outage) enter(name string) {
	at := time.Since(o.load.began)
	o.mu.Lock()
	if n := len(o.phases); n > 0 && o.phases[n-1].name == name {
		o.mu.Unlock()
		return
	}
	o.phases = append(o.phases, &outagePhase{name: name, from: at, begin: o.latest, peak: o.latest, end: o.latest, pressed: pressureNow()})
	o.mu.Unlock()
	o.say("%6.1f s: %s", at.Seconds(), name)
}

func (o *outage) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.phases[len(o.phases)-1]
	now := pressureNow()
	p.until, p.pressure = time.Since(o.load.began), pressure{now.cpu - p.pressed.cpu, now.disk - p.pressed.disk}
}

// watch looks at the collectors until ctx ends. One that is being restarted
// does not answer.
func (o *outage) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if g, ok := o.look(ctx); ok {
			o.mu.Lock()
			p := o.phases[len(o.phases)-1]
			if p.looks == 0 && p.name == phaseWarm {
				p.begin = g
			}
			p.looks++
			p.peak, p.end, o.latest = p.peak.greater(g), g, g
			o.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look is the worse of the collectors; false when one of them does not answer.
func (o *outage) look(ctx context.Context) (worst gauge, ok bool) {
	ok = true
	for _, w := range o.watched {
		g, err := w.look(ctx)
		if err != nil {
			ok = false
			continue
		}
		worst = worst.greater(g)
	}
	return worst, ok
}

// untilCaughtUp lasts as long as a calm phase at least.
func (o *outage) untilCaughtUp(ctx context.Context) error {
	if err := wait(ctx, o.cfg.Calm); err != nil {
		return err
	}
	return o.until(ctx, func(g gauge) bool { return g.oldest < caughtUpSeconds })
}

// until waits for a state of the collectors.
func (o *outage) until(ctx context.Context, cond func(gauge) bool) error {
	for {
		if g, ok := o.look(ctx); ok && cond(g) {
			return nil
		}
		if err := wait(ctx, watchEvery); err != nil {
			return err
		}
	}
}

// untilUp waits until the balancer sends to every collector.
func (o *outage) untilUp(ctx context.Context) error {
	for {
		up := true
		for _, k := range o.balancer.backends {
			up = up && k.up.Load()
		}
		if up {
			return nil
		}
		if err := wait(ctx, readinessEvery); err != nil {
			return err
		}
	}
}

func (o *outage) say(format string, args ...any) {
	_, _ = fmt.Fprintf(o.cfg.Progress, format+"\n", args...)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
