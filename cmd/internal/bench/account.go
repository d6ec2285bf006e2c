package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf is the CPU a process has used so far, in user and system mode, by the clock that
// the kernel keeps of each process (clock_getcpuclockid(3)): /proc counts in hundredths of
// a second only, as many as a short round takes.
func cpuOf(pid int) (time.Duration, error) {
	const ofScheduler = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|ofScheduler, &t); err != nil {
		return 0, fmt.Errorf("reading the CPU time of a server: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

const (
	metricMallocs  = "go_memstats_mallocs_total"
	metricAccepted = `metiva_collector_events_total{outcome="accepted",reason="none"}`
)

// metric reads one metric of a collector by its whole name.
func (r *rig) metric(ctx context.Context, server, name string) (float64, error) {
	body, err := r.get(ctx, "http://"+r.admins[server]+"/metrics")
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return findMetric(body, name)
}

// findMetric finds a metric in the text format of Prometheus.
func findMetric(text io.Reader, name string) (float64, error) {
	lines := bufio.NewScanner(text)
	found, value := false, 0.0
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name+" ")
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(rest, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the metric %s: %w", name, err)
		}
		found, value = true, v
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("reading the metrics: %w", err)
	}
	if !found {
		return 0, fmt.Errorf("the collector has no metric %s", name)
	}
	return value, nil
}

func (r *rig) mallocs(ctx context.Context, server string) (float64, error) {
	return r.metric(ctx, server, metricMallocs)
}

func (r *rig) accepted(ctx context.Context, server string) (float64, error) {
	return r.metric(ctx, server, metricAccepted)
}

// scrapeLooks: the first look at the metrics allocates more than the next.
const scrapeLooks = 5

// scrapeCost is how many allocations one look at the metrics costs a collector
// with nothing to do: between two looks lies one.
func (r *rig) scrapeCost(ctx context.Context) (float64, error) {
	var last, cost float64
	for range scrapeLooks {
		n, err := r.mallocs(ctx, serverCollector)
		if err != nil {
			return 0, err
		}
		last, cost = n, n-last
	}
	return cost, nil
}

// profile takes the collector's profiles under the load of single page views.
func (r *runner) profile(ctx context.Context) error {
	if err := os.MkdirAll(r.cfg.ProfileDir, 0o700); err != nil {
		return fmt.Errorf("making the folder for the profiles: %w", err)
	}
	r.say("taking profiles of the collector for %d s", profileSeconds)
	loading, cancel := context.WithCancel(ctx)
	defer cancel()
	loaded := make(chan error, 1)
	go func() {
		_, err := r.measure(loading, kind{serverCollector, 1, false}, 0, profileSeconds*time.Second+time.Second)
		loaded <- err
	}()
	err := r.rig.save(ctx, "/debug/pprof/profile?seconds="+strconv.Itoa(profileSeconds), filepath.Join(r.cfg.ProfileDir, "collector-cpu.pprof"))
	if err == nil {
		err = r.rig.save(ctx, "/debug/pprof/allocs", filepath.Join(r.cfg.ProfileDir, "collector-allocs.pprof"))
	}
	if err != nil {
		cancel()
		<-loaded
		return fmt.Errorf("taking a profile: %w", err)
	}
	return <-loaded
}

// save writes what the admin listener answers into a file.
func (r *rig) save(ctx context.Context, path, file string) error {
	body, err := r.get(ctx, "http://"+r.admins[serverCollector]+path)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("opening %s: %w", file, err)
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Close())
}
