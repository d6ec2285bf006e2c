package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/core/retention"
	"github.com/metiva-io/metiva/pkg/lifecycle"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// keeperURL is the setting of the connections that may change and delete rows, which no
// other connection of the processes may: of the retention, and of who counts days.
const keeperURL = "METIVA_CLICKHOUSE_KEEPER_URL"

// retentionActor asks for the sites' retention.
const retentionActor = "schedule:retention"

// mutationTimeout is how long ClickHouse may take for one change of a table.
const mutationTimeout = 6 * time.Hour

// Retention is how core keeps rows no longer than their sites do. Without an address
// it does not.
type Retention struct {
	// ClickHouse has the address alone: the file of the authority is one setting for all
	// of a process's connections, Ledger's.
	ClickHouse config.ClickHouse
	Job        retention.Config
}

// Bind adds the settings of the retention.
func (r *Retention) Bind(s *config.Set) {
	s.Secret(&r.ClickHouse.URL, config.Option{Flag: "clickhouse-keeper-url", Env: keeperURL, Help: "ClickHouse as the user keeper, to shorten what sites keep less long than it was written for, and to count whole days; empty: neither is done here."})
	s.Duration(&r.Job.Interval, config.Option{Flag: "retention-every", Env: "METIVA_RETENTION_EVERY", Default: "24h", Help: "Pause between two comparisons of all rows with their sites' retention."})
}

// Validate joins every fault.
func (r *Retention) Validate(p *config.Process, caFile string) error {
	faults := []error{r.Job.Validate()}
	if !r.ClickHouse.URL.IsZero() {
		err := r.ClickHouse.Validate(p)
		if err == nil {
			err = r.engine(caFile).Validate()
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", keeperURL, err))
		}
	}
	return errors.Join(faults...)
}

func (r *Retention) engine(caFile string) clickhouse.Config {
	return clickhouse.Config{URL: r.ClickHouse.URL, TLSCAFile: caFile, ReadTimeout: mutationTimeout, ConnectionsMax: 1}
}

// retentionStage is the job as a part of the process, and what closes its connection.
func retentionStage(w *app.Watched, cfg *Config) (stage lifecycle.Stage, closeConn func(), err error) {
	stage.Name = "retention"
	if cfg.Retention.ClickHouse.URL.IsZero() {
		w.Log.Warn("a retention that is made shorter is not applied here: set " + keeperURL + ", or run metiva retention apply daily")
		stage.Run = func(ctx context.Context) error { <-ctx.Done(); return nil }
		return stage, func() {}, nil
	}
	conn, err := clickhouse.Open(cfg.Retention.engine(cfg.Ledger.ClickHouse.TLSCAFile))
	if err != nil {
		return stage, nil, err
	}
	job, err := retention.New(cfg.Retention.Job, retention.Deps{
		Sites: func(ctx context.Context) ([]analytics.Retention, error) { return siteRetentions(ctx, cfg) },
		Rows:  analytics.NewRetainer(conn, time.Now), Log: w.Log, Metrics: w.Registry, Now: time.Now,
	})
	if err != nil {
		return stage, nil, errors.Join(err, conn.Close())
	}
	stage.Run = job.Run
	return stage, func() { _ = conn.Close() }, nil
}

// siteRetentions reads the registry on connections of its own: once a day none is kept
// open for it.
func siteRetentions(ctx context.Context, cfg *Config) ([]analytics.Retention, error) {
	pool, err := tenant.OpenPool(ctx, postgres.Config{URL: cfg.RW.URL, ConnectionsMax: 1})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	worker, err := tenant.OpenWorker(ctx, postgres.Config{URL: cfg.Worker.URL, ConnectionsMax: 1})
	if err != nil {
		return nil, err
	}
	defer worker.Close()
	all, err := registry.NewStore(pool, worker).Retentions(ctx, retentionActor)
	if err != nil {
		return nil, err
	}
	out := make([]analytics.Retention, len(all))
	for i, r := range all {
		out[i] = analytics.Retention(r)
	}
	return out, nil
}
