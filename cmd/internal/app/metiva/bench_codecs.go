package metiva

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/bench"
	"github.com/metiva-io/metiva/pkg/obs"
)

type benchCodecs struct {
	dataFlags
	Rows int `default:"5000000" help:"Rows that are written, and written again with every candidate."`
}

// Run weighs the columns and prints the tables, and the sums as JSON on the last line.
func (c *benchCodecs) Run(ctx context.Context, t terminal) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the binaries: %w", err)
	}
	cache, err := c.cacheDir()
	if err != nil {
		return err
	}
	cfg := bench.CodecsConfig{
		BinDir: filepath.Dir(self), LibraryPath: filepath.Join(cache, "engines", "node_modules", "@chdb", "lib-linux-x64-gnu", "libchdb.so"),
		Rows: c.Rows, Progress: t.err, Log: obs.NewLogger(t.err, "bench", slog.LevelWarn),
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%w:\n%w", app.ErrConfiguration, err)
	}
	report, err := bench.RunCodecs(ctx, cfg)
	if err != nil {
		return err
	}
	return report.Write(t.out)
}
