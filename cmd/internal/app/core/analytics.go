package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/lifecycle"
)

const (
	readerURL = "METIVA_CLICKHOUSE_READER_URL"
	// countEvery is the pause between two looks for days to count, countAtOnce how many
	// it takes on in one.
	countEvery  = 5 * time.Minute
	countAtOnce = 200
)

// Analytics is how core reads ClickHouse for tenants. Without an address it does not.
type Analytics struct {
	// Reader has the address alone, as Retention.
	Reader config.ClickHouse
}

// Bind adds the settings.
func (a *Analytics) Bind(s *config.Set) {
	s.Secret(&a.Reader.URL, config.Option{Flag: "clickhouse-reader-url", Env: readerURL, Help: "ClickHouse as the user reader, for the questions of tenants; empty: none is answered."})
}

// Validate joins every fault.
func (a *Analytics) Validate(p *config.Process, caFile string) error {
	if a.Reader.URL.IsZero() {
		return nil
	}
	err := a.Reader.Validate(p)
	if err == nil {
		err = a.engine(caFile).Validate()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", readerURL, err)
	}
	return nil
}

func (a *Analytics) engine(caFile string) clickhouse.Config {
	return clickhouse.Config{URL: a.Reader.URL, TLSCAFile: caFile}
}

// checkReader opens the readers' connection and, in production, has the server's row
// policies checked: without them the process ends.
func (a *Analytics) checkReader(ctx context.Context, w *app.Watched, p *config.Process, caFile string) (err error) {
	if a.Reader.URL.IsZero() {
		return nil
	}
	conn, err := clickhouse.Open(a.engine(caFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if !p.InProduction() {
		return nil
	}
	var fault error
	err = w.Until(ctx, "clickhouse", func(ctx context.Context) error {
		_, err := analytics.CheckedReaders(ctx, conn)
		if errors.Is(err, analytics.ErrPolicies) {
			fault, err = err, nil // not a fault that passes by itself
		}
		return err
	})
	return errors.Join(err, fault)
}

// analyticsStage is the check at the start, and then the counter.
func analyticsStage(w *app.Watched, cfg *Config) lifecycle.Stage {
	return lifecycle.Stage{Name: "analytics", Run: func(ctx context.Context) error {
		if err := cfg.Analytics.checkReader(ctx, w, &cfg.Process, cfg.Ledger.ClickHouse.TLSCAFile); err != nil {
			return err
		}
		return countDays(ctx, w, clickhouse.Config{URL: cfg.Retention.ClickHouse.URL, TLSCAFile: cfg.Ledger.ClickHouse.TLSCAFile})
	}}
}

// countDays counts days until the context ends. A failure is only told: questions are
// answered without a counting too.
func countDays(ctx context.Context, w *app.Watched, engine clickhouse.Config) (err error) {
	if engine.URL.IsZero() {
		<-ctx.Done()
		return nil
	}
	conn, err := clickhouse.Open(engine)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	counter := analytics.NewCounter(conn)
	for {
		n, err := counter.Count(ctx, countAtOnce)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			w.Log.Warn("counting whole days", slog.Any("error", err))
		}
		if err == nil && n == countAtOnce {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(countEvery):
		}
	}
}
