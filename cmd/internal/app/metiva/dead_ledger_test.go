package metiva

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	"github.com/metiva-io/metiva/sink"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// recovery is a sink between a broker with dead letters and a ClickHouse.
type recovery struct {
	*graveyard
	*reads
	company string
}

func newRecovery(t *testing.T) *recovery {
	t.Helper()
	v := &recovery{graveyard: newGraveyard(t), reads: newReads(t), company: "cmp_0123456789abcdefghjk"}
	consumer, err := v.client.NewConsumer(kafka.ConsumerConfig{Group: sink.Group, Topics: sink.Topics()})
	if err != nil {
		t.Fatal(err)
	}
	worker, err := sink.New(sink.Config{BatchAgeMax: 10 * time.Millisecond}, sink.Deps{
		Consumer: consumer, Store: store.New(v.conn), Dead: v.sender, Now: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return v
}

// enriched puts a record on events.enriched.
func (v *recovery) enriched(r *metivav1.EnrichedRecord) {
	v.graveyard.t.Helper()
	value, err := schemas.Encode(nil, r)
	if err != nil {
		v.graveyard.t.Fatal(err)
	}
	if err := v.sender.ProduceSync(v.graveyard.t.Context(), schemas.TopicEventsEnriched, int(schemas.TenantBucket(v.company)), []byte("key"), value); err != nil {
		v.graveyard.t.Fatal(err)
	}
}

// event is what enrich makes of a collected event.
func (v *recovery) event(n byte, offset int64, path string, isReplayed bool) *metivav1.EnrichedEvent {
	acceptance := sha256.Sum256([]byte{n})
	at := time.Now().Add(-time.Hour).Truncate(time.Hour).UnixMilli()
	return &metivav1.EnrichedEvent{
		EventId: append(make([]byte, 15), n), CompanyId: v.company, BrandId: "brd_1", SiteId: "sit_1", Type: metivav1.EventType_EVENT_TYPE_PAGE_VIEW,
		ReceivedAtMs: at, OccurredAtMs: at, EnrichedAtMs: at, Consent: metivav1.ConsentState_CONSENT_STATE_DENIED, VisitKey: make([]byte, 16),
		Host: "www.example.nl", Path: path, Bot: metivav1.BotClass_BOT_CLASS_NONE, Resolution: &metivav1.Resolution{Verdict: metivav1.Verdict_VERDICT_UNCLASSIFIED},
		SealedAddress: []byte{n}, Source: &metivav1.SourceRef{Partition: 3, Offset: offset}, WriterId: "w", RetentionDays: 395,
		AcceptanceId: acceptance[:16], Replayed: isReplayed,
	}
}

func (v *recovery) ledger() analytics.Totals {
	v.graveyard.t.Helper()
	l, err := analytics.NewOperator(v.conn).Ledger(v.graveyard.t.Context(), time.Now().Add(-24*time.Hour))
	if err != nil {
		v.graveyard.t.Fatal(err)
	}
	return l.Total
}

func (v *recovery) until(what string, is func(l analytics.Totals) bool) {
	v.graveyard.t.Helper()
	waittest.Until(v.graveyard.t, 30*time.Second, what, func() bool { return is(v.ledger()) })
}

func (v *recovery) replay(reason string) {
	v.graveyard.t.Helper()
	if lines, err := v.graveyard.run("replay", "--reason", reason); err != nil || lines[len(lines)-1]["replayed"] != 1.0 {
		v.graveyard.t.Fatal(lines, err)
	}
}

// TestTheLedgerBalancesAfterAReplay: one event dies in enrich and one in the sink; both
// are put back when they can pass, by the operator's command, and put back once more.
// At every point the ledger balances, and in the end each event is written once.
func TestTheLedgerBalancesAfterAReplay(t *testing.T) {
	t.Parallel()
	v := newRecovery(t)
	exec := func(sql string) {
		if err := v.conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("ALTER TABLE events ADD CONSTRAINT no_bad_path CHECK path != '/bad'")
	v.accepted(v.company, time.Now().UTC().Add(-time.Hour).Truncate(time.Hour), 2)
	one := v.event(1, 1, "/a", false)
	v.enriched(schemas.DropOf(&metivav1.Drop{
		EventId: one.EventId, CompanyId: v.company, SiteId: one.SiteId, ReceivedAtMs: one.ReceivedAtMs, Stage: metivav1.Stage_STAGE_ENRICH,
		Reason: metivav1.Reason_REASON_UNKNOWN_KEY, Source: one.Source, WriterId: one.WriterId, AcceptanceId: one.AcceptanceId,
	}))
	collected, err := schemas.Encode(nil, &metivav1.CollectedEvent{EventId: one.EventId, CompanyId: v.company, SealedAddress: one.SealedAddress})
	if err != nil {
		t.Fatal(err)
	}
	v.bury(collected, "unknown_key", "enrich", schemas.TopicEventsCollected, 3, time.Now())
	v.enriched(schemas.EnrichedOf(v.event(2, 2, "/bad", false)))
	v.until("both are dead", func(l analytics.Totals) bool {
		return l.Balanced && l.Written == 0 && events(l.DroppedLater["sink"]) == 1 && events(l.DroppedLater["enrich"]) == 1
	})

	exec("ALTER TABLE events DROP CONSTRAINT no_bad_path")
	for round := range uint64(2) {
		v.replay("rejected_row")
		v.replay("unknown_key")
		again := new(metivav1.CollectedEvent)
		records := v.collected()
		if err := proto.Unmarshal(records[len(records)-1].Value, again); err != nil || !again.GetReplayed() {
			t.Fatalf("put back as %v, %v", again, err)
		}
		v.enriched(schemas.EnrichedOf(v.event(1, int64(100+round), "/a", again.GetReplayed())))
		v.until("both are written", func(l analytics.Totals) bool {
			return l.Balanced && l.Written == 2 && l.Recovered == 2 && l.Replayed == round
		})
		if l := v.ledger(); l.Accepted != 2 || l.Received != 2 || len(l.DroppedLater) != 0 || l.Unreported+l.Doubled != 0 {
			t.Errorf("round %d: %+v", round, l)
		}
	}
}

// TestVisitsAndScoresArePutBack: letters of the topics behind enrich go back as they
// were; their readers know them by their version.
func TestVisitsAndScoresArePutBack(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	for i, topic := range []string{schemas.TopicVisitsEnriched, schemas.TopicAccountsEnriched, schemas.TopicLedgerEdge} {
		g.bury([]byte(deadCanary+topic), "internal", "enrich", topic, 0, time.Now())
		lines, err := g.run("replay", "--topic", topic, "--from", "1h")
		if last := lines[len(lines)-1]; err != nil || last["matched"] != 1.0 || last["replayed"] != 1.0 {
			t.Fatal(i, lines, err)
		}
		n := 0
		if err := g.client.Scan(t.Context(), topic, func(r *kafka.Record) error {
			if n++; string(r.Value) != deadCanary+topic || len(r.Headers) != 1 || r.Headers[0].Key != schemas.HeaderDeadLetter {
				t.Errorf("%s has %d bytes and %d headers", topic, len(r.Value), len(r.Headers))
			}
			return nil
		}); err != nil || n != 1 {
			t.Errorf("%s: %d records, %v", topic, n, err)
		}
	}
}
