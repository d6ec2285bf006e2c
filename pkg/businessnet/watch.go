package businessnet

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says which file a Watch keeps in memory.
type Config struct {
	// File is the path of the file.
	File string
	// CheckInterval is how often it is looked at; zero is CheckIntervalDefault.
	CheckInterval time.Duration
}

// CheckIntervalDefault is how soon a replaced file is in use: a look costs one
// call to the system, and a database is replaced once a day at most.
const CheckIntervalDefault = 2 * time.Second

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var faults []error
	if c.File == "" {
		faults = append(faults, errors.New("businessnet: the file is not set"))
	}
	if c.CheckInterval < 0 {
		faults = append(faults, errors.New("businessnet: the interval between looks at the file must not be negative"))
	}
	return errors.Join(faults...)
}

// Watch holds the set of a file and takes over the one that replaces it. It is
// safe for concurrent use.
type Watch struct {
	cfg     Config
	log     *slog.Logger
	current atomic.Pointer[Set]

	// Of Run alone, and of Open before it.
	seen    os.FileInfo // what current was read from; nil after a failure
	refusal string      // the last failure that was logged

	loads    *prometheus.CounterVec
	networks prometheus.Gauge
	built    prometheus.Gauge
}

// Open reads the file. It fails when there is none, or a damaged one: a collector
// that was told to be precise must not start as if it were.
func Open(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Watch, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.CheckInterval == 0 {
		cfg.CheckInterval = CheckIntervalDefault
	}
	w := &Watch{
		cfg: cfg, log: log,
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "metiva_company_db_loads_total",
			Help: "Readings of the company database of this collector: loaded, or failed, after which the one before stays in use.",
		}, []string{"result"}),
		networks: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metiva_company_db_networks",
			Help: "Business networks in the company database of this collector.",
		}),
		built: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "metiva_company_db_build_time_seconds",
			Help: "Build time of the company database of this collector, in Unix seconds.",
		}),
	}
	for _, result := range []string{loadedResult, failedResult} {
		w.loads.WithLabelValues(result)
	}
	if err := w.read(); err != nil {
		return nil, err
	}
	for _, c := range []prometheus.Collector{w.loads, w.networks, w.built} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return w, nil
}

const (
	loadedResult = "loaded"
	failedResult = "failed"
)

// Current is the set in use. It is never nil.
func (w *Watch) Current() *Set { return w.current.Load() }

// Run looks at the file until ctx ends. Requests that hold the set before finish
// with it.
func (w *Watch) Run(ctx context.Context) error {
	ticker := time.NewTicker(w.cfg.CheckInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			w.look()
		}
	}
}

// look reads the file if it is not the one in use. A failure is counted each
// time, and logged when it is a new one.
func (w *Watch) look() {
	info, err := os.Stat(w.cfg.File)
	if err == nil && w.seen != nil && os.SameFile(info, w.seen) && info.ModTime().Equal(w.seen.ModTime()) && info.Size() == w.seen.Size() {
		return
	}
	if err := w.read(); err != nil {
		w.seen = nil // what is in use has no file: look again, whatever it looks like
		if text := err.Error(); text != w.refusal {
			w.refusal = text
			w.log.Error("the company database was not replaced, the one before stays in use", slog.Any("error", err))
		}
		return
	}
	w.refusal = ""
	w.log.Info("company database replaced", slog.Int("networks", w.Current().Len()), slog.Time("built", w.Current().BuildTime()))
}

func (w *Watch) read() error {
	set, info, err := load(w.cfg.File)
	if err != nil {
		w.loads.WithLabelValues(failedResult).Inc()
		return err
	}
	w.seen = info
	w.current.Store(set)
	w.loads.WithLabelValues(loadedResult).Inc()
	w.networks.Set(float64(set.Len()))
	w.built.Set(float64(set.BuildTime().Unix()))
	return nil
}
