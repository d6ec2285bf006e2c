package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// OutageSummary is the last line an outage run prints.
type OutageSummary struct {
	// Answers are the requests sent, and Not2xx those of them with another answer
	// or none, or whose event was not accepted.
	Answers int64 `json:"answers"`
	Not2xx  int64 `json:"not_2xx"`
	// Latencies are from the moment a request was meant to be sent, of those meant
	// to be sent while Kafka stalled, or was away.
	StallP99Ms float64 `json:"stall_p99_ms"`
	StallMaxMs float64 `json:"stall_max_ms"`
	AwayP99Ms  float64 `json:"away_p99_ms"`
	// Memory of the collector with more of it: when Kafka went away, and the most
	// until it had everything again.
	RSSMBBegin float64 `json:"rss_mb_begin"`
	RSSMBPeak  float64 `json:"rss_mb_peak"`
	// Spooled are the records that went to a spool.
	Spooled int64 `json:"spooled"`
	// ReplayedMarked are the records in Kafka that say they may be a copy.
	ReplayedMarked int64 `json:"replayed_marked"`
	// Lost were accepted and are not in Kafka; Invented are there and were not sent;
	// Doubled are there twice without a mark.
	Lost     int64 `json:"lost"`
	Invented int64 `json:"invented"`
	Doubled  int64 `json:"doubled"`
	// Balanced: what the collectors counted as received and as accepted is what was
	// sent and accepted.
	Balanced bool `json:"balanced"`
}

// OutagePhase is one row of the table.
type OutagePhase struct {
	Name             string
	Seconds          float64
	Requests, Not2xx int64
	P50, P99, Max    time.Duration
	// Memory of the collector that has more, in MB.
	RSSBegin, RSSPeak, RSSEnd float64
	// SpoolRecords and SpoolMB are the most a collector's spool held.
	SpoolRecords, SpoolMB float64
	// CPUWait and DiskWait are the shares of the phase in which some process of the
	// machine had to wait for a processor or the disk: where they are large, the
	// latencies are the machine's.
	CPUWait, DiskWait float64
}

// OutageReport is what a run found.
type OutageReport struct {
	Phases  []OutagePhase
	Summary OutageSummary
	// Statuses counts the answers by status; 0 is none.
	Statuses map[int]int64
	// Copies are the records in Kafka beyond the first of an event.
	Copies int64
	// Received and Accepted are the collectors' counts; Dropped by reason.
	Received, Accepted uint64
	Dropped            map[string]uint64
	// ReplayedUnmarked and ReplayedMarked are the replays the collectors counted,
	// ledger entries included; what a stopped collector did last is not in them.
	ReplayedUnmarked, ReplayedMarked int64
}

const megabyte = 1 << 20

func (o *outage) report(shots []shot, f findings) OutageReport {
	out := OutageReport{Statuses: make(map[int]int64), Copies: f.copies, Received: f.received, Accepted: f.accepted, Dropped: f.counted}
	took := make(map[string][]time.Duration)
	bad := make(map[string]int64)
	acceptedByClient := uint64(0)
	for i := range shots {
		s := &shots[i]
		name := o.phaseAt(s.at)
		took[name] = append(took[name], s.took)
		out.Statuses[int(s.status)]++
		if s.accepted {
			acceptedByClient++
		} else {
			bad[name]++
			out.Summary.Not2xx++
		}
	}
	s := &out.Summary
	for _, p := range o.phases {
		lasted := p.until - p.from
		all := sent{latencies: took[p.name]}
		slices.Sort(all.latencies)
		out.Phases = append(out.Phases, OutagePhase{
			Name: p.name, Seconds: lasted.Seconds(), Requests: int64(len(all.latencies)), Not2xx: bad[p.name],
			P50: all.quantile(0.5), P99: all.quantile(0.99), Max: all.quantile(1),
			RSSBegin: p.begin.rssBytes / megabyte, RSSPeak: p.peak.rssBytes / megabyte, RSSEnd: p.end.rssBytes / megabyte,
			SpoolRecords: p.peak.spoolRecords, SpoolMB: p.peak.spoolBytes / megabyte,
			CPUWait: float64(p.pressure.cpu) / float64(lasted), DiskWait: float64(p.pressure.disk) / float64(lasted),
		})
		row := out.Phases[len(out.Phases)-1]
		switch p.name {
		case phaseStall:
			s.StallP99Ms, s.StallMaxMs = rounded(milliseconds(row.P99), 1), rounded(milliseconds(row.Max), 1)
		case phaseAway:
			s.AwayP99Ms, s.RSSMBBegin, s.RSSMBPeak = rounded(milliseconds(row.P99), 1), rounded(row.RSSBegin, 1), rounded(row.RSSPeak, 1)
		case phaseReplay:
			s.RSSMBPeak = max(s.RSSMBPeak, rounded(row.RSSPeak, 1))
		}
	}
	total := counts{}
	for _, w := range o.watched {
		total = total.plus(w.total())
	}
	out.ReplayedMarked, out.ReplayedUnmarked = int64(total.marked), int64(total.unmarked)
	s.Answers, s.Spooled, s.ReplayedMarked = int64(len(shots)), int64(total.spooled), f.marked
	s.Lost, s.Invented, s.Doubled = f.lost, f.invented, f.doubled
	s.Balanced = f.accepted == acceptedByClient && f.received == uint64(len(shots))
	return out
}

// phaseAt is the phase a moment of the load lies in.
func (o *outage) phaseAt(at time.Duration) string {
	name := o.phases[0].name
	for _, p := range o.phases {
		if at >= p.from {
			name = p.name
		}
	}
	return name
}

// Check is nil when the run found what the collector promises. How long it took
// is no part of that.
func (r OutageReport) Check() error {
	var faults []error
	s := r.Summary
	for _, f := range []struct {
		n    int64
		what string
	}{
		{s.Not2xx, "events were not accepted"},
		{s.Lost, "accepted events are lost"},
		{s.Invented, "records in Kafka were never sent"},
		{s.Doubled, "events are in Kafka twice without a mark"},
	} {
		if f.n > 0 {
			faults = append(faults, fmt.Errorf("%d %s", f.n, f.what))
		}
	}
	if !s.Balanced {
		faults = append(faults, fmt.Errorf("the ledger does not balance: %d sent, %d received, %d accepted, dropped %v", s.Answers, r.Received, r.Accepted, r.Dropped))
	}
	return errors.Join(faults...)
}

// Write prints the table and, as the last line, the summary as JSON.
func (r OutageReport) Write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(table, "phase\ts\trequests\tnot 2xx\tp50 ms\tp99 ms\tmax ms\tRSS MB begin\tpeak\tend\tspool records\tspool MB\tCPU wait %\tdisk wait %\t")
	for _, p := range r.Phases {
		_, _ = fmt.Fprintf(table, "%s\t%.1f\t%d\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.0f\t%.1f\t%.0f\t%.0f\t\n",
			p.Name, p.Seconds, p.Requests, p.Not2xx, milliseconds(p.P50), milliseconds(p.P99), milliseconds(p.Max),
			p.RSSBegin, p.RSSPeak, p.RSSEnd, p.SpoolRecords, p.SpoolMB, 100*p.CPUWait, 100*p.DiskWait)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the table: %w", err)
	}
	for _, status := range slices.Sorted(maps.Keys(r.Statuses)) {
		_, _ = fmt.Fprintf(w, "status %d: %d\n", status, r.Statuses[status])
	}
	_, _ = fmt.Fprintf(w, "the collectors counted %d received, %d accepted, dropped %v; they sent %d marked and %d unmarked records from their spools; %d records in Kafka are copies\n",
		r.Received, r.Accepted, r.Dropped, r.ReplayedMarked, r.ReplayedUnmarked, r.Copies)
	if err := json.NewEncoder(w).Encode(r.Summary); err != nil {
		return fmt.Errorf("printing the summary: %w", err)
	}
	return nil
}
