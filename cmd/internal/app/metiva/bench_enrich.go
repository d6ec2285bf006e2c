package metiva

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/bench"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/pkg/obs"
)

type benchEnrich struct {
	dataFlags
	lists
	Geo        string `env:"METIVA_GEO_DIR" help:"Directory of the databases; default: geo in the cache."`
	Events     int    `default:"400000" help:"Events that are recorded and read in every round."`
	Rounds     int    `default:"5" help:"How often the copies and the worker read them, in turns."`
	ProfileDir string `help:"Also write CPU profiles of the worker, the copies and the chain into this folder."`
}

// Run measures and prints the table, and the figures as JSON on the last line. It
// fails when an event was lost on the way.
func (c *benchEnrich) Run(ctx context.Context, t terminal) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the binaries: %w", err)
	}
	dir, err := c.geoDir(c.Geo)
	if err != nil {
		return err
	}
	files, err := geo.FilesIn(dir)
	if err != nil {
		return err
	}
	databases, err := geo.OpenDatabases(files)
	if err != nil {
		return err
	}
	defer func() { _ = databases.Close() }()
	chain, err := c.chain()
	if err != nil {
		return err
	}
	cfg := bench.EnrichConfig{
		BinDir: filepath.Dir(self), Databases: databases, Chain: chain, Events: c.Events, Rounds: c.Rounds,
		ProfileDir: c.ProfileDir, Progress: t.err, Log: obs.NewLogger(t.err, "bench", slog.LevelWarn),
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%w:\n%w", app.ErrConfiguration, err)
	}
	report, err := bench.RunEnrich(ctx, cfg)
	if err != nil {
		return err
	}
	return report.Write(t.out)
}
