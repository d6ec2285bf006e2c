package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/tombstone"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// writtenStore notes what is written, as lines.
type writtenStore struct {
	Store
	lines []string
}

func (s *writtenStore) note(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *writtenStore) Find(context.Context, []store.Wanted) (store.Stored, error) {
	return store.Stored{}, nil
}

func (s *writtenStore) InsertEvents(_ context.Context, _ string, rows []store.EventRow) error {
	for _, r := range rows {
		s.note("event %s %d", r.Event.GetCompanyId(), r.Position)
	}
	return nil
}

func (s *writtenStore) InsertDrops(_ context.Context, _ string, rows []store.DropRow) error {
	for _, r := range rows {
		s.note("drop %s %d %s %s", r.Key.CompanyID, r.Position, schemas.Label(r.Stage), schemas.Label(r.Reason))
	}
	return nil
}

func (s *writtenStore) InsertVisits(_ context.Context, _ string, rows []store.VisitRow) error {
	for _, r := range rows {
		s.note("visit %s %d", r.Message.GetCompanyId(), r.Position)
	}
	return nil
}

func (s *writtenStore) InsertAccountDays(_ context.Context, _ string, rows []store.AccountDayRow) error {
	for _, r := range rows {
		s.note("day %s %d", r.Message.GetCompanyId(), r.Position)
	}
	return nil
}

func (s *writtenStore) InsertLedger(_ context.Context, _ string, rows []store.LedgerRow) error {
	for _, r := range rows {
		s.note("ledger %s %d", r.Message.GetCompanyId(), r.Position)
	}
	return nil
}

// TestErased: of an erased tenant nothing is written; of an erased visitor a drop that
// names nobody takes the place of each event, and no visit. A batch that is tried
// again after the erasure writes as if it had been known from the start.
func TestErased(t *testing.T) {
	t.Parallel()
	visitor := []byte("0123456789abcdef")
	s := &writtenStore{}
	w := testWorker(t, s)
	erased := tombstone.NewSet()
	w.deps.Erased = erased
	w.deps.Dead = nil // an erased tenant's bad records are no dead letters
	erase := func(companyID string, subject []byte) {
		t.Helper()
		value := encode(t, &metivav1.Erasure{CompanyId: companyID, SubjectId: subject, ErasedAtMs: 1})
		if err := erased.Apply(tombstone.RecordKey(companyID, subject), value); err != nil {
			t.Fatal(err)
		}
	}
	of := func(e *metivav1.EnrichedEvent, visitorID []byte) *metivav1.EnrichedEvent {
		e.VisitorId, e.Consent = visitorID, metivav1.ConsentState_CONSENT_STATE_ANALYTICS
		return e
	}
	batch := func(topic string, values ...[]byte) attempt {
		b := kafka.Batch{Topic: topic, Last: int64(len(values) - 1)}
		for i, v := range values {
			r := testRecord(t, int64(i), v)
			b.Records = append(b.Records, r)
		}
		return w.attemptAt(b)
	}
	write := func(a attempt, want ...string) {
		t.Helper()
		s.lines = nil
		if err := a.write(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(s.lines, want) {
			t.Errorf("written\n%q, want\n%q", s.lines, want)
		}
	}
	bad := testEvent("cmp_gone", 4)
	bad.VisitorId = make([]byte, 3)
	visit := testVisit("cmp_a", 1, 3)
	visit.VisitorId, visit.Consent = visitor, metivav1.ConsentState_CONSENT_STATE_ANALYTICS
	badVisit := testVisit("cmp_gone", 2, 3)
	badVisit.Version = 0
	events := batch(schemas.TopicEventsEnriched,
		encode(t, schemas.EnrichedOf(testEvent("cmp_a", 0))),
		encode(t, schemas.EnrichedOf(of(testEvent("cmp_a", 1), visitor))),
		encode(t, schemas.EnrichedOf(of(testEvent("cmp_b", 2), visitor))),
		encode(t, schemas.EnrichedOf(testEvent("cmp_gone", 3))),
		encode(t, schemas.EnrichedOf(bad)))
	visits := batch(schemas.TopicVisitsEnriched, encode(t, visit), encode(t, testVisit("cmp_gone", 1, 3)), encode(t, testVisit("cmp_b", 1, 3)), encode(t, badVisit))
	days := batch(schemas.TopicAccountsEnriched, encode(t, testDay("cmp_gone", "ing.nl", 1, 0)), encode(t, testDay("cmp_a", "ing.nl", 1, 0)))

	erase("cmp_gone", nil)
	write(events, "event cmp_a 0", "event cmp_a 1", "event cmp_b 2")
	write(visits, "visit cmp_a 0", "visit cmp_b 2")
	erase("cmp_a", visitor)
	write(events, "event cmp_a 0", "event cmp_b 2", "drop cmp_a 1 sink erased")
	write(visits, "visit cmp_b 2")
	write(days, "day cmp_a 1")
	unreadable := of(testEvent("cmp_a", 5), visitor)
	unreadable.Path = strings.Repeat("a", schemas.PathBytesMax+1)
	write(batch(schemas.TopicEventsEnriched, encode(t, schemas.EnrichedOf(unreadable))), "drop cmp_a 0 sink erased")
}
