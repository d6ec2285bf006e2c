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
	"github.com/metiva-io/metiva/pkg/core/ledgercheck"
	"github.com/metiva-io/metiva/pkg/lifecycle"
)

// operatorURL is the setting of the connection that counts over all tenants. It is
// none of those that answer a tenant, whose role sees one tenant's rows.
const operatorURL = "METIVA_CLICKHOUSE_OPERATOR_URL"

// Ledger is how core compares the ledger. Without an address it does not.
type Ledger struct {
	ClickHouse config.ClickHouse
	Check      ledgercheck.Config
}

// Bind adds the settings of the comparison.
func (l *Ledger) Bind(s *config.Set) {
	s.Secret(&l.ClickHouse.URL, config.Option{Flag: "clickhouse-operator-url", Env: operatorURL, Help: "ClickHouse as the user ingest, to compare the ledger of all tenants; empty: it is not compared."})
	s.String(&l.ClickHouse.TLSCAFile, config.Option{Flag: "clickhouse-tls-ca-file", Env: "METIVA_CLICKHOUSE_TLS_CA_FILE", Help: "PEM file of the authority that signed ClickHouse's certificate; empty for the system's."})
	s.Duration(&l.Check.Interval, config.Option{Flag: "ledger-check-every", Env: "METIVA_LEDGER_CHECK_EVERY", Default: "5m", Help: "Pause between two comparisons of the ledger."})
	s.Duration(&l.Check.Settle, config.Option{Flag: "ledger-settle", Env: "METIVA_LEDGER_SETTLE", Default: "10m", Help: "Age at which an event must have its row."})
	s.Duration(&l.Check.Window, config.Option{Flag: "ledger-window", Env: "METIVA_LEDGER_WINDOW", Default: "3h", Help: "How far back every hour is compared each time; hours that do not balance are compared again for seven days."})
	s.Duration(&l.Check.LateEvery, config.Option{Flag: "ledger-late-every", Env: "METIVA_LEDGER_LATE_EVERY", Default: "24h", Help: "Pause between two comparisons of every hour of the last seven days, for events that came later than the window."})
}

// Validate joins every fault.
func (l *Ledger) Validate(p *config.Process) error {
	faults := []error{l.Check.Validate()}
	if !l.ClickHouse.URL.IsZero() {
		err := l.ClickHouse.Validate(p)
		if err == nil {
			err = l.engine().Validate()
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", operatorURL, err))
		}
	}
	return errors.Join(faults...)
}

func (l *Ledger) engine() clickhouse.Config {
	return clickhouse.Config{URL: l.ClickHouse.URL, TLSCAFile: l.ClickHouse.TLSCAFile}
}

// stage is the comparison as a part of the process, and what closes its connection.
func (l *Ledger) stage(w *app.Watched) (stage lifecycle.Stage, closeConn func(), err error) {
	stage.Name = "ledger"
	if l.ClickHouse.URL.IsZero() {
		w.Log.Warn("the ledger is not compared: set " + operatorURL)
		stage.Run = func(ctx context.Context) error { <-ctx.Done(); return nil }
		return stage, func() {}, nil
	}
	conn, err := clickhouse.Open(l.engine())
	if err != nil {
		return stage, nil, err
	}
	checker, err := ledgercheck.New(l.Check, ledgercheck.Deps{
		Ledger: analytics.NewOperator(conn), Now: time.Now, Log: w.Log, Registerer: w.Registry,
	})
	if err != nil {
		return stage, nil, errors.Join(err, conn.Close())
	}
	stage.Run = checker.Run
	return stage, func() { _ = conn.Close() }, nil
}
