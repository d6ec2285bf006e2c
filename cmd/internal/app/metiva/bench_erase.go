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

type benchErase struct {
	dataFlags
	Rows int    `default:"5000000" help:"Rows of events to fill; half of all rows are the erased tenant's."`
	Keep string `help:"Fill the tables in this folder, or use those that are there; the run erases from a copy."`
}

// Run measures and prints the steps, and the figures as JSON on the last line.
func (c *benchErase) Run(ctx context.Context, t terminal) error {
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
		BinDir: filepath.Dir(self), LibraryPath: library, Rows: c.Rows, Asks: 1,
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
	report, err := bench.RunErase(ctx, cfg)
	if err != nil {
		return err
	}
	return report.Write(t.out)
}
