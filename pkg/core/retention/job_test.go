package retention

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/core/analytics"
)

type rows func(of []analytics.Retention) ([]analytics.Beyond, error)

func (r rows) Shorten(_ context.Context, of []analytics.Retention) ([]analytics.Beyond, error) {
	return r(of)
}

func job(t *testing.T, cfg Config, r rows, metrics *prometheus.Registry) *Job {
	t.Helper()
	j, err := New(cfg, Deps{
		Sites: func(context.Context) ([]analytics.Retention, error) {
			return []analytics.Retention{{CompanyID: "cmp_a", SiteID: "sit_1", Days: 10}}, nil
		},
		Rows: r, Log: slog.New(slog.DiscardHandler), Metrics: metrics, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// TestRunsAtOnceAndEveryDay, and sooner after a run that failed; the end of the context
// ends it without a fault.
func TestRunsAtOnceAndEveryDay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int64
		metrics := prometheus.NewRegistry()
		j := job(t, Config{}, func(of []analytics.Retention) ([]analytics.Beyond, error) {
			if len(of) != 1 || of[0].Days != 10 {
				t.Errorf("retentions %+v", of)
			}
			if runs.Add(1) == 2 {
				return []analytics.Beyond{{Table: "events", Rows: 2}}, errors.New("away")
			}
			return []analytics.Beyond{{Table: "events", Rows: 3}, {Table: "visits", Rows: 1}}, nil
		}, metrics)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- j.Run(ctx) }()
		began := time.Now()
		for _, step := range []struct {
			at   time.Duration
			runs int64
		}{{time.Hour, 1}, {25 * time.Hour, 3}, {47 * time.Hour, 3}, {49 * time.Hour, 4}} {
			<-time.After(time.Until(began.Add(step.at))) // of the bubble's clock
			synctest.Wait()
			if got := runs.Load(); got != step.runs {
				t.Errorf("%d runs after %s, want %d", got, step.at, step.runs)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		got := values(t, metrics)
		for name, want := range map[string]float64{
			"metiva_retention_shortened_rows_total events": 3 + 2 + 3 + 3, "metiva_retention_shortened_rows_total visits": 3,
			"metiva_retention_runs_total done": 3, "metiva_retention_runs_total failed": 1,
		} {
			if got[name] != want {
				t.Errorf("%s is %v, want %v", name, got[name], want)
			}
		}
		if got["metiva_retention_last_success_timestamp_seconds"] == 0 {
			t.Error("no run was a success")
		}
	})
}

func TestConfigOfAJob(t *testing.T) {
	t.Parallel()
	for _, bad := range []Config{{Interval: -1}, {RetryAfter: -1}} {
		if _, err := New(bad, Deps{}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// values are those of the metrics, by name and label.
func values(t *testing.T, metrics *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			words := []string{family.GetName()}
			for _, label := range m.GetLabel() {
				words = append(words, label.GetValue())
			}
			out[strings.Join(words, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}
