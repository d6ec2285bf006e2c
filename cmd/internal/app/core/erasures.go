package core

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/core/erasure"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/lifecycle"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/sink"
)

const (
	// erasureActor looks for erasures and goes on with them.
	erasureActor = "schedule:erasure"
	// settleGrace is how long a sink may take to hear of a tombstone, settleAtMost how
	// long the sinks are waited for after it, before the next look tries again.
	settleGrace, settleAtMost = 5 * time.Second, 5 * time.Minute
	// erasureConnections are of one erasure at a time: its transactions and its lock.
	erasureConnections = 3
)

// Erasures is how core goes on with erasures that were interrupted. Without the address
// of the keeper it only counts them.
type Erasures struct{ Job erasure.JobConfig }

// Bind adds the settings.
func (e *Erasures) Bind(s *config.Set) {
	s.Duration(&e.Job.Interval, config.Option{Flag: "erasure-every", Env: "METIVA_ERASURE_EVERY", Default: "10m", Help: "Pause between two looks for erasures that were interrupted."})
}

// Validate joins every fault.
func (e *Erasures) Validate(keys *config.Keys, p *config.Process) error {
	_, err := erasureSigner(keys, p)
	return errors.Join(e.Job.Validate(), err)
}

// erasureSigner is the key certificates are signed with: none where there is no file, or
// one in an envelope, which core cannot open. Signing is then left to metiva erase.
func erasureSigner(keys *config.Keys, p *config.Process) (erasure.Signer, error) {
	if keys.Dir == "" {
		return erasure.Signer{}, nil
	}
	if _, err := os.Stat(keys.Path(seal.PurposeErasure)); errors.Is(err, fs.ErrNotExist) {
		return erasure.Signer{}, nil
	}
	m, err := app.CheckKey(keys, p, seal.PurposeErasure)
	switch {
	case errors.Is(err, app.ErrEnveloped):
		return erasure.Signer{}, nil
	case err != nil:
		return erasure.Signer{}, err
	}
	return erasure.NewSigner(m.Secret())
}

// erasureStage is the job as a part of the process.
func erasureStage(w *app.Watched, cfg *Config, client *kafka.Client, producer *kafka.Producer) (lifecycle.Stage, error) {
	stage := lifecycle.Stage{Name: "erasures"}
	signer, err := erasureSigner(&cfg.Keys, &cfg.Process)
	if err != nil {
		return stage, err
	}
	o := eraserOf{w: w, cfg: cfg, client: client, producer: producer, signer: signer}
	deps := erasure.JobDeps{Pending: o.pending, Resume: o.resume, Now: time.Now, Log: w.Log, Registerer: w.Registry}
	switch {
	case cfg.Retention.ClickHouse.URL.IsZero():
		deps.Resume = nil
		w.Log.Warn("erasures that are interrupted are not gone on with here: set " + keeperURL + ", or run metiva erase again yourself")
	case signer.IsZero():
		w.Log.Warn("there is no erasure.key that core can read: interrupted erasures are finished but for the certificate, which metiva erase signs")
	}
	job, err := erasure.NewJob(cfg.Erasures.Job, deps)
	if err != nil {
		return stage, err
	}
	stage.Run = job.Run
	return stage, nil
}

// eraserOf has connections of its own for each look: there is nothing to do in most.
type eraserOf struct {
	w        *app.Watched
	cfg      *Config
	client   *kafka.Client
	producer *kafka.Producer
	signer   erasure.Signer
}

func (o eraserOf) stores(ctx context.Context, do func(*tenant.Pool, *tenant.Worker) error) error {
	pool, err := tenant.OpenPool(ctx, postgres.Config{URL: o.cfg.RW.URL, ConnectionsMax: erasureConnections})
	if err != nil {
		return err
	}
	defer pool.Close()
	worker, err := tenant.OpenWorker(ctx, postgres.Config{URL: o.cfg.Worker.URL, ConnectionsMax: erasureConnections})
	if err != nil {
		return err
	}
	defer worker.Close()
	return do(pool, worker)
}

func (o eraserOf) pending(ctx context.Context, since time.Time) (all []erasure.Erasure, err error) {
	err = o.stores(ctx, func(pool *tenant.Pool, worker *tenant.Worker) (err error) {
		all, err = erasure.Pending(ctx, pool, worker, erasureActor, since)
		return err
	})
	return all, err
}

func (o eraserOf) resume(ctx context.Context, is erasure.Erasure) (done erasure.Erasure, err error) {
	claim, err := tenant.OperatorClaim(is.CompanyID, erasureActor)
	if err != nil {
		return is, err
	}
	engine := o.cfg.Retention.engine(o.cfg.Ledger.ClickHouse.TLSCAFile)
	engine.ConnectionsMax = erasureConnections // several tables at a time
	conn, err := clickhouse.Open(engine)
	if err != nil {
		return is, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	done = is
	err = o.stores(ctx, func(pool *tenant.Pool, worker *tenant.Worker) error {
		e, err := erasure.New(erasure.Config{
			Pool: pool, Worker: worker, Registry: registry.NewStore(pool, worker), Client: o.client, Producer: o.producer,
			Rows: func(claim analytics.VerifiedTenant, visitorID []byte) (erasure.Rows, error) {
				return analytics.NewEraser(conn, claim, visitorID)
			},
			Settle: erasure.Settled(erasure.SettleConfig{Client: o.client, Group: sink.Group, Topics: sink.Topics(), Grace: settleGrace, AtMost: settleAtMost}),
			Signer: o.signer, Log: o.w.Log, Now: time.Now,
		})
		if err != nil {
			return err
		}
		done, err = e.Resume(ctx, claim, is)
		return err
	})
	return done, err
}
