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

type benchOutage struct {
	Rate        float64       `default:"2000" help:"Events a second, one in each request."`
	Connections int           `default:"256" help:"Connections that are kept alive."`
	Calm        time.Duration `default:"5s" help:"Length of the phases in which nothing happens."`
	Stall       time.Duration `default:"4s" help:"How long Kafka's process is stopped."`
	Away        time.Duration `default:"30s" help:"How long Kafka is gone."`
	Duration    time.Duration `default:"5m" help:"The run fails when it takes longer."`
}

// Run drives the load and prints what it found, as JSON on the last line. It
// fails when an answer was not 2xx, when something is lost or invented or doubled
// without a mark, or when the ledger does not balance; a latency is no fault.
func (c *benchOutage) Run(ctx context.Context, t terminal) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the binaries: %w", err)
	}
	cfg := bench.OutageConfig{
		BinDir: filepath.Dir(self), Rate: c.Rate, Connections: c.Connections, Calm: c.Calm, Stall: c.Stall, Away: c.Away,
		Duration: c.Duration, Progress: t.err, Log: obs.NewLogger(t.err, "bench", slog.LevelWarn),
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%w:\n%w", app.ErrConfiguration, err)
	}
	report, err := bench.RunOutage(ctx, cfg)
	if err != nil {
		return err
	}
	if err := report.Write(t.out); err != nil {
		return err
	}
	return report.Check()
}
