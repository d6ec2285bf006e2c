package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// gauge is what is watched of one collector.
type gauge struct {
	rssBytes     float64
	spoolRecords float64
	spoolBytes   float64
	oldest       float64 // seconds
}

// greater keeps the greater of each.
func (g gauge) greater(o gauge) gauge {
	return gauge{max(g.rssBytes, o.rssBytes), max(g.spoolRecords, o.spoolRecords), max(g.spoolBytes, o.spoolBytes), max(g.oldest, o.oldest)}
}

const (
	watchEvery          = 250 * time.Millisecond
	metricSpoolRecords  = "metiva_collector_spool_records"
	metricSpoolBytes    = "metiva_collector_spool_bytes"
	metricSpoolOldest   = "metiva_collector_spool_oldest_age_seconds"
	metricSpooled       = "metiva_collector_spooled_records_total"
	metricMarkedReplays = `metiva_collector_replayed_records_total{marked="true"}`
	metricOtherReplays  = `metiva_collector_replayed_records_total{marked="false"}`
)

// watched is one collector, across its restarts.
type watched struct {
	rig  *rig
	name string

	mu  sync.Mutex
	pid int
	// ended are the counts of processes that have ended, last those of the one
	// that runs.
	ended, last counts
}

// counts are what a process has counted so far.
type counts struct{ spooled, marked, unmarked float64 }

func (c counts) plus(o counts) counts {
	return counts{c.spooled + o.spooled, c.marked + o.marked, c.unmarked + o.unmarked}
}

// began says that another process runs from now on.
func (w *watched) began(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pid, w.ended, w.last = pid, w.ended.plus(w.last), counts{}
}

func (w *watched) total() counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended.plus(w.last)
}

// look reads the collector's state.
func (w *watched) look(ctx context.Context) (gauge, error) {
	w.mu.Lock()
	pid := w.pid
	w.mu.Unlock()
	body, err := w.rig.get(ctx, "http://"+w.rig.admins[w.name]+"/metrics")
	if err != nil {
		return gauge{}, err
	}
	defer body.Close()
	m, err := sumMetrics(body, metricSpoolRecords, metricSpoolBytes, metricSpoolOldest, metricSpooled, metricMarkedReplays, metricOtherReplays)
	if err != nil {
		return gauge{}, err
	}
	g := gauge{spoolRecords: m[metricSpoolRecords], spoolBytes: m[metricSpoolBytes], oldest: m[metricSpoolOldest]}
	if g.rssBytes, err = rssOf(pid); err != nil {
		return gauge{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pid == pid {
		w.last = counts{m[metricSpooled], m[metricMarkedReplays], m[metricOtherReplays]}
	}
	return g, nil
}

// sumMetrics adds the values of each metric over its labels; a name with labels
// is that one alone.
func sumMetrics(text io.Reader, names ...string) (map[string]float64, error) {
	sums := make(map[string]float64, len(names))
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		line := lines.Text()
		for _, name := range names {
			rest, ok := strings.CutPrefix(line, name)
			if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
				continue
			}
			v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			if err != nil {
				return nil, fmt.Errorf("reading the metric %s: %w", name, err)
			}
			sums[name] += v
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the metrics: %w", err)
	}
	return sums, nil
}

// rssOf is the memory of a process (proc(5), statm).
func rssOf(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of a process: %w", err)
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0, fmt.Errorf("reading the memory of a process: %d fields", len(fields))
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the memory of a process: %w", err)
	}
	return float64(pages) * float64(os.Getpagesize()), nil
}

// pressure is how long some process of the machine has waited for a processor,
// and for the disk.
type pressure struct{ cpu, disk time.Duration }

// pressureNow is the kernel's account since the start; zero where there is none.
func pressureNow() pressure {
	of := func(name string) time.Duration {
		raw, err := os.ReadFile("/proc/pressure/" + name)
		if err != nil {
			return 0
		}
		return parsePressure(string(raw))
	}
	return pressure{of("cpu"), of("io")}
}

// parsePressure reads the total of the line "some", in microseconds (the
// kernel's Documentation/accounting/psi.rst); 0 when there is none.
func parsePressure(text string) time.Duration {
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "some ") {
			continue
		}
		_, total, _ := strings.Cut(line, "total=")
		us, err := strconv.ParseInt(strings.TrimSpace(total), 10, 64)
		if err != nil {
			return 0
		}
		return time.Duration(us) * time.Microsecond
	}
	return 0
}
