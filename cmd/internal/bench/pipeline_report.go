package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// PipelineSummary is the last line of a run of RunPipeline. The sink's figures are
// medians over the rounds.
type PipelineSummary struct {
	// Freshness is from the moment an event was meant to be sent to the answer of
	// ClickHouse that first has it; half of queryEvery is the watcher's.
	FreshP50Ms float64 `json:"fresh_p50_ms"`
	FreshP95Ms float64 `json:"fresh_p95_ms"`
	// Lost were answered with accepted and are not in events; Doubled are there twice,
	// in the open load or in a round of the sink.
	Lost    int `json:"lost"`
	Doubled int `json:"doubled"`
	// WrittenPerSecond is how many events one second of one core is enough for, of the
	// whole sink: Kafka's client, look-ups and commits included, ClickHouse not.
	WrittenPerSecond float64 `json:"written_per_second"`
	// SinkRatioVsBareInsert is the CPU of the whole sink over that of the bare loop in
	// the same round.
	SinkRatioVsBareInsert float64 `json:"sink_ratio_vs_bare_insert"`
	// BytesPerRow of events on disk, after the last round, merged or not.
	BytesPerRow float64 `json:"bytes_per_row"`
}

// PipelineReport is what a run measured.
type PipelineReport struct {
	Events  int
	fresh   freshness
	samples []sinkSample
	Summary PipelineSummary
}

func newPipelineReport(cfg PipelineConfig, f freshness, samples []sinkSample, bytesPerRow float64) PipelineReport {
	r := PipelineReport{Events: cfg.Events, fresh: f, samples: samples}
	r.Summary = PipelineSummary{
		FreshP50Ms: rounded(milliseconds(f.p50), 0), FreshP95Ms: rounded(milliseconds(f.p95), 0), Lost: f.lost, Doubled: f.doubled,
		WrittenPerSecond:      rounded(1/r.median(func(s sinkSample) float64 { return s.sinkCPU }), 0),
		SinkRatioVsBareInsert: rounded(r.median(func(s sinkSample) float64 { return s.sinkCPU / s.bareCPU }), 3),
		BytesPerRow:           rounded(bytesPerRow, 1),
	}
	return r
}

func (r PipelineReport) median(f func(sinkSample) float64) float64 {
	values := make([]sample, 0, len(r.samples))
	for _, s := range r.samples {
		values = append(values, sample{cpuSeconds: f(s)})
	}
	return median(values, func(s sample) float64 { return s.cpuSeconds })
}

// Check is an error when an event was lost, doubled or invented; a latency or a
// ratio is no fault.
func (r PipelineReport) Check() error {
	var faults []error
	if f := r.fresh; f.lost+f.doubled+f.invented > 0 || f.accepted < f.sent {
		faults = append(faults, fmt.Errorf("of %d events sent %d were accepted, %d lost, %d doubled, %d never sent", f.sent, f.accepted, f.lost, f.doubled, f.invented))
	}
	if a := r.fresh.away; a.lost+a.doubled > 0 || a.accepted < a.sent {
		faults = append(faults, fmt.Errorf("of %d events sent while clickhouse was away %d were accepted, %d lost, %d doubled", a.sent, a.accepted, a.lost, a.doubled))
	}
	for i, s := range r.samples {
		if s.wrong > 0 {
			faults = append(faults, fmt.Errorf("round %d of the sink has %d events that are missing or there twice", i+1, s.wrong))
		}
	}
	return errors.Join(faults...)
}

// Write prints the tables and, as the last line, the summary as JSON.
func (r PipelineReport) Write(w io.Writer) error {
	f := r.fresh
	_, _ = fmt.Fprintf(w, "beacon to queryable: %d events, p50 %.0f ms, p95 %.0f ms, at most %.0f ms; %d sent, %d accepted, %d lost, %d doubled\n",
		f.measured, milliseconds(f.p50), milliseconds(f.p95), milliseconds(f.max), f.sent, f.accepted, f.lost, f.doubled)
	f.away.write(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "writer\trows\tinserts\tCPU us/row\trows/CPU second\tallocs/row\trows/s\tCPU vs bare\t")
	line := func(name string, inserts int, cpu, allocs, wall, ratio float64) {
		_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%.2f\t%.0f\t%.2f\t%.0f\t%.2f\t\n", name, r.Events, inserts, microseconds(cpu), 1/cpu, allocs, float64(r.Events)/wall, ratio)
	}
	line("bare loop", r.samples[0].bareBatches, r.median(func(s sinkSample) float64 { return s.bareCPU }), r.median(func(s sinkSample) float64 { return s.bareAllocs }),
		r.median(func(s sinkSample) float64 { return s.bareWall.Seconds() }), 1)
	line("sink", r.samples[0].sinkBatches, r.median(func(s sinkSample) float64 { return s.sinkCPU }), r.median(func(s sinkSample) float64 { return s.sinkAllocs }),
		r.median(func(s sinkSample) float64 { return s.sinkWall.Seconds() }), r.median(func(s sinkSample) float64 { return s.sinkCPU / s.bareCPU }))
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	if err := json.NewEncoder(w).Encode(r.Summary); err != nil {
		return fmt.Errorf("printing the figures: %w", err)
	}
	return nil
}
