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
	readerURL  = "METIVA_CLICKHOUSE_READER_URL"
	counterURL = "METIVA_CLICKHOUSE_COUNTER_URL"
	// countEvery is the pause between two looks for days to count, countAtOnce how many
	// it takes on in one.
	countEvery  = 5 * time.Minute
	countAtOnce = 200
)

// Analytics is how core reads ClickHouse for tenants, and counts whole days. Without the
// address of either it does not.
type Analytics struct {
	Reader, Counter config.ClickHouse
}

// Bind adds the settings.
func (a *Analytics) Bind(s *config.Set) {
	s.Secret(&a.Reader.URL, config.Option{Flag: "clickhouse-reader-url", Env: readerURL, Help: "ClickHouse as the user reader, for the questions of tenants; empty: none is answered."})
	s.Secret(&a.Counter.URL, config.Option{Flag: "clickhouse-counter-url", Env: counterURL, Help: "ClickHouse as the user migrate, to count whole days; empty: none is counted."})
}

// Validate joins every fault.
func (a *Analytics) Validate(p *config.Process) error {
	var faults []error
	for name, c := range map[string]*config.ClickHouse{readerURL: &a.Reader, counterURL: &a.Counter} {
		if c.URL.IsZero() {
			continue
		}
		err := c.Validate(p)
		if err == nil {
			err = (clickhouse.Config{URL: c.URL}).Validate()
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(faults...)
}

// checkReader opens the readers' connection and, in production, has the server's row
// policies checked: without them the process ends.
func (a *Analytics) checkReader(ctx context.Context, w *app.Watched, p *config.Process) (err error) {
	if a.Reader.URL.IsZero() {
		return nil
	}
	conn, err := clickhouse.Open(clickhouse.Config{URL: a.Reader.URL})
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

// stages are the check at the start and the counter.
func (a *Analytics) stages(w *app.Watched, p *config.Process) []lifecycle.Stage {
	return []lifecycle.Stage{
		{Name: "analytics", Run: func(ctx context.Context) error {
			if err := a.checkReader(ctx, w, p); err != nil {
				return err
			}
			return a.count(ctx, w)
		}},
	}
}

// count counts days until the context ends. A failure is only told: questions are
// answered without a counting too.
func (a *Analytics) count(ctx context.Context, w *app.Watched) (err error) {
	if a.Counter.URL.IsZero() {
		<-ctx.Done()
		return nil
	}
	conn, err := clickhouse.Open(clickhouse.Config{URL: a.Counter.URL})
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
