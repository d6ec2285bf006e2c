package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/pkg/kafka"
)

// EnrichConfig is the size of a run of RunEnrich.
type EnrichConfig struct {
	// BinDir holds the binary metiva, which the embedded Kafka is.
	BinDir string
	// Databases and Chain are what companies are decided by.
	Databases *geo.Databases
	Chain     *company.Chain
	// Events are recorded once and read in every round.
	Events int
	// Rounds is how often the copies and the worker read them, in turns.
	Rounds int
	// ProfileDir, when given, gets a CPU profile of the worker and one of the chain,
	// taken in rounds of their own that are not part of the figures.
	ProfileDir string
	// Progress receives one line for each step.
	Progress io.Writer
	Log      *slog.Logger
}

const (
	eventsMin = 100
	eventsMax = 1_000_000
	// stepRecordsMax bounds the records that are kept in memory for the chain.
	stepRecordsMax = 20_000
	// chainLeast is how long the chain alone runs in a round.
	chainLeast = 500 * time.Millisecond
)

// Validate reports every fault.
func (c EnrichConfig) Validate() error {
	var faults []error
	if c.BinDir == "" || c.Log == nil || c.Progress == nil || c.Databases == nil || c.Chain == nil {
		faults = append(faults, errors.New("bench: the folder with the binaries, the databases, the log or the progress is missing"))
	}
	if c.Rounds < 1 || c.Rounds > roundsMax {
		faults = append(faults, fmt.Errorf("bench: rounds must be between 1 and %d", roundsMax))
	}
	if c.Events < eventsMin || c.Events > eventsMax {
		faults = append(faults, fmt.Errorf("bench: events must be between %d and %d", eventsMin, eventsMax))
	}
	return errors.Join(faults...)
}

// enrichSample is what one round measured; CPU in seconds an event.
type enrichSample struct {
	copied, library, worker spent
	chainCPU, chain         float64 // chain: allocations an event
	steps                   map[string]time.Duration
}

// spent is what one reading of the recorded events took; CPU in seconds an event.
type spent struct {
	cpu, allocs float64
	wall        time.Duration
}

func (u usage) perEvent(events int) spent {
	n := float64(events)
	return spent{cpu: u.cpu.Seconds() / n, allocs: float64(u.mallocs) / n, wall: u.wall()}
}

// RunEnrich records events on an embedded Kafka and has them read, in turns, by a
// bare copy of the topic, by a copy with the library as it comes (package plaincopy) and
// by a whole worker. Everything it started has ended when it returns, whatever the error.
func RunEnrich(ctx context.Context, cfg EnrichConfig) (report EnrichReport, err error) {
	if err := cfg.Validate(); err != nil {
		return EnrichReport{}, err
	}
	rig, err := newEnrichRig(ctx, cfg)
	if err != nil {
		return EnrichReport{}, err
	}
	defer func() { err = errors.Join(err, rig.stop()) }()
	var samples []enrichSample
	for round := range cfg.Rounds {
		rig.say("round %d of %d", round+1, cfg.Rounds)
		s, err := rig.round(ctx, round)
		if err != nil {
			return EnrichReport{}, fmt.Errorf("measuring the worker: %w%s", err, rig.servers.lastLines(serverKafka))
		}
		samples = append(samples, s)
	}
	if cfg.ProfileDir != "" {
		if err := rig.profile(ctx); err != nil {
			return EnrichReport{}, err
		}
	}
	return newEnrichReport(cfg.Events, samples), nil
}

// usage is what this process has used up to a moment.
type usage struct {
	at      time.Time
	cpu     time.Duration
	mallocs uint64
}

// used reads the account of this process, the collection of what was garbage before
// included.
func used() (usage, error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return usage{}, fmt.Errorf("reading the CPU time of this process: %w", err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{
		at: time.Now(), mallocs: m.Mallocs,
		cpu: time.Duration(r.Utime.Nano()+r.Stime.Nano()) * time.Nanosecond,
	}, nil
}

// measured is what a piece of work used.
func measured(do func() error) (usage, error) {
	runtime.GC()
	before, err := used()
	if err != nil {
		return usage{}, err
	}
	if err := do(); err != nil {
		return usage{}, err
	}
	after, err := used()
	return usage{
		at: time.Time{}.Add(after.at.Sub(before.at)), cpu: after.cpu - before.cpu, mallocs: after.mallocs - before.mallocs,
	}, err
}

func (u usage) wall() time.Duration { return u.at.Sub(time.Time{}) }

// round has both copies, the worker and the chain alone take the recorded events once.
func (r *enrichRig) round(ctx context.Context, round int) (s enrichSample, err error) {
	// Who goes first changes: what the first leaves behind is not always the same
	// one's burden.
	takers := []func() error{
		func() error {
			u, err := r.complete(ctx, r.copyOnce, round)
			s.copied = u.perEvent(r.cfg.Events)
			return err
		},
		func() error {
			u, err := r.enrichOnce(ctx, round)
			s.worker = u.perEvent(r.cfg.Events)
			return err
		},
		func() error {
			u, err := r.complete(ctx, r.libraryCopyOnce, round)
			s.library = u.perEvent(r.cfg.Events)
			return err
		},
	}
	for i := range takers {
		if err := takers[(i+round)%len(takers)](); err != nil {
			return s, err
		}
	}
	taken := 0
	u, err := measured(func() error {
		for began := time.Now(); time.Since(began) < chainLeast; {
			if err := r.chainOnce(r.records); err != nil {
				return err
			}
			taken += len(r.records)
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	s.chainCPU, s.chain = u.cpu.Seconds()/float64(taken), float64(u.mallocs)/float64(taken)
	s.steps, err = r.probe.Steps(r.records)
	return s, err
}

func (r *enrichRig) chainOnce(records []kafka.Record) error {
	for i := range records {
		if _, err := r.probe.Enrich(&records[i]); err != nil {
			return err
		}
	}
	return nil
}

// profile takes CPU profiles of a further round.
func (r *enrichRig) profile(ctx context.Context) error {
	if err := os.MkdirAll(r.cfg.ProfileDir, 0o700); err != nil {
		return fmt.Errorf("making the folder for the profiles: %w", err)
	}
	for name, do := range map[string]func() error{
		"enrich-cpu.pprof":       func() error { _, err := r.enrichOnce(ctx, r.cfg.Rounds); return err },
		"copy-cpu.pprof":         func() error { _, err := r.copyOnce(ctx, r.cfg.Rounds); return err },
		"library-copy-cpu.pprof": func() error { _, err := r.libraryCopyOnce(ctx, r.cfg.Rounds); return err },
		"chain-cpu.pprof": func() error {
			for range 10 {
				if err := r.chainOnce(r.records); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		r.say("taking the profile %s", name)
		f, err := os.OpenFile(filepath.Join(r.cfg.ProfileDir, name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("opening a profile: %w", err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return errors.Join(fmt.Errorf("taking a profile: %w", err), f.Close())
		}
		err = do()
		pprof.StopCPUProfile()
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (r *enrichRig) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.cfg.Progress, format+"\n", args...)
}
