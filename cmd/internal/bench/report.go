package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Summary is the last line a run prints. All of it is of single page views, the
// dearest way to send one.
type Summary struct {
	// CPURatioVsBare is the CPU of a request to the collector over that of the
	// same request to the bare handler, each as fast as answers come.
	CPURatioVsBare float64 `json:"cpu_ratio_vs_bare"`
	// EventsPerCPUSecond is how many events one second of one core is enough for.
	EventsPerCPUSecond float64 `json:"events_per_cpu_second"`
	// AllocsPerEvent are the heap allocations of the collector's process, its
	// producer and server included, for each event.
	AllocsPerEvent float64 `json:"allocs_per_event"`
	// P99MsAtHalfLoad is in milliseconds from the moment a request was meant to be
	// sent, at half the requests a second of the collector's closed load.
	P99MsAtHalfLoad float64 `json:"p99_ms_at_half_load"`
}

// Line is one row of the table: the median of its rounds.
type Line struct {
	Server            string
	EventsPerRequest  int
	Open              bool
	RequestsPerSecond float64
	EventsPerSecond   float64
	CPUPerRequest     float64 // seconds
	CPUPerEvent       float64 // seconds
	P50, P99          time.Duration
	AllocsPerEvent    float64 // 0 for the bare handler, which is not asked
	// CPURatio is the median over the rounds of CPUPerRequest over that of the
	// bare handler under the same load in the same round; 1 for itself.
	CPURatio float64
}

// Report is what a run measured.
type Report struct {
	Lines []Line
	// Sent and Accepted are the events handed to the collectors and those they
	// counted as accepted.
	Sent, Accepted int64
	// BatchedOverSingle is the CPU of an event in a batch over that of a single
	// one, both with the collector.
	BatchedOverSingle float64
	Summary           Summary
}

func (r *runner) report() Report {
	out := Report{Sent: r.sent, Accepted: r.accepted}
	for _, load := range []struct {
		events int
		open   bool
	}{{1, false}, {batchEvents, false}, {1, true}} {
		bare := r.samples[kind{serverBare, load.events, load.open}]
		for _, server := range servers() {
			out.Lines = append(out.Lines, line(kind{server, load.events, load.open}, r.samples[kind{server, load.events, load.open}], bare))
		}
	}
	single, batched, open := out.line(1, false), out.line(batchEvents, false), out.line(1, true)
	out.BatchedOverSingle = batched.CPUPerEvent / single.CPUPerEvent
	out.Summary = Summary{
		CPURatioVsBare:     rounded(single.CPURatio, 3),
		EventsPerCPUSecond: rounded(1/single.CPUPerEvent, 0),
		AllocsPerEvent:     rounded(single.AllocsPerEvent, 3),
		P99MsAtHalfLoad:    rounded(milliseconds(open.P99), 3),
	}
	return out
}

// line finds a row of the collector with Kafka.
func (r Report) line(events int, open bool) Line {
	i := slices.IndexFunc(r.Lines, func(l Line) bool {
		return l.Server == serverCollector && l.EventsPerRequest == events && l.Open == open
	})
	return r.Lines[i]
}

func line(k kind, samples, bare []sample) Line {
	of := func(f func(sample) float64) float64 { return median(samples, f) }
	events := float64(k.events)
	rate, cpu := of(func(s sample) float64 { return s.requestsPerSecond }), of(func(s sample) float64 { return s.cpuSeconds })
	ratios := make([]sample, 0, len(samples))
	for i := range samples {
		ratios = append(ratios, sample{cpuSeconds: samples[i].cpuSeconds / bare[i].cpuSeconds})
	}
	return Line{
		Server: k.server, EventsPerRequest: k.events, Open: k.open,
		RequestsPerSecond: rate, EventsPerSecond: rate * events, CPUPerRequest: cpu, CPUPerEvent: cpu / events,
		P50:            time.Duration(of(func(s sample) float64 { return float64(s.p50) })),
		P99:            time.Duration(of(func(s sample) float64 { return float64(s.p99) })),
		AllocsPerEvent: of(func(s sample) float64 { return s.mallocs }) / events,
		CPURatio:       median(ratios, func(s sample) float64 { return s.cpuSeconds }),
	}
}

// median is the middle of a value of the samples; of two middles their mean.
func median(samples []sample, f func(sample) float64) float64 {
	values := make([]float64, 0, len(samples))
	for _, s := range samples {
		values = append(values, f(s))
	}
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func microseconds(seconds float64) float64 { return seconds * 1e6 }

// rounded keeps the given number of digits behind the point.
func rounded(v float64, digits int) float64 {
	shift := 1.0
	for range digits {
		shift *= 10
	}
	return float64(int64(v*shift+0.5)) / shift
}

// Write prints the table and, as the last line, the summary as JSON.
func (r Report) Write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "server\tevents/request\tload\trequests/s\tevents/s\tCPU us/request\tCPU us/event\tp50 ms\tp99 ms\tallocs/event\tCPU vs bare\t")
	for _, l := range r.Lines {
		load, allocs := "closed", "-"
		if l.Open {
			load = "half, open"
		}
		if l.Server != serverBare {
			allocs = fmt.Sprintf("%.2f", l.AllocsPerEvent)
		}
		_, _ = fmt.Fprintf(table, "%s\t%d\t%s\t%.0f\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%s\t%.2f\t\n",
			l.Server, l.EventsPerRequest, load, l.RequestsPerSecond, l.EventsPerSecond, microseconds(l.CPUPerRequest), microseconds(l.CPUPerEvent),
			milliseconds(l.P50), milliseconds(l.P99), allocs, l.CPURatio)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	_, _ = fmt.Fprintf(w, "an event in a batch of %d costs %.2f of a single one; %d of %d events were accepted\n",
		batchEvents, r.BatchedOverSingle, r.Accepted, r.Sent)
	if err := json.NewEncoder(w).Encode(r.Summary); err != nil {
		return fmt.Errorf("printing the summary: %w", err)
	}
	return nil
}
