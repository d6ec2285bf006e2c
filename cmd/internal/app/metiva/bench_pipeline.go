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

type benchPipeline struct {
	dataFlags
	Geo        string  `env:"METIVA_GEO_DIR" help:"Directory of the databases; default: geo in the cache."`
	Rate       float64 `default:"1000" help:"Events a second, one in each request."`
	Seconds    float64 `default:"20" help:"How long they are sent, after 3 s that do not count."`
	Away       float64 `default:"0" help:"Seconds to send on without a ClickHouse, to see what the sink holds meanwhile and how fast it catches up."`
	Events     int     `default:"160000" help:"Events that are recorded, and written in every round."`
	Rounds     int     `default:"3" help:"How often the sink and the bare loop write them, in turns."`
	ProfileDir string  `help:"Also write profiles of CPU and allocations of the sink and of the bare loop into this folder."`
}

// Run measures and prints the tables, and the figures as JSON on the last line. It
// fails when an event was lost or doubled.
func (c *benchPipeline) Run(ctx context.Context, t terminal) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the binaries: %w", err)
	}
	dir, err := c.geoDir(c.Geo)
	if err != nil {
		return err
	}
	cache, err := c.cacheDir()
	if err != nil {
		return err
	}
	cfg := bench.PipelineConfig{
		BinDir: filepath.Dir(self), LibraryPath: filepath.Join(cache, "engines", "node_modules", "@chdb", "lib-linux-x64-gnu", "libchdb.so"),
		GeoDir: dir, Rate: c.Rate, Seconds: c.Seconds, AwaySeconds: c.Away, Events: c.Events, Rounds: c.Rounds, ProfileDir: c.ProfileDir,
		Progress: t.err, Log: obs.NewLogger(t.err, "bench", slog.LevelWarn),
	}
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("%w:\n%w", app.ErrConfiguration, err)
	}
	report, err := bench.RunPipeline(ctx, cfg)
	if err != nil {
		return err
	}
	if err := report.Write(t.out); err != nil {
		return err
	}
	return report.Check()
}
