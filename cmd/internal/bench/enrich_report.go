package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// EnrichSummary is the last line of a run of RunEnrich. All figures are medians
// over the rounds.
type EnrichSummary struct {
	// CPURatioVsCopy is the CPU of the whole worker over that of the bare copy in the
	// same round.
	CPURatioVsCopy float64 `json:"cpu_ratio_vs_copy"`
	// CPURatioVsLibraryCopy is the same over a copy with the library as it comes
	// (package plaincopy).
	CPURatioVsLibraryCopy float64 `json:"cpu_ratio_vs_library_copy"`
	// CopyUs, LibraryCopyUs and WorkerUs are CPU an event, in microseconds.
	CopyUs        float64 `json:"copy_us"`
	LibraryCopyUs float64 `json:"library_copy_us"`
	WorkerUs      float64 `json:"worker_us"`
	// WorkerEventsPerCPUSecond is how many events one second of one core is enough
	// for, Kafka's client included; ChainEventsPerCPUSecond without it.
	WorkerEventsPerCPUSecond float64 `json:"worker_events_per_cpu_second"`
	ChainEventsPerCPUSecond  float64 `json:"chain_events_per_cpu_second"`
	// AllocsPerEvent are the heap allocations of the chain.
	AllocsPerEvent float64 `json:"allocs_per_event"`
	// StepsNs is what each step takes of an event on average, in nanoseconds.
	StepsNs map[string]float64 `json:"steps_ns"`
}

// EnrichReport is what a run measured.
type EnrichReport struct {
	Events  int
	samples []enrichSample
	Summary EnrichSummary
}

func newEnrichReport(events int, samples []enrichSample) EnrichReport {
	r := EnrichReport{Events: events, samples: samples, Summary: EnrichSummary{StepsNs: make(map[string]float64)}}
	r.Summary.CPURatioVsCopy = rounded(r.median(func(s enrichSample) float64 { return s.worker.cpu / s.copied.cpu }), 3)
	r.Summary.CPURatioVsLibraryCopy = rounded(r.median(func(s enrichSample) float64 { return s.worker.cpu / s.library.cpu }), 3)
	r.Summary.CopyUs = rounded(microseconds(r.median(func(s enrichSample) float64 { return s.copied.cpu })), 2)
	r.Summary.LibraryCopyUs = rounded(microseconds(r.median(func(s enrichSample) float64 { return s.library.cpu })), 2)
	r.Summary.WorkerUs = rounded(microseconds(r.median(func(s enrichSample) float64 { return s.worker.cpu })), 2)
	r.Summary.WorkerEventsPerCPUSecond = rounded(1/r.median(func(s enrichSample) float64 { return s.worker.cpu }), 0)
	r.Summary.ChainEventsPerCPUSecond = rounded(1/r.median(func(s enrichSample) float64 { return s.chainCPU }), 0)
	r.Summary.AllocsPerEvent = rounded(r.median(func(s enrichSample) float64 { return s.chain }), 2)
	for step := range samples[0].steps {
		r.Summary.StepsNs[step] = rounded(r.median(func(s enrichSample) float64 { return float64(s.steps[step]) }), 0)
	}
	return r
}

func (r EnrichReport) median(f func(enrichSample) float64) float64 {
	values := make([]sample, 0, len(r.samples))
	for _, s := range r.samples {
		values = append(values, sample{cpuSeconds: f(s)})
	}
	return median(values, func(s sample) float64 { return s.cpuSeconds })
}

// Write prints the table and, as the last line, the summary as JSON.
func (r EnrichReport) Write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "taker\tevents\tCPU us/event\tevents/CPU second\tallocs/event\tevents/s\tCPU vs copy\t")
	line := func(name string, of func(enrichSample) spent) {
		cpu := r.median(func(s enrichSample) float64 { return of(s).cpu })
		wall := r.median(func(s enrichSample) float64 { return of(s).wall.Seconds() })
		_, _ = fmt.Fprintf(table, "%s\t%d\t%.2f\t%.0f\t%.2f\t%s\t%.2f\t\n", name, r.Events, microseconds(cpu), 1/cpu,
			r.median(func(s enrichSample) float64 { return of(s).allocs }), rate(r.Events, wall),
			r.median(func(s enrichSample) float64 { return of(s).cpu / s.copied.cpu }))
	}
	line("copy", func(s enrichSample) spent { return s.copied })
	line("copy by the library", func(s enrichSample) spent { return s.library })
	line("worker", func(s enrichSample) spent { return s.worker })
	line("chain alone", func(s enrichSample) spent { return spent{cpu: s.chainCPU, allocs: s.chain} })
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	for _, step := range slices.Sorted(maps.Keys(r.Summary.StepsNs)) {
		_, _ = fmt.Fprintf(w, "  step %-10s %6.0f ns\n", step, r.Summary.StepsNs[step])
	}
	if err := json.NewEncoder(w).Encode(r.Summary); err != nil {
		return fmt.Errorf("printing the figures: %w", err)
	}
	return nil
}

// rate is events a second of the clock; the chain alone has none of its own.
func rate(events int, seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", float64(events)/seconds)
}
