package sink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// fate is what becomes of a record on its own.
type fate int

const (
	fateEvent    fate = iota
	fateErased        // enrich dropped it
	fateInvalid       // it breaks the envelope
	fateRejected      // ClickHouse refuses it
	fateExpired
	fates
)

// copyOf is one record: a copy of an acceptance of the one event of a case.
type copyOf struct {
	acceptance int
	replayed   bool
	fate       fate
}

func (c copyOf) String() string {
	mark := "first"
	if c.replayed {
		mark = "replayed"
	}
	return fmt.Sprintf("%c/%s/%d", 'A'+c.acceptance, mark, c.fate)
}

// badPath is what the test's ClickHouse refuses.
const badPath = "/bad"

// records makes the case's records of events.enriched, in the order they arrive.
func records(t testing.TB, company string, copies []copyOf) []kafka.Record {
	t.Helper()
	one := testEvent(company, 1)
	one.ReceivedAtMs = testNow.AddDate(0, 0, -3).UnixMilli()
	out := make([]kafka.Record, len(copies))
	for i, c := range copies {
		e := proto.Clone(one).(*metivav1.EnrichedEvent)
		e.ReceivedAtMs += int64(1000 * c.acceptance) // the client came back later
		e.AcceptanceId = []byte(fmt.Sprintf("acceptance %c....", 'A'+c.acceptance))
		e.Replayed = c.replayed
		e.Source.Offset = int64(10 + i)
		var r *metivav1.EnrichedRecord
		switch c.fate {
		case fateEvent, fates:
		case fateErased:
			r = schemas.DropOf(&metivav1.Drop{
				EventId: e.EventId, CompanyId: company, SiteId: e.SiteId, ReceivedAtMs: e.ReceivedAtMs, Stage: metivav1.Stage_STAGE_ENRICH,
				Reason: metivav1.Reason_REASON_ERASED, Source: e.Source, WriterId: e.WriterId, Replayed: e.Replayed, AcceptanceId: e.AcceptanceId,
			})
		case fateInvalid:
			e.Path = strings.Repeat("a", schemas.PathBytesMax+1)
		case fateRejected:
			e.Path = badPath
		case fateExpired:
			e.RetentionDays = 1
		}
		if r == nil {
			r = schemas.EnrichedOf(e)
		}
		out[i] = testRecord(t, int64(i), encode(t, r))
	}
	return out
}

// modelStore keeps rows as ClickHouse does, and ends an attempt at a chosen call.
type modelStore struct {
	Store
	events []store.EventRow
	drops  []store.DropRow
	calls  int // until the crash; 0 is none
}

func (s *modelStore) step() error {
	if s.calls--; s.calls == 0 {
		return errCrash
	}
	return nil
}

func (s *modelStore) Find(_ context.Context, wanted []store.Wanted) (store.Stored, error) {
	found := store.Stored{Identities: map[store.Identity]bool{}, Events: map[store.EventKey]bool{}, Copies: map[store.Acceptance]store.Copies{}, Rows: map[store.Identity]bool{}}
	for _, w := range wanted {
		a := store.Acceptance{CompanyID: w.Identity.Key.CompanyID, ID: w.Acceptance}
		for _, r := range s.events {
			id := identityOf(r.Event.GetCompanyId(), r.Event.GetEventId(), r.Event.GetSource())
			if id.Key != w.Identity.Key {
				continue
			}
			found.Identities[id], found.Rows[id], found.Events[id.Key] = true, true, true
			stored := store.Acceptance{CompanyID: id.Key.CompanyID, ID: store.AcceptanceID(r.Event.GetAcceptanceId())}
			found.Copies[stored] = found.Copies[stored].Add(r.Event.GetReplayed(), true)
		}
		for _, r := range s.drops {
			if id := (store.Identity{Key: r.Key, Source: r.Source}); id == w.Identity {
				found.Identities[id] = true
			}
			if r.Acceptance == w.Acceptance && r.ReceivedAt.Equal(w.ReceivedAt) {
				found.Copies[a] = found.Copies[a].Add(r.Replayed, store.Settles(r.Reason))
			}
		}
	}
	return found, s.step()
}

func (s *modelStore) InsertEvents(_ context.Context, _ string, rows []store.EventRow) error {
	if slices.ContainsFunc(rows, func(r store.EventRow) bool { return r.Event.GetPath() == badPath }) {
		return fmt.Errorf("refused: %w", clickhouse.ErrBadColumn)
	}
	s.events = append(s.events, rows...)
	return s.step()
}

func (s *modelStore) InsertDrops(_ context.Context, _ string, rows []store.DropRow) error {
	s.drops = append(s.drops, rows...)
	return s.step()
}

// countedDead takes dead letters.
type countedDead struct{ sent int }

func (d *countedDead) PartitionFor(context.Context, string, []byte) (int, error) { return 0, nil }

func (d *countedDead) ProduceSync(context.Context, string, int, []byte, []byte, ...kafka.Header) error {
	d.sent++
	return nil
}

// deliver writes the records in batches that end after the given positions. A
// crash is followed by another process with the same batch.
func deliver(t testing.TB, w *Worker, records []kafka.Record, cuts []bool) {
	t.Helper()
	first := 0
	for i := range records {
		if i < len(records)-1 && !cuts[i] {
			continue
		}
		b := kafka.Batch{
			Topic: schemas.TopicEventsEnriched, Partition: 3, Records: records[first : i+1],
			First: records[first].Offset, Last: records[i].Offset,
		}
		first = i + 1
		if err := w.attemptAt(b).write(context.Background()); err == nil {
			continue
		}
		b.Again = true
		if err := w.attemptAt(b).write(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// checkAccounts holds the outcomes of a case, in the order the records arrived, to
// what the ledger needs. An outcome is "event" or a drop's reason.
func checkAccounts(copies []copyOf, outcomes []string) error {
	counted, replays, events := map[int]int{}, map[int]int{}, 0
	total, event := map[int]int{}, map[int]bool{}
	for i, c := range copies {
		event[c.acceptance] = event[c.acceptance] || outcomes[i] == "event"
	}
	for i, c := range copies {
		total[c.acceptance]++
		isDead := outcomes[i] == "invalid_record" || outcomes[i] == "rejected_row"
		switch {
		case outcomes[i] == "replayed", isDead && event[c.acceptance]: // recovered
			replays[c.acceptance]++
			continue
		case outcomes[i] == "event":
			events++
		}
		counted[c.acceptance]++
		// The first copy to arrive is the one that counts, with its own outcome or
		// as the repetition of another acceptance's event; but for an event after
		// dead letters.
		if replays[c.acceptance] > 0 && outcomes[i] != "event" {
			return fmt.Errorf("%v counts, and arrived after a replay", c)
		}
		own := []string{"event", "erased", "invalid_record", "rejected_row", "expired"}[c.fate]
		duplicate := outcomes[i] == "duplicate" && (c.fate == fateEvent || c.fate == fateRejected || c.fate == fateExpired)
		if outcomes[i] != own && !duplicate {
			return fmt.Errorf("%v became %s", c, outcomes[i])
		}
	}
	for acceptance, n := range total {
		if counted[acceptance] != 1 || replays[acceptance] != n-1 {
			return fmt.Errorf("acceptance %c has %d rows that count and %d replays of %d records", 'A'+acceptance, counted[acceptance], replays[acceptance], n)
		}
	}
	if events > 1 {
		return fmt.Errorf("%d events", events)
	}
	if all := !slices.ContainsFunc(copies, func(c copyOf) bool { return c.fate != fateEvent }); all && events != 1 {
		return errors.New("no event, and nothing stood against it")
	}
	return nil
}

// outcomes reads the model's rows by offset; every record has exactly one.
func (s *modelStore) outcomes(n int) ([]string, error) {
	out := make([]string, n)
	put := func(offset int64, outcome string) error {
		i := int(offset - 10)
		if out[i] != "" {
			return fmt.Errorf("record %d is %s and %s", i, out[i], outcome)
		}
		out[i] = outcome
		return nil
	}
	for _, r := range s.events {
		if err := put(r.Event.GetSource().GetOffset(), "event"); err != nil {
			return nil, err
		}
	}
	for _, r := range s.drops {
		if err := put(r.Source.Offset, schemas.Label(r.Reason)); err != nil {
			return nil, err
		}
	}
	if i := slices.Index(out, ""); i >= 0 {
		return nil, fmt.Errorf("record %d has no row", i)
	}
	return out, nil
}

// tryCase runs one case on the model.
func tryCase(t *testing.T, copies []copyOf, cuts []bool, crashAt int) {
	t.Helper()
	s := &modelStore{calls: crashAt}
	w := testWorker(t, s)
	w.deps.Dead = &countedDead{}
	deliver(t, w, records(t, "cmp_a", copies), cuts)
	outcomes, err := s.outcomes(len(copies))
	if err == nil {
		err = checkAccounts(copies, outcomes)
	}
	if err != nil {
		t.Fatalf("%v in batches %v, crash at %d: %v: %v", copies, cuts, crashAt, err, outcomes)
	}
}

// permutations are all orders of n things.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{nil}
	}
	var out [][]int
	for _, p := range permutations(n - 1) {
		for i := range n {
			out = append(out, slices.Insert(slices.Clone(p), i, n-1))
		}
	}
	return out
}

// TestEveryOrderOfCopies takes the record a collector sent, its copy from the
// spool and the client's own repetition, all of them or without one, each with
// every fate, in every order, cut into batches in every way, with a crash at each
// step: each acceptance counts once.
func TestEveryOrderOfCopies(t *testing.T) {
	t.Parallel()
	all := []copyOf{{acceptance: 0}, {acceptance: 0, replayed: true}, {acceptance: 1}}
	cases := 0
	for _, set := range [][]int{{0, 1, 2}, {0, 1}, {1, 2}, {0, 2}, {1}} {
		for _, order := range permutations(len(set)) {
			for number := range pow(int(fates), len(set)) {
				copies := make([]copyOf, len(set))
				for i, j := range order {
					copies[i] = all[set[j]]
					copies[i].fate = fate(number / pow(int(fates), i) % int(fates))
				}
				for cut := range pow(2, len(set)-1) {
					for crashAt := range 5 {
						tryCase(t, copies, []bool{cut&1 != 0, cut&2 != 0, true}, crashAt)
						cases++
					}
				}
			}
		}
	}
	t.Logf("%d cases", cases)
}

func pow(base, exponent int) int {
	n := 1
	for range exponent {
		n *= base
	}
	return n
}

// anyCopies are up to eight records of up to three acceptances, in any order. At
// most one copy of an acceptance is the first.
func anyCopies(rng *rand.Rand) []copyOf {
	var copies []copyOf
	for acceptance := range 1 + rng.IntN(3) {
		first := rng.IntN(2)
		for i := range max(1, first+rng.IntN(3)) {
			copies = append(copies, copyOf{acceptance: acceptance, replayed: i >= first, fate: fate(max(0, rng.IntN(2*int(fates))-int(fates)))})
		}
	}
	rng.Shuffle(len(copies), func(i, j int) { copies[i], copies[j] = copies[j], copies[i] })
	return copies
}

func anyCuts(rng *rand.Rand, n int) []bool {
	cuts := make([]bool, n)
	for i := range cuts {
		cuts[i] = rng.IntN(2) == 0
	}
	return cuts
}

func TestAnyCopiesInAnyOrder(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 5000 {
		copies := anyCopies(rng)
		tryCase(t, copies, anyCuts(rng, len(copies)), rng.IntN(2*len(copies)))
	}
}

// TestTwoFirstRecordsAreNoReplay: records the collector sent for the first time
// are duplicates, as they always were; the ledger says if they share an acceptance.
func TestTwoFirstRecordsAreNoReplay(t *testing.T) {
	t.Parallel()
	for _, cuts := range [][]bool{{false}, {true}} {
		s := &modelStore{}
		w := testWorker(t, s)
		deliver(t, w, records(t, "cmp_a", []copyOf{{}, {}}), cuts)
		if got, err := s.outcomes(2); err != nil || !slices.Equal(got, []string{"event", "duplicate"}) {
			t.Errorf("became %v, %v", got, err)
		}
	}
}

// TestAReplayLeavesNoSecondDeadLetter of a record that breaks the envelope.
func TestAReplayLeavesNoSecondDeadLetter(t *testing.T) {
	t.Parallel()
	w, dead := testWorker(t, &modelStore{}), &countedDead{}
	w.deps.Dead = dead
	deliver(t, w, records(t, "cmp_a", []copyOf{{fate: fateInvalid}, {fate: fateInvalid, replayed: true}}), []bool{true})
	if dead.sent != 1 {
		t.Errorf("%d dead letters", dead.sent)
	}
}

// TestCopiesOnTheEngine runs cases on ClickHouse itself: each is a tenant.
func TestCopiesOnTheEngine(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	conn := migrated(t, clickhousetest.Start(t))
	if err := conn.Exec(ctx, "ALTER TABLE events ADD CONSTRAINT no_bad_path CHECK path != '"+badPath+"'"); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w := testWorker(t, store.New(conn))
	w.deps.Dead = &countedDead{}
	for i := range 25 {
		company := fmt.Sprintf("cmp_%d", i)
		copies := anyCopies(rng)
		cuts := anyCuts(rng, len(copies))
		deliver(t, w, records(t, company, copies), cuts)
		outcomes := make([]string, len(copies))
		err := conn.Each(ctx, `SELECT source_offset, 'event' FROM events WHERE company_id = {company:String}
UNION ALL SELECT source_offset, reason FROM drops WHERE company_id = {company:String}`, func(scan func(...any) error) error {
			var offset int64
			var outcome string
			if err := scan(&offset, &outcome); err != nil {
				return err
			}
			outcomes[offset-10] += outcome // two rows make no outcome
			return nil
		}, clickhouse.Param("company", company))
		if err == nil {
			err = checkAccounts(copies, outcomes)
		}
		if err != nil {
			t.Fatalf("%v in batches %v: %v: %v", copies, cuts, err, outcomes)
		}
	}
}
