package sink

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/tombstone"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// book keeps rows as ClickHouse does, tokens and replaced rows among it, ends an
// attempt before or after a chosen call, and notes what may never be.
type book struct {
	Store
	erased Erasures
	events map[store.Identity]bookRow
	drops  map[store.Identity]store.DropRow
	tokens map[string]bool
	old    bool // the rows are older than the table's knowledge of tokens
	calls  int  // until the crash; 0 is none
	faults []string
	// refused: a row of the present batch was.
	refused bool
	// forgetful: a crash may come when the token is noted and the rows are not kept.
	forgetful *rand.Rand
}

// forgets notes the token of an insert in which a crash comes before its rows are kept.
func (b *book) forgets(token string) bool {
	if b.forgetful == nil || b.calls != 1 || b.forgetful.IntN(2) == 0 {
		return false
	}
	b.tokens[token] = true
	return true
}

func (b *book) Absence(context.Context, string, string) (store.Absence, error) {
	return store.AbsenceProven, nil
}

type bookRow struct {
	event *metivav1.EnrichedEvent
	mark  uint64
}

func (b *book) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

func (b *book) step() error {
	if b.calls--; b.calls == 0 {
		return errCrash
	}
	return nil
}

func (b *book) Find(context.Context, []store.Wanted) (store.Stored, error) {
	found := store.Stored{
		Identities: map[store.Identity]bool{}, Written: map[store.Written]bool{}, Events: map[store.EventKey]bool{},
		Rows: map[store.Identity]bool{}, Copies: map[store.Acceptance]store.Copies{},
	}
	for id, r := range b.events {
		found.Identities[id], found.Rows[id], found.Events[id.Key] = true, true, true
		found.Written[store.Written{Identity: id, Mark: r.mark}] = !b.old
		a := acceptanceOf(id.Key.CompanyID, r.event.GetAcceptanceId())
		found.Copies[a] = found.Copies[a].Add(r.event.GetReplayed(), true)
	}
	for id, r := range b.drops {
		found.Identities[id] = true
		a := store.Acceptance{CompanyID: id.Key.CompanyID, ID: r.Acceptance}
		found.Copies[a] = found.Copies[a].Add(r.Replayed, store.Settles(r.Reason))
	}
	return found, b.step()
}

func (b *book) InsertEvents(_ context.Context, token string, rows []store.EventRow) error {
	if err := b.step(); err != nil {
		return err
	}
	for _, r := range rows {
		id := identityOf(r.Event.GetCompanyId(), r.Event.GetEventId(), r.Event.GetSource())
		was, has := b.events[id]
		_, isDrop := b.drops[id]
		switch {
		case b.erased.Has(r.Event.GetCompanyId(), r.Event.GetVisitorId()):
			b.fault("record %d of an erased visitor is written", id.Source.Offset)
		case b.tokens[token] && !has && !isDrop && b.forgetful == nil:
			b.fault("record %d is lost under a token the table knows", id.Source.Offset)
		case has && was.mark != store.Mark(token) && !r.Replaces:
			b.fault("record %d is written twice", id.Source.Offset)
		}
	}
	if slices.ContainsFunc(rows, func(r store.EventRow) bool { return r.Event.GetPath() == badPath }) {
		b.refused = true
		return fmt.Errorf("refused: %w", clickhouse.ErrBadColumn)
	}
	if b.forgets(token) {
		return b.step()
	}
	for _, r := range rows {
		if !b.tokens[token] {
			id := identityOf(r.Event.GetCompanyId(), r.Event.GetEventId(), r.Event.GetSource())
			b.events[id] = bookRow{proto.CloneOf(r.Event), store.Mark(token)}
		}
	}
	b.tokens[token] = true
	return b.step()
}

func (b *book) InsertDrops(_ context.Context, token string, rows []store.DropRow) error {
	if err := b.step(); err != nil {
		return err
	}
	if b.forgets(token) {
		return b.step()
	}
	for _, r := range rows {
		id := store.Identity{Key: r.Key, Source: r.Source}
		_, has := b.drops[id]
		switch {
		case b.tokens[token] && !has:
			if b.forgetful != nil {
				continue
			}
			b.fault("drop %d is lost under a token the table knows", id.Source.Offset)
		case has && !b.tokens[token]:
			b.fault("drop %d is written twice", id.Source.Offset)
		case !has:
			b.drops[id] = r
		}
	}
	b.tokens[token] = true
	return b.step()
}

// rows are what stands, to be compared.
func (b *book) rows() map[string]string {
	out := make(map[string]string)
	for id, r := range b.events {
		out[fmt.Sprintf("event %v", id.Source)] = r.event.GetResolution().GetAccountId()
	}
	for id, r := range b.drops {
		out[fmt.Sprintf("drop %v", id.Source)] = schemas.Label(r.Reason)
	}
	return out
}

// sent is one record of a case.
type sent struct {
	acceptance, key int
	offset          int64 // of its source
	replayed        bool
	header          string
	fate            fate
	account         string
	visitor         bool // of the one who is erased
}

var erasedVisitor = []byte("0123456789abcdef")

func (s sent) value(t testing.TB) []byte {
	t.Helper()
	e := testEvent("cmp_a", 1)
	e.EventId = fmt.Appendf(nil, "event %c.........", 'A'+s.key)
	e.ReceivedAtMs = testNow.AddDate(0, 0, -3).UnixMilli() + int64(1000*s.acceptance)
	e.AcceptanceId = fmt.Appendf(nil, "acceptance %c....", 'A'+s.acceptance)
	e.Replayed, e.Source.Offset = s.replayed, s.offset
	e.Resolution.AccountId = s.account
	if s.visitor {
		e.VisitorId, e.Consent = erasedVisitor, metivav1.ConsentState_CONSENT_STATE_ANALYTICS
	}
	switch s.fate {
	case fateErased:
		return encode(t, schemas.DropOf(&metivav1.Drop{
			EventId: e.EventId, CompanyId: e.CompanyId, SiteId: e.SiteId, ReceivedAtMs: e.ReceivedAtMs, Stage: metivav1.Stage_STAGE_ENRICH,
			Reason: metivav1.Reason_REASON_WITHDRAWN, Source: e.Source, WriterId: e.WriterId, Replayed: e.Replayed, AcceptanceId: e.AcceptanceId,
		}))
	case fateInvalid:
		e.Path = strings.Repeat("a", schemas.PathBytesMax+1)
	case fateRejected:
		e.Path = badPath
	case fateExpired:
		e.RetentionDays = 1
	case fateEvent, fates:
	}
	return encode(t, schemas.EnrichedOf(e))
}

// anySent are the records of up to three acceptances, of one event id or of several:
// what a collector sent, its copies, enrich's repetitions, dead letters that were put
// back and events that were enriched again, these behind what they are made of.
func anySent(rng *rand.Rand) []sent {
	var out []sent
	visitors := [2]bool{rng.IntN(2) == 0, rng.IntN(2) == 0}
	for acceptance := range 1 + rng.IntN(3) {
		key, first := rng.IntN(2), rng.IntN(2)
		for i := range max(1, first+rng.IntN(3)) {
			s := sent{
				acceptance: acceptance, key: key, offset: int64(10 + 10*acceptance + i), replayed: i >= first,
				fate: fate(max(0, rng.IntN(2*int(fates))-int(fates))), account: "ing.nl", visitor: visitors[key],
			}
			at := rng.IntN(len(out) + 1)
			out = slices.Insert(out, at, s)
			for n := range rng.IntN(4) {
				again := s
				switch rng.IntN(3) {
				case 0: // enrich was killed
				case 1:
					if s.fate != fateExpired {
						again.fate = fate(rng.IntN(int(fateExpired)))
					}
					again.header, again.account = schemas.HeaderReplay, fmt.Sprintf("again%d.nl", n)
				default:
					if s.fate != fateInvalid && s.fate != fateRejected {
						continue
					}
					again.header, again.replayed = schemas.HeaderDeadLetter, true
					if rng.IntN(2) == 0 {
						again.fate = fateEvent // the sink was mended
					}
				}
				at += 1 + rng.IntN(len(out)-at)
				out = slices.Insert(out, at, again)
			}
		}
	}
	return out
}

// bookCase is a case being run.
type bookCase struct {
	book   *book
	worker *Worker
	rng    *rand.Rand
	set    *tombstone.Set
	erased bool
}

func (c *bookCase) maybeErase(t *testing.T) {
	t.Helper()
	if c.erased || c.rng.IntN(6) > 0 {
		return
	}
	c.erased = true
	value := encode(t, &metivav1.Erasure{CompanyId: "cmp_a", SubjectId: erasedVisitor, ErasedAtMs: 1})
	if err := c.set.Apply(tombstone.RecordKey("cmp_a", erasedVisitor), value); err != nil {
		t.Fatal(err)
	}
}

// deliver writes one batch: attempts that crash, one that does not, and another of a
// sink that was killed before it committed, which changes nothing.
func (c *bookCase) deliver(t *testing.T, b kafka.Batch) {
	t.Helper()
	for range c.rng.IntN(3) {
		c.book.calls = 1 + c.rng.IntN(6)
		a := c.worker.attemptAt(b)
		_ = a.write(t.Context())
		a.end() // and the next uses its memory
		b.Again = true
		c.maybeErase(t)
		if c.rng.IntN(4) == 0 { // more than ten minutes went by
			c.book.old, c.book.tokens = true, map[string]bool{}
		}
	}
	c.book.calls, c.book.refused = 0, false
	var before map[string]string
	for range 2 {
		a := c.worker.attemptAt(b)
		if err := a.write(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.end()
		b.Again = true
		// What was refused settles nothing after all: a copy may revive then.
		if rows := c.book.rows(); before != nil && !c.book.refused && !maps.Equal(before, rows) {
			c.book.fault("rows %v became %v by another attempt", before, rows)
		}
		before = c.book.rows()
	}
	c.book.old = false
	c.maybeErase(t)
}

// check holds what stands to what the ledger, an erasure and a replay need.
func (c *bookCase) check(records []sent) []string {
	faults := c.book.faults
	source := func(r sent) store.Source {
		return store.Source{Partition: int32(schemas.TenantBucket("cmp_a")), Offset: r.offset}
	}
	events, drops := map[store.Source]string{}, map[store.Source]metivav1.Reason{}
	keys, hasEvent := map[store.EventKey]int{}, map[store.AcceptanceID]int{}
	for id, r := range c.book.events {
		events[id.Source] = r.event.GetResolution().GetAccountId()
		keys[id.Key]++
		hasEvent[store.AcceptanceID(r.event.GetAcceptanceId())]++
	}
	counted := maps.Clone(hasEvent)
	for id, r := range c.book.drops {
		drops[id.Source] = r.Reason
		switch {
		case r.Reason == metivav1.Reason_REASON_REPLAYED:
		case slices.Contains(schemas.DeadReasons(), r.Reason) && hasEvent[r.Acceptance] > 0: // recovered
		default:
			counted[r.Acceptance]++
		}
	}
	for key, n := range keys {
		if n > 1 {
			faults = append(faults, fmt.Sprintf("%d rows of event %q", n, key.EventID))
		}
	}
	for _, r := range records {
		_, isEvent := events[source(r)]
		if _, isDrop := drops[source(r)]; !isEvent && !isDrop {
			faults = append(faults, fmt.Sprintf("%+v has no row", r))
		}
		if n := counted[store.AcceptanceID(fmt.Appendf(nil, "acceptance %c....", 'A'+r.acceptance))]; n != 1 {
			faults = append(faults, fmt.Sprintf("acceptance %c counts %d times", 'A'+r.acceptance, n))
		}
	}
	return append(faults, c.checkAccounts(records, events, source)...)
}

// checkAccounts: of what was enriched again the last that could be written stands.
func (c *bookCase) checkAccounts(records []sent, events map[store.Source]string, source func(sent) store.Source) (faults []string) {
	last, putBack := map[store.Source]string{}, map[store.Source]bool{}
	for _, r := range records {
		switch {
		case r.header == schemas.HeaderDeadLetter:
			putBack[source(r)] = true
		case r.header == schemas.HeaderReplay && r.fate == fateEvent:
			last[source(r)] = r.account
		}
		if c.erased && r.visitor {
			putBack[source(r)] = true // may stand as it was
		}
	}
	for at, account := range last {
		if got, has := events[at]; has && !putBack[at] && got != account {
			faults = append(faults, fmt.Sprintf("source %d is of %s and was enriched again to %s", at.Offset, got, account))
		}
	}
	return faults
}

// TestEveryCombinationOfWhatComesAgain: copies, repetitions, events that were enriched
// again, dead letters that were put back and an erasure, in any order and any batches,
// with crashes before, in and after each write: each acceptance has one row that counts,
// nobody who was erased is written, and an attempt after the last changes nothing.
func TestEveryCombinationOfWhatComesAgain(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2_500) {
		rng := rand.New(rand.NewPCG(seed, 7))
		set := tombstone.NewSet()
		b := &book{erased: set, events: map[store.Identity]bookRow{}, drops: map[store.Identity]store.DropRow{}, tokens: map[string]bool{}}
		c := &bookCase{book: b, worker: testWorker(t, b), rng: rng, set: set}
		c.worker.deps.Erased, c.worker.deps.Dead = set, &countedDead{}
		if seed%2 == 1 {
			b.forgetful = rng
		}
		records := anySent(rng)
		var batch kafka.Batch
		for i, r := range records {
			record := testRecord(t, int64(i), r.value(t))
			if r.header != "" {
				record.Headers = []kafka.Header{{Key: r.header}}
			}
			if len(batch.Records) == 0 {
				batch = kafka.Batch{Topic: schemas.TopicEventsEnriched, Partition: 3, First: int64(i)}
			}
			batch.Last, batch.Records = int64(i), append(batch.Records, record)
			// A letter is put back when the batch that sent it is planned long since. What is
			// enriched again of a row that is refused in the same batch is not looked at.
			if i == len(records)-1 || records[i+1].header == schemas.HeaderDeadLetter || rng.IntN(3) == 0 ||
				records[i+1].header != "" && slices.ContainsFunc(records[:i+1], func(r sent) bool { return r.fate == fateRejected && r.offset == records[i+1].offset }) {
				c.deliver(t, batch)
				batch = kafka.Batch{}
			}
		}
		if faults := c.check(records); len(faults) > 0 {
			lines := make([]string, len(records))
			for i, r := range records {
				lines[i] = fmt.Sprintf("%+v", r)
			}
			t.Fatalf("seed %d:\n%s\nof\n%s\nbecame %v", seed, strings.Join(faults, "\n"), strings.Join(lines, "\n"), b.rows())
		}
	}
}
