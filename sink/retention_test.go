package sink

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// TestRowsGoWhenTheirRetentionEnds with a moved clock: the sink works forty days ago,
// and ClickHouse today. Of a tenant that keeps ten days, what is older is in no answer,
// also before ClickHouse merges, and off the disk when it has; what is younger by an
// hour stays, as does all of a tenant that keeps 400 days. Read again today, the old
// records bring nothing back.
func TestRowsGoWhenTheirRetentionEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := migrated(t, clickhousetest.Start(t))
	today := time.Now().UTC().Truncate(time.Millisecond)
	sinkAt := func(now time.Time) *Worker {
		w, err := New(Config{RetryMin: time.Millisecond}, Deps{
			Consumer: noConsumer{}, Dead: noDead{}, Store: store.New(c), Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
			Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	type row struct {
		company string
		keeps   uint32
		age     time.Duration
	}
	const day = 24 * time.Hour
	rows := []row{
		{"cmp_short", 10, 30 * day},
		{"cmp_short", 10, 10*day + time.Hour},
		{"cmp_short", 10, 10*day - time.Hour},
		{"cmp_long", 400, 30 * day},
		{"cmp_long", 400, 10*day + time.Hour},
		{"cmp_long", 400, 10*day - time.Hour},
	}
	batches := map[string]*kafka.Batch{}
	add := func(topic string, value []byte) {
		b := batches[topic]
		if b == nil {
			b = &kafka.Batch{Topic: topic, Partition: 3}
			batches[topic] = b
		}
		b.Last = int64(len(b.Records))
		b.Records = append(b.Records, kafka.Record{Topic: topic, Partition: 3, Offset: b.Last, Time: today.Add(-40 * day), Key: []byte("key"), Value: value})
	}
	for i, r := range rows {
		at := today.Add(-r.age)
		e := testEvent(r.company, i)
		e.ReceivedAtMs, e.OccurredAtMs, e.EnrichedAtMs, e.RetentionDays = at.UnixMilli(), at.UnixMilli(), at.UnixMilli(), r.keeps
		add(schemas.TopicEventsEnriched, encode(t, &metivav1.EnrichedRecord{Kind: &metivav1.EnrichedRecord_Event{Event: e}}))
		v := testVisit(r.company, i, 1)
		v.StartedAtMs, v.EndedAtMs, v.RetentionDays = at.UnixMilli(), at.UnixMilli(), r.keeps
		add(schemas.TopicVisitsEnriched, encode(t, v))
		// A day is kept from its end.
		d := testDay(r.company, "ing.nl", 1, 30)
		d.Day, d.RetentionDays = int32(today.Unix()/86_400)-int32(r.age/day)-1, r.keeps
		if r.age < 10*day {
			d.Day++
		}
		add(schemas.TopicAccountsEnriched, encode(t, d))
	}
	write := func(w *Worker) {
		t.Helper()
		for _, b := range batches {
			if err := w.attemptAt(*b).write(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	tables := []string{store.TableEvents, store.TableVisits, store.TableAccountsDaily}
	for _, listed := range schema.Tables() {
		if listed.Kind == schema.Base && listed.ExpiresColumn != "" && !strings.Contains(strings.Join(append(tables, store.TableDrops, store.TableLedgerEdge), " "), listed.Name) {
			t.Errorf("%s expires, and this test writes no row into it", listed.Name)
		}
	}
	exec := func(sql string) {
		t.Helper()
		if err := c.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	held := func(table, where string) string {
		t.Helper()
		var short, long uint64
		if err := c.QueryRow(ctx, "SELECT countIf(company_id = 'cmp_short'), countIf(company_id = 'cmp_long') FROM "+table+" WHERE "+where).Scan(&short, &long); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d short, %d long", short, long)
	}
	for _, table := range tables {
		exec("SYSTEM STOP MERGES " + table)
	}
	write(sinkAt(today.Add(-40 * day)))
	for _, table := range tables {
		if got := held(table, "1"); got != "3 short, 3 long" {
			t.Fatalf("%s holds %s", table, got)
		}
		if got := held(table, "expires_at > now()"); got != "1 short, 3 long" {
			t.Errorf("today %s is in answers with %s", table, got)
		}
		exec("SYSTEM START MERGES " + table)
		exec("OPTIMIZE TABLE " + table + " FINAL")
		if got := held(table, "1"); got != "1 short, 3 long" {
			t.Errorf("today and merged %s holds %s", table, got)
		}
	}
	for topic, b := range batches { // another range, so that no token hides it
		b.First, b.Last = 100, 100+b.Last
		for i := range b.Records {
			b.Records[i].Offset += 100
		}
		batches[topic] = b
	}
	write(sinkAt(today))
	for _, table := range tables {
		if got := held(table+" FINAL", "1"); got != "1 short, 3 long" {
			t.Errorf("read again, %s holds %s", table, got)
		}
	}
	if got := held(store.TableDrops, "reason = 'expired'"); got != "2 short, 0 long" {
		t.Errorf("as expired were dropped: %s", got)
	}
}
