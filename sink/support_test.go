package sink

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/schemas"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

var testNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func fixedNow() time.Time { return testNow }

// testEvent is a valid event; n makes its ids and source.
func testEvent(company string, n int) *metivav1.EnrichedEvent {
	id := uuid.Must(uuid.NewV7())
	visit := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(company), uint64(n/4)))
	acceptance := sha256.Sum256(id[:])
	at := testNow.Add(-time.Hour).UnixMilli() + int64(n)
	return &metivav1.EnrichedEvent{
		EventId: id[:], CompanyId: company, BrandId: "brd_1", SiteId: "sit_" + company, Type: metivav1.EventType_EVENT_TYPE_PAGE_VIEW,
		ReceivedAtMs: at, OccurredAtMs: at - 50, EnrichedAtMs: at + 20,
		Consent: metivav1.ConsentState_CONSENT_STATE_DENIED, VisitKey: visit[:16],
		Host: "www.example.nl", Path: "/a", ReferrerHost: "search.example", Campaign: &metivav1.Campaign{Source: "s", Medium: "m", Name: "n"},
		Device: metivav1.DeviceClass_DEVICE_CLASS_DESKTOP, BrowserFamily: "firefox", SystemFamily: "linux", Bot: metivav1.BotClass_BOT_CLASS_NONE, Country: "NL",
		Resolution: &metivav1.Resolution{
			Verdict: metivav1.Verdict_VERDICT_COMPANY, AccountId: "ing.nl", Name: "ING", Domain: "ing.nl", Confidence: 0.75,
			Source: "asn", Asn: 15625, PrefixBits: 21, DatabaseBuildMs: at - 86_400_000,
		},
		SealedAddress: []byte("\x01sealed\x00\n\xff"), Source: &metivav1.SourceRef{Partition: int32(schemas.TenantBucket(company)), Offset: int64(n)},
		WriterId: "collector-1", RetentionDays: 36_000, AcceptanceId: acceptance[:16],
	}
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := schemas.Encode(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testRecord is a record of events.enriched at an offset.
func testRecord(t testing.TB, offset int64, value []byte) kafka.Record {
	t.Helper()
	return kafka.Record{Topic: schemas.TopicEventsEnriched, Partition: 3, Offset: offset, Time: testNow, Key: []byte("key"), Value: value}
}

// migrated is a connection to an engine's migrated database.
func migrated(t testing.TB, server *clickhousetest.Server) *clickhouse.Conn {
	t.Helper()
	c, err := clickhouse.Open(clickhouse.Config{URL: secret.New(server.URL()), ConnectionsMax: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := clickhouse.Migrate(context.Background(), c, schema.Files, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return c
}

// attemptAt is an attempt at a batch by a process that did not try it before; whether
// another did, the batch says.
func (w *Worker) attemptAt(b kafka.Batch) attempt {
	return w.newAttempt(batchWriter{
		worker: w, batch: b, hash: hashBatch(b), now: w.deps.Now(), deadSent: make(map[int64]bool), again: &b.Again,
	})
}
