package metiva

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/bench"
	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/pkg/obs"
)

type benchReads struct {
	dataFlags
	Rows int      `default:"5000000" help:"Rows of events to fill; visits are about a third of them, and half of all are the asking tenant's."`
	Asks int      `default:"60" help:"How often each question is asked, with other parameters each time."`
	Keep string   `help:"Keep the filled tables in this folder, and use those that are there."`
	Only []string `help:"Ask only these questions."`
}

// Run measures and prints the table, and the figures as JSON on the last line.
func (c *benchReads) Run(ctx context.Context, t terminal) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the binaries: %w", err)
	}
	cache, err := c.cacheDir()
	if err != nil {
		return err
	}
	library, err := stack.ClickHouseLibrary(cache)
	if err != nil {
		return err
	}
	cfg := bench.ReadsConfig{
		BinDir: filepath.Dir(self), LibraryPath: library, Rows: c.Rows, Asks: c.Asks, Only: c.Only,
		Progress: t.err, Log: obs.NewLogger(t.err, "bench", slog.LevelWarn),
	}
	if c.Keep != "" {
		if cfg.KeepDir, err = filepath.Abs(c.Keep); err != nil {
			return fmt.Errorf("finding the folder to keep tables in: %w", err)
		}
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%w:\n%w", app.ErrConfiguration, err)
	}
	report, err := bench.RunReads(ctx, cfg)
	if err != nil {
		return err
	}
	return report.Write(t.out)
}
