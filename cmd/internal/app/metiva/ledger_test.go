package metiva

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/core/analytics"
)

func (r *reads) accepted(company string, at time.Time, n uint64) {
	r.insert("ledger_edge", company, map[string]any{
		"minute": []time.Time{at.Truncate(time.Minute)}, "stage": []string{"collector"}, "reason": []string{"none"}, "writer_id": []string{"w"}, "count": []uint64{n},
	})
}

func (r *reads) written(company string, at time.Time) {
	r.insert("events", company, map[string]any{
		"event_id": [][]byte{{1}}, "received_at": []time.Time{at}, "writer_id": []string{"w"}, "expires_at": []time.Time{at.AddDate(1, 0, 0)},
	})
}

// TestLedgerFailsWhenItDoesNotBalance: for the tenant that lacks an event and for all
// together, and not for the one that lacks none, nor for what is young or not asked
// for.
func TestLedgerFailsWhenItDoesNotBalance(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	now := time.Now().UTC()
	past := now.Add(-10 * time.Minute)
	for company, accepted := range map[string]uint64{"cmp_a": 2, "cmp_b": 1} {
		r.accepted(company, past, accepted)
		r.written(company, past)
	}
	r.accepted("cmp_c", now, 3)
	r.insert("drops", "cmp_b", map[string]any{
		"received_at": []time.Time{past}, "stage": []string{"enrich"}, "reason": []string{"tampered"}, "source_offset": []int64{9}, "writer_id": []string{"w"},
	})
	r.accepted("cmp_b", past.Add(-time.Hour), 1)
	for _, try := range []struct {
		args    string
		balance bool
		says    string
	}{
		{"--tenant cmp_a --since 30m", false, "1 missing at enrich"},
		{"--tenant cmp_b --since 30m", true, "tampered"},
		{"--tenant cmp_b --since 24h", false, "1 missing"},
		{"--tenant cmp_a --since 24h --until 30m", true, ""},
		{"--tenant cmp_c", true, "3 on their way"},
		{"--tenant cmp_c --settle 0s --until " + now.Add(time.Minute).Format(time.RFC3339), false, "3 missing"},
		{"", false, "does not balance"},
		{"--json", false, `"missing": 2`},
		{"--json --tenant cmp_b --since 30m", true, `"balanced": true`},
	} {
		out, err := r.run(append([]string{"ledger"}, strings.Fields(try.args)...)...)
		if strings.Contains(try.args, "--until 30m") {
			if err == nil || !strings.Contains(err.Error(), "nothing") {
				t.Errorf("%s: %v\n%s", try.args, err, out)
			}
			continue
		}
		if try.balance != (err == nil) || !try.balance && !errors.Is(err, errUnbalanced) || !strings.Contains(strings.ToLower(out), strings.ToLower(try.says)) {
			t.Errorf("%s: %v\n%s", try.args, err, out)
		}
	}
	if _, err := r.run("ledger", "--tenant", "cmp_nobody"); err == nil {
		t.Error("a tenant without a row balances")
	}
	for _, args := range [][]string{{"--since", "yesterday"}, {"--since", "1h", "--until", "2h"}, {"--settle", "-1s"}, {"--by", "week"}} {
		if _, err := r.run(append([]string{"ledger"}, args...)...); !errors.Is(err, app.ErrConfiguration) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// TestLedgerByMinute prints a line for each minute that has something.
func TestLedgerByMinute(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	at := time.Now().UTC().Truncate(time.Hour).Add(-time.Hour)
	for i := range 3 {
		r.accepted("cmp_a", at.Add(time.Duration(20*i)*time.Minute), 1)
	}
	for by, want := range map[string]int{"auto": 3, "minute": 3, "hour": 1, "total": 0} {
		out, _ := r.run("ledger", "--tenant", "cmp_a", "--json", "--by", by)
		var got struct {
			Missing uint64
			Lines   []analytics.LedgerLine
		}
		if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Lines) != want || got.Missing != 3 {
			t.Errorf("by %s: %v\n%s", by, err, out)
		}
	}
	out, err := r.run("ledger", "--tenant", "cmp_a")
	if !errors.Is(err, errUnbalanced) || strings.Count(out, at.Format("2006-01-02 15:")) != 3 {
		t.Errorf("%v\n%s", err, out)
	}
}
