package metiva

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/cmd/metiva/demosite"
	"github.com/metiva-io/metiva/collector/snippet"
)

// upCommand runs everything until the context ends.
type upCommand struct {
	storeFlags
	CollectorPort int `name:"collector-port" default:"7700" help:"Preferred port of the collector."`
	DemoPort      int `name:"demo-port" default:"7710" help:"Preferred port of the first demo website."`
}

// Run starts, prints where everything is, and waits.
func (c *upCommand) Run(ctx context.Context, t terminal) error {
	cfg, err := c.stackConfig(t)
	if err != nil {
		return err
	}
	cfg.CollectorPort, cfg.DemoPort = c.CollectorPort, c.DemoPort
	began := time.Now()
	return stack.Run(ctx, cfg, func(ctx context.Context, s *stack.Stack) error {
		demo, err := s.SeedDemo(ctx)
		if err != nil {
			return err
		}
		return serveDemoSites(ctx, s, demo, func() {
			printWhere(t, s, demo, time.Since(began))
			<-ctx.Done()
			t.printf("\nstopping: what is on its way is written first\n")
		})
	})
}

// stackConfig turns the flags into the configuration of the stack.
func (f storeFlags) stackConfig(t terminal) (stack.Config, error) {
	cache, err := f.cacheDir()
	if err != nil {
		return stack.Config{}, err
	}
	urls := stack.PostgresURLs{Migrate: f.PostgresOwner, RW: f.PostgresRW, Worker: f.PostgresWorker}
	if urls.Migrate.IsZero() != urls.RW.IsZero() || urls.RW.IsZero() != urls.Worker.IsZero() {
		return stack.Config{}, fmt.Errorf("%w: METIVA_POSTGRES_URL, METIVA_POSTGRES_WORKER_URL and METIVA_POSTGRES_MIGRATE_URL go together: set all three, or none for the embedded Postgres", app.ErrConfiguration)
	}
	self, err := os.Executable()
	if err != nil {
		return stack.Config{}, fmt.Errorf("finding the binaries: %w", err)
	}
	return stack.Config{
		DataDir: f.Data, CacheDir: cache, BinDir: filepath.Dir(self),
		Kafka: f.kafkaConfig(f.KafkaBrokers), ClickHouseURL: f.ClickHouseURL, Postgres: urls,
		Progress: t.out,
	}, nil
}

const demoHeaderTimeout = 5 * time.Second

// serveDemoSites serves each demo site's pages while do runs.
func serveDemoSites(ctx context.Context, s *stack.Stack, demo stack.Demo, do func()) error {
	var servers []*http.Server
	var lc net.ListenConfig
	for _, site := range demo.Sites {
		cfg := demosite.Config{CollectorURL: s.Addresses().CollectorURL, SiteKey: site.SiteKey, Name: site.Name, Origin: site.Origin}
		if err := cfg.Validate(); err != nil {
			return fmt.Errorf("serving a demo website: %w", err)
		}
		ln, err := lc.Listen(ctx, "tcp", site.Listen)
		if err != nil {
			return fmt.Errorf("serving a demo website: %w", err)
		}
		srv := &http.Server{
			Handler:           demosite.Handler(cfg),
			ReadHeaderTimeout: demoHeaderTimeout,
		}
		servers = append(servers, srv)
		go func() { _ = srv.Serve(ln) }()
	}
	do()
	var errs []error
	for _, srv := range servers {
		errs = append(errs, srv.Close())
	}
	return errors.Join(errs...)
}

func printWhere(t terminal, s *stack.Stack, demo stack.Demo, took time.Duration) {
	a := s.Addresses()
	t.printf("\nmetiva is up after %.1f s. Ctrl-C drains and stops it.\n\n", took.Seconds())
	t.printf("  collector      %s\n", a.CollectorURL)
	t.printf("  snippet        %s/v1/s.js\n", a.CollectorURL)
	t.printf("  pinned         %s  integrity %s\n", pinnedURL(a.CollectorURL), snippet.Integrity(snippet.Script()))
	for _, site := range demo.Sites {
		t.printf("  demo website   %s  (%s, tenant %s, key %s)\n", site.Origin, site.Name, site.CompanyID, site.SiteKey)
	}
	for _, name := range []string{stack.Collector, stack.Enrich, stack.Sink, stack.Core} {
		t.printf("  %-14s %s/metrics\n", name+" admin", a.AdminURLs[name])
	}
	t.printf("  kafka          %s\n", a.KafkaBrokers[0])
	t.printf("  data           %s\n", s.DataDir())
	t.printf("  logs           %s\n\n", a.LogDir)
	flag := ""
	if usual, err := filepath.Abs("var"); err != nil || usual != s.DataDir() {
		flag = " --data " + s.DataDir()
	}
	t.printf("  companies that visited:  bin/metiva companies --company %s%s\n", demo.Sites[0].CompanyID, flag)
	t.printf("  the ledger:              bin/metiva ledger%s\n", flag)
}
