package erasure

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
)

// JobConfig says how interrupted erasures are gone on with. Zero values mean the default.
type JobConfig struct {
	// Interval is the pause between two looks (default 10 min).
	Interval time.Duration
	// AtOnce bounds how many erasures one look takes on (default 50): those not tried for
	// the longest time, of these the oldest first.
	AtOnce int
	// TimeMax bounds the work on one (default 1 h); the next look goes on with it.
	TimeMax time.Duration
	// OverdueAfter is the age at which an erasure that is not certified is overdue
	// (default 24 h).
	OverdueAfter time.Duration
	// LookAgain is how long after its certificate the rows of an erasure are looked for
	// again (default 24 h), once an hour: what was on its way then is there by then.
	LookAgain time.Duration
}

// Validate reports every fault.
func (c JobConfig) Validate() error {
	var faults []error
	for name, d := range map[string]time.Duration{"Interval": c.Interval, "TimeMax": c.TimeMax, "OverdueAfter": c.OverdueAfter, "LookAgain": c.LookAgain} {
		if d < 0 || d > 31*24*time.Hour {
			faults = append(faults, fmt.Errorf("erasure: %s %s is not between 0 and 744 h", name, d))
		}
	}
	if c.AtOnce < 0 {
		faults = append(faults, errors.New("erasure: AtOnce is negative"))
	}
	return errors.Join(faults...)
}

func (c JobConfig) withDefaults() JobConfig {
	for _, d := range []struct {
		value *time.Duration
		is    time.Duration
	}{{&c.Interval, 10 * time.Minute}, {&c.TimeMax, time.Hour}, {&c.OverdueAfter, 24 * time.Hour}, {&c.LookAgain, 24 * time.Hour}} {
		if *d.value == 0 {
			*d.value = d.is
		}
	}
	if c.AtOnce == 0 {
		c.AtOnce = 50
	}
	return c
}

// JobDeps are what a Job works with. All but Resume are needed.
type JobDeps struct {
	// Pending lists the erasures that are not certified, and those certified since.
	Pending func(ctx context.Context, since time.Time) ([]Erasure, error)
	// Resume goes on with one (Eraser.Resume); nil where the process may not: then they
	// are only counted.
	Resume     func(ctx context.Context, is Erasure) (Erasure, error)
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Job goes on with erasures that were interrupted. It belongs to one goroutine; in other
// processes others may run, since of one erasure one works at a time.
type Job struct {
	cfg  JobConfig
	deps JobDeps
	// tried is when an erasure was last gone on with, or looked at again.
	tried map[string]time.Time

	unfinished, overdue, last prometheus.Gauge
	resumed                   *prometheus.CounterVec
}

// Results of one try, as they stand in the metric's label.
const (
	resultDone   = "done"
	resultBusy   = "busy"
	resultFailed = "failed"
)

// NewJob makes a job. It asks nothing yet.
func NewJob(cfg JobConfig, deps JobDeps) (*Job, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Pending == nil || deps.Now == nil || deps.Log == nil || deps.Registerer == nil {
		return nil, errors.New("the job of erasures lacks a dependency")
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	j := &Job{
		cfg: cfg.withDefaults(), deps: deps, tried: make(map[string]time.Time),
		unfinished: gauge("metiva_erasures_unfinished", "Erasures that were asked for and are not certified."),
		overdue:    gauge("metiva_erasures_overdue", "Those of them asked for longer ago than they should take, a day by default."),
		last:       gauge("metiva_erasures_last_look_timestamp_seconds", "When erasures were last looked at; 0 before the first time."),
		resumed:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "metiva_erasures_resumed_total", Help: "Erasures gone on with after an interruption, by result: done, busy (somebody is at work on it), failed."}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{j.unfinished, j.overdue, j.last, j.resumed} {
		if err := deps.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of erasures: %w", err)
		}
	}
	for _, result := range []string{resultDone, resultBusy, resultFailed} {
		j.resumed.WithLabelValues(result)
	}
	return j, nil
}

// Run looks at once and then at every interval, until ctx ends. What fails is logged and
// tried again.
func (j *Job) Run(ctx context.Context) error {
	for {
		if err := j.Once(ctx); err != nil && ctx.Err() == nil {
			j.deps.Log.Warn("erasures could not be looked at", slog.Any("error", err))
		}
		if pause(ctx, j.cfg.Interval) != nil {
			return nil //nolint:nilerr // told to stop
		}
	}
}

// Once looks once, and goes on with what is interrupted.
func (j *Job) Once(ctx context.Context) error {
	now := j.deps.Now()
	all, err := j.deps.Pending(ctx, now.Add(-j.cfg.LookAgain))
	if err != nil {
		return err
	}
	j.forgetBefore(now.Add(-max(2*j.cfg.LookAgain, 2*lookEvery)))
	// What was tried last goes last, so that no number of them that fail keeps
	// another away.
	slices.SortStableFunc(all, func(a, b Erasure) int { return j.tried[a.ID].Compare(j.tried[b.ID]) })
	j.count(all, now)
	tried := 0
	for i := range all {
		is := &all[i]
		if j.deps.Resume == nil || tried == j.cfg.AtOnce || is.State == Certified && now.Sub(j.tried[is.ID]) < lookEvery {
			continue
		}
		tried++
		j.tried[is.ID] = now
		all[i] = j.resume(ctx, is)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		// One may take an hour, and fifty may be there.
		j.count(all, now)
	}
	j.tellOverdue(all, now)
	return nil
}

// count sets the metrics to what stands now.
func (j *Job) count(all []Erasure, now time.Time) {
	unfinished, overdue := 0, 0
	for i := range all {
		if all[i].State != Certified {
			unfinished++
		}
		if j.isOverdue(&all[i], now) {
			overdue++
		}
	}
	j.unfinished.Set(float64(unfinished))
	j.overdue.Set(float64(overdue))
	j.last.Set(float64(j.deps.Now().Unix()))
}

func (j *Job) isOverdue(is *Erasure, now time.Time) bool {
	return is.State != Certified && now.Sub(is.Since()) > j.cfg.OverdueAfter
}

func (j *Job) tellOverdue(all []Erasure, now time.Time) {
	for i := range all {
		if is := &all[i]; j.isOverdue(is, now) {
			j.deps.Log.Error("an erasure is overdue", "erasure", is.ID, "company_id", is.CompanyID, "state", is.State, "age", now.Sub(is.Since()).Round(time.Minute))
		}
	}
}

// lookEvery is the pause between two looks at a certified erasure.
const lookEvery = time.Hour

func (j *Job) forgetBefore(at time.Time) {
	for id, tried := range j.tried {
		if tried.Before(at) {
			delete(j.tried, id)
		}
	}
}

// resume goes on with one, and returns it as it stands then.
func (j *Job) resume(ctx context.Context, is *Erasure) Erasure {
	limited, cancel := context.WithTimeout(ctx, j.cfg.TimeMax)
	defer cancel()
	done, err := j.deps.Resume(limited, *is)
	switch {
	case errors.Is(err, tenant.ErrLocked):
		j.resumed.WithLabelValues(resultBusy).Inc()
		return *is
	case err != nil:
		j.resumed.WithLabelValues(resultFailed).Inc()
		j.deps.Log.Warn("an erasure could not be finished, trying again later", "erasure", is.ID, "state", done.State, "error", is.without(err))
	case done.State != is.State || done.Round != is.Round:
		j.resumed.WithLabelValues(resultDone).Inc()
		j.deps.Log.Info("an interrupted erasure went on", "erasure", is.ID, "state", done.State)
	}
	return done
}

// without is the error's text without the subject's id, which is what a browser keeps:
// ClickHouse's messages may quote the statement.
func (e *Erasure) without(err error) string {
	text := err.Error()
	if e.subject.Kind == Tenant || e.subject.ID == [schemas.IDBytes]byte{} {
		return text
	}
	for _, form := range []string{"%x", "%X", "%s"} {
		text = strings.ReplaceAll(text, fmt.Sprintf(form, e.subject.ID[:]), "(subject)")
	}
	return text
}

const queryPending = `
SELECT ` + erasureColumns + ` FROM core.erasures WHERE state <> 'certified' OR updated_at >= $1 ORDER BY requested_at, id`

const queryDirectory = `SELECT company_id FROM core.directory ORDER BY created_at, company_id`

// Pending lists, over all tenants, the erasures that are not certified and those that
// were since, the oldest first. It asks each tenant's rows in that tenant's context.
func Pending(ctx context.Context, pool *tenant.Pool, worker *tenant.Worker, actor string, since time.Time) ([]Erasure, error) {
	var ids []string
	err := worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, queryDirectory)
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the directory of tenants: %w", quiet(err))
	}
	var all []Erasure
	for _, id := range ids {
		claim, err := tenant.OperatorClaim(id, actor)
		if err != nil {
			return nil, fmt.Errorf("looking for erasures: %w", err)
		}
		of, err := collect(ctx, pool, claim, queryPending, since)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return oldestFirst(all), nil
}
