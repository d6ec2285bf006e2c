package metiva

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/keeper"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/cmd/internal/stack"
	stage "github.com/metiva-io/metiva/enrich"
	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/reload"
	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/obs"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// replayCommand enriches events again that are still in Kafka.
type replayCommand struct {
	storeFlags
	kmsFlags
	reverseFlags
	From          string        `required:"" help:"From this moment on, by when the records came to events.collected: RFC 3339 or a time ago (36h)."`
	To            string        `required:"" help:"Before this moment, RFC 3339 or a time ago."`
	Tenant        string        `help:"One tenant (cmp_…); all when left out."`
	DryRun        bool          `help:"Say how many events of which tenants and days would be enriched again, and write nothing."`
	EventsOnly    bool          `help:"Leave visits and scores as they are."`
	Partial       bool          `help:"Replay what is left of a range that retention has begun to remove."`
	Restart       bool          `help:"Begin anew where a replay of the same range was stopped."`
	SettledFor    time.Duration `default:"1h" help:"How long ago --to must be at least: visits that go on would be written over."`
	VisitBytesMax int           `default:"268435456" help:"Memory for visits, bytes."`
	KeysDir       string        `name:"keys-dir" env:"METIVA_KEYS_DIR" help:"Directory with enrich's key files."`
	Geo           string        `env:"METIVA_GEO_DIR" help:"Directory of the address databases."`
	Suppressions  string        `env:"METIVA_ENRICH_SUPPRESSIONS" help:"File of networks that are never resolved."`
	CompanyRows   string        `env:"METIVA_ENRICH_COMPANY_ROWS" help:"CSV of who uses a network."`
	ReferrerSpam  string        `env:"METIVA_ENRICH_REFERRER_SPAM" help:"File of hosts whose referrals are spam."`
	Environment   string        `name:"environment" env:"METIVA_ENV" default:"production" hidden:"" help:"production or development."`
}

// errReplay: the report says what is left.
var errReplay = errors.New("the replay has left something out")

// Run replays and prints a report as JSON. It fails when visits were left out for
// want of memory.
func (c *replayCommand) Run(ctx context.Context, t terminal) (err error) {
	now := time.Now()
	r, err := c.replay(now)
	if err != nil {
		return err
	}
	if err := c.find(); err != nil {
		return err
	}
	log := obs.NewLogger(t.err, "replay", slog.LevelWarn)
	client, err := kafka.NewClient(c.kafkaConfig(c.KafkaBrokers), log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := client.Ping(ctx); err != nil {
		return err
	}
	var report stage.ReplayReport
	if c.DryRun {
		report, err = stage.CountReplay(ctx, client, r, now)
	} else {
		report, err = c.work(ctx, t, log, client, r)
	}
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(t.out)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(report); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	if report.Beyond > 0 {
		return fmt.Errorf("%w: %d visits had no room; raise --visit-bytes-max or take a shorter range", errReplay, report.Beyond)
	}
	return nil
}

// replay is what the flags ask for.
func (c *replayCommand) replay(now time.Time) (stage.Replay, error) {
	r := stage.Replay{Company: c.Tenant, Partial: c.Partial, Restart: c.Restart, SettledFor: c.SettledFor, VisitBytesMax: c.VisitBytesMax}
	var faults []error
	var err error
	if r.From, err = momentOf(c.From, now); err != nil {
		faults = append(faults, fmt.Errorf("--from: %w", err))
	}
	if r.To, err = momentOf(c.To, now); err != nil {
		faults = append(faults, fmt.Errorf("--to: %w", err))
	}
	// A name that stays the same when the command is given again.
	r.From, r.To = r.From.Truncate(time.Second), r.To.Truncate(time.Second)
	if len(faults) == 0 {
		if err := r.Validate(now); err != nil {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return r, fmt.Errorf("%w:\n%w", app.ErrConfiguration, err)
	}
	return r, nil
}

// find fills in where the stack in the data directory has everything.
func (c *replayCommand) find() error {
	if len(c.KafkaBrokers) > 0 {
		return nil
	}
	running, err := stack.Find(c.Data)
	if err != nil {
		return err
	}
	c.KafkaBrokers, c.Environment = running.KafkaBrokers, config.Development
	if c.KeysDir == "" {
		c.KeysDir = running.KeysDir
	}
	if c.Geo == "" {
		c.Geo = running.GeoDir
	}
	return nil
}

// work makes a worker as enrich's process does, and replays with it.
func (c *replayCommand) work(ctx context.Context, t terminal, log *slog.Logger, client *kafka.Client, r stage.Replay) (stage.ReplayReport, error) {
	var none stage.ReplayReport
	process, settings := &config.Process{Env: c.Environment}, c.settings()
	resolvers, err := app.CheckResolvers(&config.Keys{Dir: c.KeysDir}, process, settings)
	if err != nil {
		return none, fmt.Errorf("%w: %w", app.ErrConfiguration, err)
	}
	if resolvers, err = keeper.Open(ctx, settings, log, resolvers); err != nil {
		return none, err
	}
	opener, err := app.NewOpener(resolvers)
	if err != nil {
		return none, err
	}
	if c.Geo == "" {
		return none, fmt.Errorf("%w: METIVA_GEO_DIR is missing: set the directory with the address databases", app.ErrConfiguration)
	}
	data, err := reload.Open(reload.Config{GeoDir: c.Geo, Lists: company.Lists{Suppressions: c.Suppressions, Rows: c.CompanyRows}, ReferrerSpam: c.ReferrerSpam}, log, prometheus.NewRegistry())
	if err != nil {
		return none, err
	}
	defer func() { _ = data.Close() }()
	names, err := c.resolver()
	if err != nil {
		return none, err
	}
	defer func() { _ = names.Close() }()
	worker, err := stage.New(stage.Config{}, stage.Deps{
		Kafka: client, Opener: opener, Databases: data.Databases(), Chain: data.Lists().Chain, Sources: data.Lists().Sources, Reverse: names,
		Log: log, Registerer: prometheus.NewRegistry(), Now: time.Now,
	})
	if err != nil {
		return none, err
	}
	r.Note = func(partition int, done, of int64) {
		_, _ = fmt.Fprintf(t.err, "partition %d: %d of %d records\n", partition, done, of)
	}
	if c.EventsOnly {
		return worker.Replay(ctx, r)
	}
	var report stage.ReplayReport
	err = c.withClickHouse(func(conn *clickhouse.Conn) (err error) {
		r.Standing = standingIn(analytics.NewOperator(conn))
		report, err = worker.Replay(ctx, r)
		return err
	})
	return report, err
}

// standingIn asks ClickHouse which visits stand.
func standingIn(o *analytics.Operator) func(context.Context, []*metivav1.Visit) (map[visit.ID]stage.StandingVisit, error) {
	return func(ctx context.Context, visits []*metivav1.Visit) (map[visit.ID]stage.StandingVisit, error) {
		refs := make([]analytics.VisitRef, len(visits))
		for i, v := range visits {
			refs[i] = analytics.VisitRef{CompanyID: v.GetCompanyId(), VisitID: [schemas.IDBytes]byte(v.GetVisitId()), StartedAt: time.UnixMilli(v.GetStartedAtMs())}
		}
		found, err := o.StandingVisits(ctx, refs)
		if err != nil {
			return nil, err
		}
		out := make(map[visit.ID]stage.StandingVisit, len(found))
		for id, v := range found {
			out[id] = stage.StandingVisit(v)
		}
		return out, nil
	}
}
