package seal

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// keyLog is control.keys in memory: an append-only log whose readers are as far
// as they have been driven.
type keyLog struct {
	mu      sync.Mutex
	records []logRecord
	readers []*logReader
	refuse  func(recordKey string) error
}

type logRecord struct {
	key   string
	value []byte
}

type logReader struct {
	apply func(key, value []byte) error
	next  int
}

func (l *keyLog) append(t testing.TB, key string, value []byte) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, logRecord{key, value})
}

func (l *keyLog) tombstone(_ context.Context, key []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse != nil {
		if err := l.refuse(string(key)); err != nil {
			return err
		}
	}
	l.records = append(l.records, logRecord{string(key), nil})
	return nil
}

func (l *keyLog) reader(apply func(key, value []byte) error) *logReader {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &logReader{apply: apply}
	l.readers = append(l.readers, r)
	return r
}

// catchUp drives every reader to the end.
func (l *keyLog) catchUp(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.readers {
		for ; r.next < len(l.records); r.next++ {
			if err := r.apply([]byte(l.records[r.next].key), l.records[r.next].value); err != nil {
				return err
			}
		}
	}
	return nil
}

// live is what a compacted log holds.
func (l *keyLog) live() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := map[string]bool{}
	for _, r := range l.records {
		last[r.key] = len(r.value) > 0
	}
	maps.DeleteFunc(last, func(_ string, live bool) bool { return !live })
	return slices.Sorted(maps.Keys(last))
}

func (l *keyLog) tombstones() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, r := range l.records {
		if len(r.value) == 0 {
			n++
		}
	}
	return n
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// shredRig is a Sealer, an Opener and a Shredder around one log.
type shredRig struct {
	*Sealer
	log      *keyLog
	opener   *Opener
	shredder *Shredder
	edge     PrivateKey
}

func (r *shredRig) newShredder(t testing.TB) *Shredder {
	t.Helper()
	shredder, err := NewShredder(ShredderConfig{Tombstone: r.log.tombstone, CatchUp: r.log.catchUp, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	r.log.reader(shredder.ApplyKey)
	return shredder
}

func newShredRig(t testing.TB) *shredRig {
	t.Helper()
	priv := newPrivateKey(t)
	r := &shredRig{log: &keyLog{}, opener: NewOpener(priv), edge: newPrivateKey(t)}
	r.log.reader(r.opener.ApplyKey)
	r.shredder = r.newShredder(t)
	sealer, err := NewSealer(priv.Public(), "w", func(_ context.Context, rec *metivav1.DataKey) error {
		r.log.append(t, string(RecordKeyOf(rec)), recordBytes(t, rec))
		return nil
	}, newClock().Now)
	if err != nil {
		t.Fatal(err)
	}
	r.Sealer = sealer
	return r
}

func (r *shredRig) salt(t testing.TB, company, day string) {
	t.Helper()
	rec, err := WrapSalt(r.edge.Public(), company, day, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	value, err := proto.Marshal(&metivav1.KeyRecord{Kind: &metivav1.KeyRecord_VisitSalt{VisitSalt: rec}})
	if err != nil {
		t.Fatal(err)
	}
	r.log.append(t, string(SaltRecordKey(company, day)), value)
}

// captured seals one form value and returns how to open it.
func (r *shredRig) captured(t testing.TB, company string, subject [16]byte) func() error {
	t.Helper()
	key, err := r.NewSubjectKey(t.Context(), company, subject)
	if err != nil {
		t.Fatal(err)
	}
	b := Binding{CompanyID: company, SiteID: "sit", EventID: [16]byte{7}, SubjectID: subject, Field: FormField("email")}
	blob, err := key.SealField(nil, b, []byte("a@b.example"))
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		_, err := r.opener.OpenField(nil, b, blob)
		return err
	}
}

func (r *shredRig) seen(t testing.TB, company string) func() error {
	t.Helper()
	if err := r.Prepare(t.Context(), company); err != nil {
		t.Fatal(err)
	}
	b := Binding{CompanyID: company, SiteID: "sit", EventID: [16]byte{7}, Field: FieldAddress}
	blob, err := r.SealAddress(nil, b, addressOf(t, "145.221.10.1"))
	if err != nil {
		t.Fatal(err)
	}
	return func() error {
		_, err := r.opener.OpenAddress(b, blob)
		return err
	}
}

func TestDestroyingASubjectLeavesTheOthers(t *testing.T) {
	t.Parallel()
	r := newShredRig(t)
	one, two := [16]byte{1}, [16]byte{2}
	gone := []func() error{r.captured(t, "cmp_a", one), r.captured(t, "cmp_a", one)}
	stay := []func() error{r.captured(t, "cmp_a", two), r.captured(t, "cmp_b", one), r.seen(t, "cmp_a")}
	if err := r.log.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, open := range append(gone, stay...) {
		if err := open(); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := r.shredder.DestroySubject(t.Context(), "cmp_a", one); n != 2 || err != nil {
		t.Fatalf("destroyed %d keys, %v", n, err)
	}
	for _, open := range gone {
		if err := open(); !errors.Is(err, ErrShredded) {
			t.Errorf("a destroyed subject's value: %v", err)
		}
	}
	for _, open := range stay {
		if err := open(); err != nil {
			t.Errorf("another's value: %v", err)
		}
	}
	if n, err := r.shredder.DestroySubject(t.Context(), "cmp_a", one); n != 0 || err != nil {
		t.Errorf("again: %d keys, %v", n, err)
	}
	if n := r.log.tombstones(); n != 2 {
		t.Errorf("%d tombstones", n)
	}
	if _, err := r.shredder.DestroySubject(t.Context(), "cmp_a", [16]byte{}); !errors.Is(err, ErrBinding) {
		t.Errorf("no subject: %v", err)
	}
}

func TestDestroyingATenantTakesEveryKind(t *testing.T) {
	t.Parallel()
	r := newShredRig(t)
	gone := []func() error{r.captured(t, "cmp_a", [16]byte{1}), r.captured(t, "cmp_a", [16]byte{2}), r.seen(t, "cmp_a")}
	stay := r.seen(t, "cmp_b")
	r.salt(t, "cmp_a", "2026-11-22")
	r.salt(t, "cmp_b", "2026-11-22")
	if n, err := r.shredder.DestroyTenant(t.Context(), "cmp_a"); n != 4 || err != nil {
		t.Fatalf("destroyed %d keys, %v", n, err)
	}
	for i, open := range gone {
		if err := open(); !errors.Is(err, ErrShredded) {
			t.Errorf("value %d: %v", i, err)
		}
	}
	if err := stay(); err != nil {
		t.Errorf("another tenant's value: %v", err)
	}
	for _, key := range r.log.live() {
		if strings.HasPrefix(key, "subject/cmp_a/") || strings.HasPrefix(key, "salt/cmp_a/") {
			t.Errorf("%s is still there", key)
		}
	}
	if len(r.log.live()) != 2 {
		t.Errorf("left: %v", r.log.live())
	}
	for _, bad := range []string{"", "cmp/a"} {
		if _, err := r.shredder.DestroyTenant(t.Context(), bad); !errors.Is(err, ErrBinding) {
			t.Errorf("tenant %q: %v", bad, err)
		}
	}
}

func TestInterruptedDestructionIsFinishedElsewhere(t *testing.T) {
	t.Parallel()
	r := newShredRig(t)
	for i := range 100 {
		r.captured(t, "cmp_a", [16]byte{1, byte(i)})
	}
	away := errors.New("broker away")
	took := 0
	r.log.refuse = func(string) error {
		if took == 40 {
			return away
		}
		took++
		return nil
	}
	n, err := r.shredder.DestroyTenant(t.Context(), "cmp_a")
	if !errors.Is(err, away) || n != 40 {
		t.Fatalf("%d keys, %v", n, err)
	}
	r.log.refuse = nil
	second := r.newShredder(t) // another process: it knows what the log says
	if n, err := second.DestroyTenant(t.Context(), "cmp_a"); n != 60 || err != nil {
		t.Fatalf("the rest: %d keys, %v", n, err)
	}
	if live := r.log.live(); len(live) != 0 || r.log.tombstones() != 100 {
		t.Errorf("%d keys left, %d tombstones", len(live), r.log.tombstones())
	}
}

func TestKeysThatAppearLaterAreDestroyed(t *testing.T) {
	t.Parallel()
	r := newShredRig(t)
	erasure, err := proto.Marshal(&metivav1.Erasure{CompanyId: "cmp_a", ErasedAtMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	subjects, err := proto.Marshal(&metivav1.Erasure{CompanyId: "cmp_b", SubjectId: someSubject[:], ErasedAtMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range [][]byte{erasure, subjects} {
		if err := r.shredder.ApplyErasure(nil, value); err != nil {
			t.Fatal(err)
		}
	}
	refusals := 1
	r.log.refuse = func(string) error {
		if refusals == 0 {
			return nil
		}
		refusals--
		return errors.New("broker away")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.shredder.Run(ctx) }()
	stay := r.captured(t, "cmp_b", [16]byte{3})
	for _, open := range []func() error{r.seen(t, "cmp_a"), r.captured(t, "cmp_a", [16]byte{1}), r.captured(t, "cmp_b", someSubject)} {
		waittest.Until(t, 10*time.Second, "the late key to be destroyed", func() bool {
			if err := r.log.catchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			return errors.Is(open(), ErrShredded)
		})
	}
	if err := stay(); err != nil {
		t.Errorf("another subject's value: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestDestroyGivesUpOnAKeyThatComesBack(t *testing.T) {
	t.Parallel()
	r := newShredRig(t)
	r.seen(t, "cmp_a")
	name, value := r.log.records[0].key, r.log.records[0].value
	r.shredder.cfg.Tombstone = func(ctx context.Context, key []byte) error {
		err := r.log.tombstone(ctx, key)
		r.log.append(t, name, value)
		return err
	}
	if _, err := r.shredder.DestroyTenant(t.Context(), "cmp_a"); !errors.Is(err, ErrKeysAppear) {
		t.Fatalf("got %v", err)
	}
}

func TestShredderReadsWhatNamesItsOwner(t *testing.T) {
	t.Parallel()
	r := newShredRig(t)
	// The value of a subject's record is not needed to destroy it; an opener does
	// not take such a record.
	r.log.readers = r.log.readers[1:]
	r.log.append(t, string(SubjectKeyRecordKey("cmp_a", someSubject, 5)), []byte{0xff})
	if n, err := r.shredder.DestroySubject(t.Context(), "cmp_a", someSubject); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for name, value := range map[string][]byte{
		"garbage": {0xff}, "nobody's": recordBytes(t, &metivav1.DataKey{KeyId: 1}), "another's": recordBytes(t, &metivav1.DataKey{KeyId: 2, CompanyId: "cmp_a"}),
	} {
		if err := r.shredder.ApplyKey(DataKeyRecordKey(1), value); err == nil {
			t.Errorf("%s was applied", name)
		}
	}
	if err := r.shredder.ApplyKey([]byte("other/1"), []byte{1}); err != nil {
		t.Errorf("another kind of record: %v", err)
	}
	for name, value := range map[string][]byte{"garbage": {0xff}, "no tenant": {0x12, 0x00}, "short subject": {0x0a, 1, 'a', 0x12, 1, 1}} {
		if err := r.shredder.ApplyErasure(nil, value); err == nil {
			t.Errorf("erasure with %s was applied", name)
		}
	}
	// A subject of nothing but zeros is a fault, and never the whole tenant.
	zero, err := proto.Marshal(&metivav1.Erasure{CompanyId: "cmp_a", SubjectId: make([]byte, 16), ErasedAtMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.shredder.ApplyErasure(nil, zero); err == nil || r.shredder.isErased(owner{companyID: "cmp_a"}) {
		t.Errorf("an erasure of the zero subject: %v, the tenant erased: %v", err, r.shredder.isErased(owner{companyID: "cmp_a"}))
	}
	if err := r.shredder.ApplyErasure([]byte("cmp_a"), nil); err != nil {
		t.Error(err)
	}
	if _, err := NewShredder(ShredderConfig{}); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("an empty configuration: %v", err)
	}
}
