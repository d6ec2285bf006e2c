package clickhouse

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func TestMain(m *testing.M) { os.Exit(clickhousetest.Main(m)) }

func migrated(t *testing.T) *clickhouse.Conn {
	t.Helper()
	c, err := clickhouse.Open(clickhouse.Config{URL: secret.New(clickhousetest.Start(t).URL())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := clickhouse.Migrate(context.Background(), c, schema.Files, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return c
}

func testRow(company string, n int64) EventRow {
	id := make([]byte, 16)
	id[0], id[15] = byte(n), 1
	return EventRow{
		Position: n, ExpiresAt: time.Now().AddDate(1, 0, 0).UTC(),
		Event: &metivav1.EnrichedEvent{
			EventId: id, CompanyId: company, SiteId: "sit_1", ReceivedAtMs: time.Now().UnixMilli(), VisitKey: make([]byte, 16),
			Source: &metivav1.SourceRef{Partition: 2, Offset: n}, AcceptanceId: append([]byte("acceptance"), id[:6]...),
		},
	}
}

func wantedOf(r EventRow) Wanted {
	return Wanted{Identity: identityOf(r), Acceptance: AcceptanceID(r.Event.GetAcceptanceId()), ReceivedAt: time.UnixMilli(r.Event.GetReceivedAtMs())}
}

func identityOf(r EventRow) Identity {
	return Identity{
		Key:    EventKey{CompanyID: r.Event.GetCompanyId(), EventID: [schemas.IDBytes]byte(r.Event.GetEventId())},
		Source: Source{Partition: r.Event.GetSource().GetPartition(), Offset: r.Event.GetSource().GetOffset()},
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := New(migrated(t))
	event, elsewhere, dropped := testRow("cmp_a", 10), testRow("cmp_b", 10), testRow("cmp_a", 11)
	resent := testRow("cmp_a", 10)
	resent.Event = proto.Clone(event.Event).(*metivav1.EnrichedEvent)
	resent.Event.Source.Offset = 99
	absent := testRow("cmp_a", 12)
	if err := s.InsertEvents(ctx, "e", []EventRow{event}); err != nil {
		t.Fatal(err)
	}
	d := identityOf(dropped)
	unreadable := Identity{Key: EventKey{}, Source: Source{Partition: -3, Offset: 5}}
	err := s.InsertDrops(ctx, "d", []DropRow{
		{Key: d.Key, SiteID: "sit_1", ReceivedAt: time.Now(), Stage: metivav1.Stage_STAGE_ENRICH, Reason: metivav1.Reason_REASON_SHREDDED, Source: d.Source},
		{ReceivedAt: time.Now(), Stage: metivav1.Stage_STAGE_SINK, Reason: metivav1.Reason_REASON_INVALID_RECORD, Source: unreadable.Source},
	})
	if err != nil {
		t.Fatal(err)
	}
	asked := []Wanted{wantedOf(event), wantedOf(elsewhere), {Identity: d}, wantedOf(resent), wantedOf(absent), {Identity: unreadable}}
	for range lookupChunk { // more than one chunk
		asked = append(asked, wantedOf(testRow("cmp_c", int64(len(asked)))))
	}
	stored, err := s.Find(ctx, asked)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		name      string
		identity  Identity
		is, event bool
	}{
		{"event", identityOf(event), true, true},
		{"same id in another tenant", identityOf(elsewhere), false, false},
		{"drop", d, true, false},
		{"same id under another source", identityOf(resent), false, true},
		{"absent", identityOf(absent), false, false},
		{"unreadable", unreadable, true, false},
	} {
		if got := stored.Identities[want.identity]; got != want.is {
			t.Errorf("%s: stored is %v", want.name, got)
		}
		if got := stored.Events[want.identity.Key]; got != want.event {
			t.Errorf("%s: an event is stored: %v", want.name, got)
		}
	}
	if len(stored.Identities) != 3 || len(stored.Events) != 1 {
		t.Errorf("found %d identities and %d events", len(stored.Identities), len(stored.Events))
	}
	if empty, err := s.Find(ctx, nil); err != nil || len(empty.Identities) != 0 {
		t.Errorf("nothing asked gives %v, %v", empty, err)
	}
}

// TestFindCopies: a copy of an acceptance is found in either table, under any
// source and any event id, of its own tenant only, and with whether it was sent
// before.
func TestFindCopies(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := New(migrated(t))
	at := time.Now().UTC().Truncate(time.Millisecond)
	event, replayed := testRow("cmp_a", 1), testRow("cmp_a", 2)
	replayed.Event.Replayed = true
	if err := s.InsertEvents(ctx, "e", []EventRow{event, replayed}); err != nil {
		t.Fatal(err)
	}
	drop := func(n byte, replayed bool) DropRow {
		return DropRow{
			Key: EventKey{CompanyID: "cmp_a", EventID: [16]byte{n}}, SiteID: "sit_1", ReceivedAt: at.Add(time.Duration(n) * time.Hour), Stage: metivav1.Stage_STAGE_ENRICH,
			Reason: metivav1.Reason_REASON_ERASED, Source: Source{Partition: 2, Offset: int64(100 + n)}, Acceptance: AcceptanceID{n, 1}, Replayed: replayed,
		}
	}
	dead := drop(4, true)
	dead.Reason = metivav1.Reason_REASON_UNKNOWN_KEY
	if err := s.InsertDrops(ctx, "d", []DropRow{drop(3, false), dead, drop(5, false)}); err != nil {
		t.Fatal(err)
	}
	elsewhere := func(company string, id AcceptanceID, event byte, hours int) Wanted {
		return Wanted{
			Identity:   Identity{Key: EventKey{CompanyID: company, EventID: [16]byte{event, 15: 1}}, Source: Source{Partition: 9, Offset: int64(event)}},
			Acceptance: id, ReceivedAt: at.Add(time.Duration(hours) * time.Hour),
		}
	}
	of := func(r EventRow) AcceptanceID { return AcceptanceID(r.Event.GetAcceptanceId()) }
	stored, err := s.Find(ctx, []Wanted{
		elsewhere("cmp_a", of(event), 1, 0), elsewhere("cmp_a", of(replayed), 2, 0), elsewhere("cmp_a", AcceptanceID{3, 1}, 77, 3), elsewhere("cmp_a", AcceptanceID{4, 1}, 4, 4),
		elsewhere("cmp_b", AcceptanceID{5, 1}, 5, 5), elsewhere("cmp_a", AcceptanceID{9, 1}, 9, 5), elsewhere("cmp_a", AcceptanceID{}, 10, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[Acceptance]Copies{
		{"cmp_a", of(event)}: {First: true, Settled: true}, {"cmp_a", of(replayed)}: {Replayed: true, Settled: true},
		{"cmp_a", AcceptanceID{3, 1}}: {First: true, Settled: true}, {"cmp_a", AcceptanceID{4, 1}}: {Replayed: true}, // a dead letter
		// Asked for by another tenant, found as its own tenant's.
		{"cmp_a", AcceptanceID{5, 1}}: {First: true, Settled: true},
	}
	if !maps.Equal(stored.Copies, want) {
		t.Errorf("found %v, want %v", stored.Copies, want)
	}
	if len(stored.Identities) != 2 {
		t.Errorf("found %d identities, want the two events", len(stored.Identities))
	}
}

func TestTheTablesHoldTheInvariants(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := New(migrated(t))
	for name, breakIt := range map[string]func(*metivav1.EnrichedEvent){
		"visitor without consent": func(e *metivav1.EnrichedEvent) { e.VisitorId = []byte(strings.Repeat("v", 16)) },
		"name without its verdict": func(e *metivav1.EnrichedEvent) {
			e.Resolution = &metivav1.Resolution{Name: "KPN", Verdict: metivav1.Verdict_VERDICT_ISP}
		},
		"no tenant":             func(e *metivav1.EnrichedEvent) { e.CompanyId = "" },
		"click without consent": func(e *metivav1.EnrichedEvent) { e.Type = metivav1.EventType_EVENT_TYPE_CLICK },
	} {
		r := testRow("cmp_a", 1)
		breakIt(r.Event)
		if err := s.InsertEvents(ctx, name, []EventRow{r}); !clickhouse.DataFault(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLedgerKeepsTheGreatestCount(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := migrated(t)
	s := New(c)
	for i, count := range []uint64{5, 9, 7} {
		row := LedgerRow{Message: &metivav1.LedgerEntry{WriterId: "w", CompanyId: "cmp_a", SiteId: "sit_1", MinuteMs: 1_790_000_040_000, Stage: metivav1.Stage_STAGE_COLLECTOR, Count: count}}
		if err := s.InsertLedger(ctx, string(rune('a'+i)), []LedgerRow{row}); err != nil {
			t.Fatal(err)
		}
	}
	var got uint64
	if err := c.QueryRow(ctx, "SELECT sum(count) FROM ledger_edge FINAL").Scan(&got); err != nil || got != 9 {
		t.Errorf("count %d, %v", got, err)
	}
}
