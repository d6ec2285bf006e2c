package metiva

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/stack"
	stage "github.com/metiva-io/metiva/enrich"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas"
)

// command runs metiva on the stack.
func (h *harness) command(args ...string) (string, error) {
	var out, problems bytes.Buffer
	err := Run(h.t.Context(), app.System{Args: append(args, "--data", h.stack.DataDir()), Stdout: &out, Stderr: &problems})
	if err != nil {
		return out.String(), fmt.Errorf("%w\n%s", err, problems.String())
	}
	return out.String(), nil
}

// metrics are those of a process.
func (h *harness) metrics(process string) (string, error) {
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.stack.Addresses().AdminURLs[process]+"/metrics", nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

// number is the one number that a statement answers.
func (h *harness) number(sql string) (n uint64) {
	h.t.Helper()
	err := h.conn.Each(h.t.Context(), sql, func(scan func(...any) error) error { return scan(&n) })
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// testReenrich loses a row, which the ledger tells, and replays everything with a list
// in which ING's network is another company's: the lost row is there again, events,
// visits, accounts' days and nothing else have changed, and nobody is told of a
// company twice.
func (h *harness) testReenrich(t *testing.T) {
	h.t = t
	const (
		events  = "SELECT count() FROM events FINAL"
		visits  = "SELECT count() FROM visits FINAL"
		persons = "SELECT count() FROM events FINAL WHERE form_action != ''"
	)
	of := func(table, account string) uint64 {
		return h.number("SELECT toUInt64(count()) FROM " + table + " FINAL WHERE account_id = '" + account + "'")
	}
	rowsBefore, visitsBefore, personsBefore := h.number(events), h.number(visits), h.number(persons)
	visitsOfING, eventsOfING, daysOfING := of("visits", "ing.nl"), of("events", "ing.nl"), of("accounts_daily", "ing.nl")
	if visitsOfING == 0 || eventsOfING == 0 || daysOfING == 0 {
		t.Fatalf("nothing to replay: %d visits, %d events, %d days", visitsOfING, eventsOfING, daysOfING)
	}
	if out, err := h.command("ledger", "--settle", "0s", "--json"); err != nil {
		t.Fatalf("before: %v\n%s", err, out)
	}
	err := h.conn.Exec(t.Context(), "ALTER TABLE events DELETE WHERE event_id IN (SELECT event_id FROM events ORDER BY received_at DESC LIMIT 1)", clickhouse.Setting("mutations_sync", 2))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := h.command("ledger", "--settle", "0s"); err == nil {
		t.Fatalf("a lost row balances:\n%s", out)
	}
	h.within(90*time.Second, "core to have compared the ledger", func() (bool, error) {
		out, err := h.metrics(stack.Core)
		return strings.Contains(out, `metiva_ledger_difference_events{pair="doubled"} 0`) && !strings.Contains(out, "metiva_ledger_last_check_timestamp_seconds 0"), err
	})
	client, _ := h.kafkaClient(t)
	count := func(topic string) (n int) {
		h.records(t, client, topic, func(_, _ []byte) { n++ })
		return n
	}
	captures, dead := count(schemas.TopicCapturesEnriched), count(schemas.TopicEventsDead)

	list := filepath.Join(t.TempDir(), "rows.csv")
	if err := os.WriteFile(list, []byte("network,name,domain,type,source\n145.221.0.0/16,Andere Bank,andere.example,business,ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	replay := []string{"replay", "--from", time.Now().Add(-time.Hour).Format(time.RFC3339), "--to", time.Now().Add(time.Second).Format(time.RFC3339), "--settled-for", "-1h"}
	if _, err := h.command(replay...); err == nil {
		t.Fatal("a range in the future is replayed")
	}
	replay = append(replay[:3], "--to", time.Now().Format(time.RFC3339), "--settled-for", "1ns", "--company-rows", list)
	var dry, report stage.ReplayReport
	for _, try := range []struct {
		into *stage.ReplayReport
		args []string
	}{{&dry, append(replay, "--dry-run")}, {&report, replay}} {
		out, err := h.command(try.args...)
		if err != nil || json.Unmarshal([]byte(out), try.into) != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	t.Logf("replay: %d events (%d were counted), %d visits, %d moved, %d unknown", report.Events, dry.Events, report.Visits, report.Moved, report.Unknown)
	if report.Events == 0 || dry.Events < report.Events || len(dry.Days) == 0 || report.Visits == 0 || report.Moved < visitsOfING {
		t.Errorf("%+v", report)
	}
	h.within(60*time.Second, "the rows to be replaced and the ledger to balance", func() (bool, error) {
		if n := of("events", "ing.nl") + of("visits", "ing.nl") + of("accounts_daily", "ing.nl"); n > 0 {
			return false, fmt.Errorf("%d rows still name the former company", n)
		}
		out, err := h.command("ledger", "--settle", "0s")
		if err != nil {
			return false, fmt.Errorf("%w\n%s", err, out)
		}
		return of("visits", "andere.example") >= visitsOfING && of("accounts_daily", "andere.example") >= daysOfING, nil
	})
	if rows, seen, forms := h.number(events), h.number(visits), h.number(persons); rows != rowsBefore || seen != visitsBefore || forms != personsBefore {
		t.Errorf("%d events, %d visits and %d forms were %d, %d and %d", rows, seen, forms, rowsBefore, visitsBefore, personsBefore)
	}
	if c, d := count(schemas.TopicCapturesEnriched), count(schemas.TopicEventsDead); c != captures || d != dead {
		t.Errorf("%d captures and %d dead letters were %d and %d", c, d, captures, dead)
	}
	signals := count(schemas.TopicAccountSignals)
	if out, err := h.command(replay...); err != nil {
		t.Fatalf("again: %v\n%s", err, out)
	}
	h.within(60*time.Second, "the second replay's visits to be written", func() (bool, error) {
		return h.number("SELECT toUInt64(countIf(n > 2)) FROM (SELECT visit_id, uniqExact(version) AS n FROM visits GROUP BY visit_id)") > 0 &&
			h.number(visits) == visitsBefore, nil
	})
	if n := count(schemas.TopicAccountSignals); n != signals {
		t.Errorf("the second replay gave %d signals", n-signals)
	}
	if out, err := h.command("ledger", "--settle", "0s"); err != nil {
		t.Errorf("after both: %v\n%s", err, out)
	}
}
