package erasure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/tenant"
)

// gathered are the job's metrics by name and label.
func gathered(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "metiva_erasures_")
			if labels := m.GetLabel(); len(labels) > 0 {
				name += " " + labels[0].GetValue()
			}
			out[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return out
}

// TestJob: what is interrupted is gone on with, what was tried last at last, then the
// oldest first, and so many at once;
// what somebody works on is left; what is old rings; a certified one is looked at again
// once an hour.
func TestJob(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	age := func(d time.Duration) time.Time { return now.Add(-d) }
	all := []Erasure{
		{ID: "era_busy", State: KeysDestroyed, Round: 1, RequestedAt: age(30 * time.Hour)},
		{ID: "era_fails", State: Tombstoned, Round: 1, RequestedAt: age(25 * time.Hour), subject: Subject{Visitor, visitor}},
		{ID: "era_again", State: Requested, Round: 2, RequestedAt: age(900 * time.Hour), reopened: age(time.Hour)},
		{ID: "era_certified", State: Certified, Round: 1, RequestedAt: age(2 * time.Hour)},
		{ID: "era_new", State: Requested, Round: 1, RequestedAt: age(time.Minute)},
		{ID: "era_later", State: Requested, Round: 1, RequestedAt: age(time.Second)},
	}
	var tried []string
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	deps := JobDeps{
		Pending: func(_ context.Context, since time.Time) ([]Erasure, error) {
			if !since.Equal(age(24 * time.Hour)) {
				t.Errorf("asked for what was certified since %s", since)
			}
			return slices.Clone(all), nil
		},
		Resume: func(ctx context.Context, is Erasure) (Erasure, error) {
			if end, bound := ctx.Deadline(); !bound || time.Until(end) > time.Hour {
				t.Error("the work is not bounded")
			}
			// The work may take hours: what there is to do stands in the metrics before.
			if got := gathered(t, reg); len(tried) == 0 && is.ID == "era_busy" && (got["unfinished"] != 5 || got["overdue"] != 2 || got["last_look_timestamp_seconds"] == 0) {
				t.Errorf("before the work the metrics are %v", got)
			}
			tried = append(tried, is.ID)
			switch is.ID {
			case "era_busy":
				return is, fmt.Errorf("locking: %w", tenant.ErrLocked)
			case "era_fails":
				return is, fmt.Errorf("in scope SELECT count() WHERE visitor_id = unhex('%X') OR visitor_id = unhex('%[1]x') OR visitor_id = '%[1]s'", is.subject.bytes())
			}
			is.State = Certified
			return is, nil
		},
		Now: func() time.Time { return now }, Log: slog.New(slog.NewJSONHandler(&log, nil)), Registerer: reg,
	}
	j, err := NewJob(JobConfig{AtOnce: 5}, deps)
	if err != nil {
		t.Fatal(err)
	}
	once := func(want []string, metrics map[string]float64) {
		t.Helper()
		tried = nil
		if err := j.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tried, want) {
			t.Errorf("tried %v, want %v", tried, want)
		}
		got := gathered(t, reg)
		for name, n := range metrics {
			if got[name] != n {
				t.Errorf("%s is %v, want %v", name, got[name], n)
			}
		}
	}
	once([]string{"era_busy", "era_fails", "era_again", "era_certified", "era_new"}, map[string]float64{
		"unfinished": 3, "overdue": 2, "resumed_total done": 2, "resumed_total busy": 1, "resumed_total failed": 1, "last_look_timestamp_seconds": float64(now.Unix()),
	})
	if n := strings.Count(log.String(), "an erasure is overdue"); n != 2 {
		t.Errorf("%d lines tell of two overdue erasures:\n%s", n, log.String())
	}
	id := string(visitor[:])
	if text := log.String(); strings.Contains(text, id) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", id)) || !strings.Contains(text, "in scope SELECT count()") {
		t.Errorf("the log quotes the subject, or not the error:\n%s", text)
	}
	// Those that fail or are busy keep nobody away: what was not tried yet comes first.
	once([]string{"era_later", "era_busy", "era_fails", "era_again", "era_new"}, map[string]float64{"unfinished": 2, "overdue": 2})
	all = []Erasure{{ID: "era_certified", State: Certified, Round: 1, RequestedAt: age(2 * time.Hour)}}
	once(nil, map[string]float64{"unfinished": 0, "overdue": 0})
	j.tried["era_certified"] = age(61 * time.Minute)
	once([]string{"era_certified"}, nil)

	deps.Registerer, deps.Resume = prometheus.NewRegistry(), nil
	all = []Erasure{{ID: "era_x", State: Requested, Round: 1, RequestedAt: age(25 * time.Hour)}}
	reg = deps.Registerer.(*prometheus.Registry)
	if j, err = NewJob(JobConfig{}, deps); err != nil {
		t.Fatal(err)
	}
	once(nil, map[string]float64{"unfinished": 1, "overdue": 1})

	if _, err := NewJob(JobConfig{Interval: -1}, deps); err == nil {
		t.Error("a negative pause")
	}
	if _, err := NewJob(JobConfig{}, JobDeps{}); err == nil {
		t.Error("without dependencies")
	}
}

// jobFinishes: a process is killed in the middle of an erasure, and another one's job
// finishes it; one that may not sign leaves the certificate to who may.
func (w *world) jobFinishes(kill Subject) {
	w.t.Helper()
	t := w.t
	_, err := w.eraser(func(point string) error {
		if point == "events marked" {
			return errCrash
		}
		return nil
	}).Erase(t.Context(), w.b, kill)
	if !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	all, err := Pending(t.Context(), w.pool, w.worker, "schedule:erasure", time.Now().Add(-time.Hour))
	pending := slices.DeleteFunc(slices.Clone(all), func(e Erasure) bool { return e.State == Certified })
	if err != nil || len(pending) != 1 || pending[0].State != KeysDestroyed || pending[0].CompanyID != w.b.CompanyID() {
		t.Fatalf("pending are %+v, %v", pending, err)
	}
	silent := w.eraser(nil)
	silent.cfg.Signer = Signer{}
	if _, err := silent.Erase(t.Context(), w.b, kill); !errors.Is(err, ErrNoSigner) {
		t.Errorf("without a key: %v", err)
	}
	release, err := w.worker.TryLock(t.Context(), lockNumber(pending[0].ID))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := silent.Resume(t.Context(), w.b, pending[0]); !errors.Is(err, tenant.ErrLocked) {
		t.Errorf("two at once: %v", err)
	}
	release()
	done, err := silent.Resume(t.Context(), w.b, pending[0])
	if err != nil || done.State != Verified || len(done.Certificate) != 0 {
		t.Errorf("without a key it is %s, %v", done.State, err)
	}
	if done, err = w.eraser(nil).Resume(t.Context(), w.b, done); err != nil || done.State != Certified {
		t.Fatalf("%s, %v", done.State, err)
	}
	w.check(done)
	wantFound(t, done, map[string]uint64{"clickhouse.events": visitorEvents, "clickhouse.visits": visitorEvents, "keys": 2, "kafka.visits.state": 1})
}
