package metiva

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/bench"
	"github.com/metiva-io/metiva/pkg/obs"
)

// benchCommand measures parts of the product on this machine.
type benchCommand struct {
	Collector benchCollector `cmd:"" help:"Measure the collector beside a bare handler, on loopback, with an embedded Kafka; takes about 75 s."`
	Companies benchCompanies `cmd:"" help:"Decide about the labelled set of addresses, and print precision, recall and coverage by reason."`
	Enrich    benchEnrich    `cmd:"" help:"Measure the enrich worker beside two bare copies of its topic (by our own client, and by the library as it comes), with an embedded Kafka, and each of its steps; takes about a minute and a quarter."`
	Outage    benchOutage    `cmd:"" help:"Drive events through two collectors while Kafka stalls and goes away and they are restarted, and compare what was answered with what is in Kafka."`
	Pipeline  benchPipeline  `cmd:"" help:"Send events through collector, enrich and sink into the embedded ClickHouse, look when each can be queried, and measure the sink beside a bare loop that inserts the same rows; takes about a minute."`
	Reads     benchReads     `cmd:"" help:"Fill an embedded ClickHouse and measure every question a tenant may ask, as the largest tenant."`
	Erase     benchErase     `cmd:"" help:"Fill an embedded ClickHouse, erase a visitor of the largest tenant and then the tenant, and say how long each step took; takes some minutes."`
	Codecs    benchCodecs    `cmd:"" help:"Write five million rows with every codec that is in question for a column of events, and weigh the columns; takes some minutes."`
	Bare      benchBare      `cmd:"" hidden:"" help:"Serve the bare handler; used by bench collector."`
}

type benchCollector struct {
	Rounds      int               `default:"3" help:"How often each measurement is repeated, in turns."`
	Seconds     float64           `default:"2" help:"Length of each measurement; there are nine in a round."`
	Connections int               `default:"512" help:"Connections that are kept alive."`
	ProfileDir  string            `help:"Also write a CPU and an allocation profile of the collector under load into this folder."`
	Set         map[string]string `help:"Further settings of the collector, NAME=VALUE." mapsep:","`
}

// Run measures and prints the table, and the figures as JSON on the last line.
// It fails when an event was not accepted: the figures would not be comparable.
func (c *benchCollector) Run(ctx context.Context, t terminal) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the binaries: %w", err)
	}
	cfg := bench.Config{
		BinDir: filepath.Dir(self), Rounds: c.Rounds, Measure: time.Duration(c.Seconds * float64(time.Second)), Connections: c.Connections,
		ProfileDir: c.ProfileDir, CollectorEnv: c.Set, Progress: t.err, Log: obs.NewLogger(t.err, "bench", slog.LevelWarn),
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%w:\n%w", app.ErrConfiguration, err)
	}
	report, err := bench.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if err := report.Write(t.out); err != nil {
		return err
	}
	if report.Accepted != report.Sent {
		return fmt.Errorf("measuring the collector: it accepted %d of %d events", report.Accepted, report.Sent)
	}
	return nil
}

type benchBare struct {
	Listen string `required:"" help:"Loopback address and port."`
}

// Run serves until the context ends.
func (c *benchBare) Run(ctx context.Context, t terminal) error {
	return bench.ServeBare(ctx, c.Listen, obs.NewLogger(t.err, "bare", slog.LevelWarn))
}
