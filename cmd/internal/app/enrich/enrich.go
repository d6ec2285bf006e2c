package enrich

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/keeper"
	"github.com/metiva-io/metiva/cmd/internal/config"
	stage "github.com/metiva-io/metiva/enrich"
	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/reload"
	"github.com/metiva-io/metiva/enrich/reversedns"
	"github.com/metiva-io/metiva/enrich/scorer"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/lifecycle"
)

// Config is the configuration of the enrich process.
type Config struct {
	Process config.Process
	Kafka   config.Kafka
	Keys    config.Keys
	KMS     config.KMS
	GeoDir  string
	Lists   company.Lists
	// ReferrerSpam is the file of the operator's list; none when empty.
	ReferrerSpam string
	// ReloadEvery is the pause between two looks at the files above; 0 is never.
	ReloadEvery time.Duration
	Enrich      stage.Config
	// Reverse asks for the names of networks; off while it has no resolver.
	Reverse reversedns.Config
	Score   scorer.Config
}

// Bind adds every setting of the process.
func (c *Config) Bind(s *config.Set) {
	c.Process.Bind(s)
	c.Kafka.Bind(s)
	c.Keys.Bind(s)
	c.KMS.Bind(s)
	s.String(&c.GeoDir, config.Option{Flag: "geo-dir", Env: "METIVA_GEO_DIR", Help: "Directory of the address databases, every *.mmdb of it (metiva geo build makes asn.mmdb and country.mmdb)."})
	s.String(&c.Lists.Suppressions, config.Option{Flag: "suppressions", Env: "METIVA_ENRICH_SUPPRESSIONS", Help: "File of networks that are never resolved, a line each: prefix, and list (operator, opt_out or a tenant's id)."})
	s.String(&c.Lists.Rows, config.Option{Flag: "company-rows", Env: "METIVA_ENRICH_COMPANY_ROWS", Help: "CSV of who uses a network: network,name,domain,type,source."})
	s.String(&c.ReferrerSpam, config.Option{Flag: "referrer-spam", Env: "METIVA_ENRICH_REFERRER_SPAM", Help: "File of hosts whose referrals are spam, a host a line."})
	s.Duration(&c.ReloadEvery, config.Option{Flag: "reload-every", Env: "METIVA_ENRICH_RELOAD_EVERY", Default: "30s", Help: "How often the address databases and the lists are looked at; changed ones are checked and taken without a stop. 0: they are read at the start only."})
	bindScore(&c.Score, s)
	BindReverse(&c.Reverse, s)
	s.Int(&c.Enrich.BatchRecordsMax, config.Option{Flag: "batch-records-max", Env: "METIVA_ENRICH_BATCH_RECORDS_MAX", Default: "1000", Help: "Records of one batch."})
	s.Duration(&c.Enrich.BatchWaitMax, config.Option{Flag: "batch-wait-max", Env: "METIVA_ENRICH_BATCH_WAIT_MAX", Default: "20ms", Help: "How long a batch waits for more records after its first."})
	s.Duration(&c.Enrich.SubjectKeyAgeMax, config.Option{Flag: "subject-key-age-max", Env: "METIVA_ENRICH_SUBJECT_KEY_AGE_MAX", Default: "192h", Help: "How old the key of a form's capture may be for the capture to be enriched; younger keys are held in memory."})
	s.Duration(&c.Enrich.Visits.SendEvery, config.Option{Flag: "visit-send-every", Env: "METIVA_ENRICH_VISIT_SEND_EVERY", Default: "5s", Help: "How often visits that have changed are sent."})
	s.Duration(&c.Enrich.Visits.CheckpointEvery, config.Option{Flag: "visit-checkpoint-every", Env: "METIVA_ENRICH_VISIT_CHECKPOINT_EVERY", Default: "1m", Help: "How often the state of visits is written; after a crash the events since are read again."})
	s.Int(&c.Enrich.Visits.Limits.BytesMax, config.Option{Flag: "visit-bytes-max", Env: "METIVA_ENRICH_VISIT_BYTES_MAX", Default: "33554432", Help: "Memory of visits that may still change, bytes for each of the 16 partitions."})
	s.Int(&c.Enrich.Visits.Limits.EntriesMax, config.Option{Flag: "visit-entries-max", Env: "METIVA_ENRICH_VISIT_ENTRIES_MAX", Default: "2000", Help: "Events of one visitor or visit key that are held; the oldest beyond are folded into sums."})
}

// dataFiles are the files that are read again when they change.
func (c *Config) dataFiles() reload.Config {
	return reload.Config{GeoDir: c.GeoDir, Lists: c.Lists, ReferrerSpam: c.ReferrerSpam, Every: c.ReloadEvery}
}

// Validate joins every fault.
func (c *Config) Validate() error {
	_, keyFault := app.CheckResolvers(&c.Keys, &c.Process, &c.KMS)
	faults := []error{c.Process.Validate(), c.Kafka.Validate(&c.Process), keyFault, keeper.Validate(&c.KMS), c.Enrich.Validate(), c.Reverse.Validate(), c.Score.Validate()}
	if c.GeoDir == "" {
		faults = append(faults, errors.New("METIVA_GEO_DIR is missing: set the directory with the address databases"))
	} else if err := c.dataFiles().Validate(); err != nil {
		faults = append(faults, fmt.Errorf("METIVA_GEO_DIR, METIVA_ENRICH_SUPPRESSIONS, METIVA_ENRICH_COMPANY_ROWS, METIVA_ENRICH_REFERRER_SPAM or METIVA_ENRICH_RELOAD_EVERY: %w", err))
	}
	return errors.Join(faults...)
}

// Run is the enrich process.
func Run(ctx context.Context, sys app.System) error {
	var cfg Config
	set := config.NewSet("enrich")
	cfg.Bind(set)
	if err := app.Configure(sys, set, &cfg.Process, cfg.Validate); err != nil {
		return err
	}
	w := app.Watch(sys, &cfg.Process, "enrich", "kafka", "control_tables", "score_tables")
	resolvers, err := app.CheckResolvers(&cfg.Keys, &cfg.Process, &cfg.KMS)
	if err != nil {
		return err
	}
	if resolvers, err = keeper.Open(ctx, &cfg.KMS, w.Log, resolvers); err != nil {
		return err
	}
	opener, err := app.NewOpener(resolvers)
	if err != nil {
		return err
	}
	data, err := reload.Open(cfg.dataFiles(), w.Log, w.Registry)
	if err != nil {
		return err
	}
	defer func() { _ = data.Close() }()
	w.WarnOfExposed(resolvers...)
	client, err := kafka.NewClient(cfg.Kafka.Client("enrich"), w.Log, w.Registry)
	if err != nil {
		return err
	}
	names, err := NewReverse(cfg.Reverse, w.Registry)
	if err != nil {
		return err
	}
	defer func() { _ = names.Close() }()
	worker, err := stage.New(cfg.Enrich, stage.Deps{
		Kafka: client, Opener: opener, Databases: data.Databases(), Chain: data.Lists().Chain, Sources: data.Lists().Sources, Reverse: names,
		Log: w.Log, Registerer: w.Registry, Now: time.Now,
	})
	if err != nil {
		return err
	}
	scores, err := scorerStage(w, client, cfg.Score)
	if err != nil {
		return err
	}
	return w.Run(ctx, lifecycle.Stage{Name: "worker", Run: func(ctx context.Context) error {
		if err := w.Until(ctx, "kafka", client.Ping); err != nil {
			return err
		}
		go func() {
			select {
			case <-worker.Ready():
				w.Ready.Set("control_tables", nil)
			case <-ctx.Done():
			}
		}()
		return worker.Run(ctx)
	}}, lifecycle.Stage{Name: "data files", Run: func(ctx context.Context) error {
		return data.Run(ctx, func(l reload.Lists) { worker.SetLists(l.Chain, l.Sources) })
	}}, scores)
}
