package sink

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// rowsOf is what ClickHouse answers of a company's events and drops, by offset.
func rowsOf(t *testing.T, conn *clickhouse.Conn, company string) (out []string) {
	t.Helper()
	err := conn.Each(context.Background(), `SELECT concat(toString(source_offset), ' ', what) FROM (
SELECT source_offset, concat(account_id, ' ', path) AS what FROM events FINAL WHERE company_id = {company:String}
UNION ALL SELECT source_offset, reason FROM drops FINAL WHERE company_id = {company:String}) ORDER BY source_offset`,
		func(scan func(...any) error) error {
			var row string
			if err := scan(&row); err != nil {
				return err
			}
			out = append(out, row)
			return nil
		}, clickhouse.Param("company", company))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAReplayReplacesRowsAndAddsNone: an event that was enriched again stands in place
// of its row, however often and in whatever pieces it comes; a drop replaces nothing;
// what has its row among the drops stays there; and what has none, because it was
// lost, gets one.
func TestAReplayReplacesRowsAndAddsNone(t *testing.T) {
	t.Parallel()
	conn := migrated(t, clickhousetest.Start(t))
	if err := conn.Exec(t.Context(), "ALTER TABLE events ADD CONSTRAINT no_bad_path CHECK path != '"+badPath+"'"); err != nil {
		t.Fatal(err)
	}
	w := testWorker(t, store.New(conn))
	dead := &countedDead{}
	w.deps.Dead = dead
	const company = "cmp_again"
	events := make([]*metivav1.EnrichedEvent, 6)
	for i := range events {
		events[i] = testEvent(company, i)
	}
	events[3].EventId = events[2].EventId // the client sent it twice
	next := int64(0)
	write := func(replay bool, messages ...*metivav1.EnrichedRecord) {
		t.Helper()
		b := kafka.Batch{Topic: schemas.TopicEventsEnriched, Partition: 3, First: next, Last: next + int64(len(messages)) - 1}
		for _, m := range messages {
			r := testRecord(t, next, encode(t, m))
			if replay {
				r.Headers = []kafka.Header{{Key: schemas.HeaderReplay, Value: []byte("run")}}
			}
			b.Records = append(b.Records, r)
			next++
		}
		for range 2 { // the sink was killed before it committed
			if err := w.newAttempt(b).write(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	var first, again []*metivav1.EnrichedRecord
	for i, e := range events {
		if i != 4 { // lost
			first = append(first, schemas.EnrichedOf(e))
		}
		other := proto.CloneOf(e)
		other.Resolution.AccountId, other.Resolution.Domain = "abn.nl", "abn.nl"
		switch i {
		case 1:
			again = append(again, schemas.DropOf(&metivav1.Drop{
				EventId: e.GetEventId(), CompanyId: company, SiteId: e.GetSiteId(), ReceivedAtMs: e.GetReceivedAtMs(), Stage: metivav1.Stage_STAGE_ENRICH,
				Reason: metivav1.Reason_REASON_ERASED, Source: e.GetSource(), WriterId: e.GetWriterId(), AcceptanceId: e.GetAcceptanceId(),
			}))
			continue
		case 5:
			other.Path = badPath
		}
		again = append(again, schemas.EnrichedOf(other))
	}
	write(false, first...)
	before := []string{"0 ing.nl /a", "1 ing.nl /a", "2 ing.nl /a", "3 duplicate", "5 ing.nl /a"}
	if got := rowsOf(t, conn, company); !slices.Equal(got, before) {
		t.Fatalf("at first %q", got)
	}
	write(false, again...) // without the mark it is a repetition
	before = slices.Insert(before, 4, "4 abn.nl /a")
	if got := rowsOf(t, conn, company); !slices.Equal(got, before) {
		t.Fatalf("without the mark %q", got)
	}
	want := []string{"0 abn.nl /a", "1 ing.nl /a", "2 abn.nl /a", "3 duplicate", "4 abn.nl /a", "5 ing.nl /a"}
	write(true, again...)
	if got := rowsOf(t, conn, company); !slices.Equal(got, want) {
		t.Fatalf("after the replay %q", got)
	}
	slices.Reverse(again)
	write(true, again[:3]...)
	write(true, again[3:]...)
	if got := rowsOf(t, conn, company); !slices.Equal(got, want) || dead.sent != 0 {
		t.Fatalf("after another %q, %d dead letters", got, dead.sent)
	}
	if err := conn.Exec(t.Context(), "OPTIMIZE TABLE events FINAL"); err != nil {
		t.Fatal(err)
	}
	if got := rowsOf(t, conn, company); !slices.Equal(got, want) {
		t.Fatalf("merged %q", got)
	}
}
