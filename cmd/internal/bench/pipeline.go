package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// PipelineConfig is the size of a run of RunPipeline.
type PipelineConfig struct {
	// BinDir holds the binaries metiva, collector, enrich and sink.
	BinDir string
	// LibraryPath is libchdb.so, GeoDir the folder of the address databases.
	LibraryPath, GeoDir string
	// Rate is how many events a second are sent, one in each request, whatever the
	// answers do; Seconds how long, after PipelineWarm.
	Rate    float64
	Seconds float64
	// AwaySeconds is how long the events flow on after that without a ClickHouse, which
	// then comes back; 0 leaves this out.
	AwaySeconds float64
	// Events are recorded once and written in every round of the sink and of the
	// bare loop; Rounds is how often.
	Events, Rounds int
	// ProfileDir, when given, gets CPU profiles of the sink and of the bare loop,
	// taken in a round of their own that is not part of the figures.
	ProfileDir string
	// Progress receives one line for each step.
	Progress io.Writer
	Log      *slog.Logger
}

const (
	// pipelineWarm is how long events flow before their freshness counts: the first
	// of them make keys and plans.
	pipelineWarm       = 3 * time.Second
	pipelineSecondsMax = 600
)

// Validate reports every fault.
func (c PipelineConfig) Validate() error {
	var faults []error
	if c.BinDir == "" || c.LibraryPath == "" || c.GeoDir == "" || c.Log == nil || c.Progress == nil {
		faults = append(faults, errors.New("bench: the folder with the binaries, the engine's library, the databases, the log or the progress is missing"))
	}
	if c.Rate < 1 || c.Rate > rateMax {
		faults = append(faults, fmt.Errorf("bench: between 1 and %d events a second can be sent", rateMax))
	}
	if c.Seconds < 1 || c.Seconds > pipelineSecondsMax {
		faults = append(faults, fmt.Errorf("bench: between 1 and %d seconds can be sent", pipelineSecondsMax))
	}
	if c.AwaySeconds < 0 || c.AwaySeconds > pipelineSecondsMax {
		faults = append(faults, fmt.Errorf("bench: clickhouse can be away for %d seconds at most", pipelineSecondsMax))
	}
	if c.Rounds < 1 || c.Rounds > roundsMax {
		faults = append(faults, fmt.Errorf("bench: rounds must be between 1 and %d", roundsMax))
	}
	if c.Events < eventsMin || c.Events > eventsMax {
		faults = append(faults, fmt.Errorf("bench: events must be between %d and %d", eventsMin, eventsMax))
	}
	return errors.Join(faults...)
}

// RunPipeline sends events through a collector, enrich and a sink into ClickHouse,
// all as processes of their own, and looks when each can be queried; then it has the
// sink and a bare loop write the same rows in turns. Everything it started has ended
// when it returns, whatever the error.
func RunPipeline(ctx context.Context, cfg PipelineConfig) (report PipelineReport, err error) {
	if err := cfg.Validate(); err != nil {
		return PipelineReport{}, err
	}
	rig, err := newPipelineRig(ctx, cfg)
	if err != nil {
		return PipelineReport{}, err
	}
	defer func() { err = errors.Join(err, rig.stop()) }()
	fresh, err := rig.fresh(ctx)
	if err != nil {
		return PipelineReport{}, fmt.Errorf("measuring the freshness: %w%s", err, rig.lastLinesOfAll())
	}
	samples, bytesPerRow, err := rig.sinkRounds(ctx)
	if err != nil {
		return PipelineReport{}, fmt.Errorf("measuring the sink: %w%s", err, rig.lastLinesOfAll())
	}
	return newPipelineReport(cfg, fresh, samples, bytesPerRow), nil
}
