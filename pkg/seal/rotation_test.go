package seal

import (
	"context"
	"crypto/cipher"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// sealing is a Sealer used by many at once, and the records it published.
type sealing struct {
	*Sealer
	private PrivateKey
	clock   *clock

	mu      sync.Mutex
	records []*metivav1.DataKey
	refuse  error
}

func newSealing(t testing.TB) *sealing {
	t.Helper()
	s := &sealing{private: newPrivateKey(t), clock: newClock()}
	sealer, err := NewSealer(s.private.Public(), "w", func(_ context.Context, rec *metivav1.DataKey) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.refuse != nil {
			return s.refuse
		}
		s.records = append(s.records, proto.CloneOf(rec))
		return nil
	}, s.clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	s.Sealer = sealer
	return s
}

func (s *sealing) setRefuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

func (s *sealing) published() []*metivav1.DataKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// blobs a day's worth of sealers made, each with its binding.
type sealed struct {
	binding Binding
	blob    []byte
}

// TestRotationUnderConcurrentSealers rotates by count and by day while many
// seal: every value opens, no key seals more than its limit, none outside its
// day, and nobody is ever left without a key.
func TestRotationUnderConcurrentSealers(t *testing.T) {
	t.Parallel()
	s := newSealing(t)
	const sealers, each = 8, 400
	s.limit = 100
	days := []time.Time{
		time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC), time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC),
	}
	s.clock.Set(days[0])
	var count atomic.Int64
	out := make([][]sealed, sealers)
	var wg sync.WaitGroup
	for i := range sealers {
		wg.Go(func() {
			for n := range each {
				if done := count.Add(1); done%(sealers*each/int64(len(days)+1)) == 0 {
					s.clock.Set(days[min(int(done/(sealers*each/int64(len(days)+1))), len(days)-1)])
					s.Forget()
					if err := s.PrepareAhead(context.Background()); err != nil {
						t.Error(err)
					}
				}
				b := binding(FieldUserAgent)
				b.CompanyID, b.EventID = [2]string{"cmp_a", "cmp_b"}[n%2], [16]byte{byte(i), byte(n), byte(n >> 8)}
				blob, err := s.SealBytes(nil, b, []byte("Mozilla/5.0"))
				for errors.Is(err, ErrNoKey) {
					if err = s.Prepare(context.Background(), b.CompanyID); err == nil {
						blob, err = s.SealBytes(nil, b, []byte("Mozilla/5.0"))
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				out[i] = append(out[i], sealed{b, blob})
			}
		})
	}
	wg.Wait()
	opener, perKey := NewOpener(s.private), map[[8]byte]int{}
	for _, rec := range s.published() {
		if err := opener.ApplyKey(RecordKeyOf(rec), recordBytes(t, rec)); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range slices.Concat(out...) {
		got, err := opener.OpenBytes(nil, v.binding, v.blob)
		if err != nil || string(got) != "Mozilla/5.0" {
			t.Fatalf("opened %q, %v", got, err)
		}
		perKey[[8]byte(v.blob[1:headerBytes])]++
	}
	for id, n := range perKey {
		if n > int(s.limit) {
			t.Errorf("key %x sealed %d values of at most %d", id, n, s.limit)
		}
	}
	if least := sealers * each / int(s.limit); len(perKey) < least {
		t.Errorf("%d keys for %d values", len(perKey), sealers*each)
	}
}

func TestNextDaysKeyIsReadyAhead(t *testing.T) {
	t.Parallel()
	s := newSealing(t)
	midnight := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	ahead := func() {
		t.Helper()
		if err := s.PrepareAhead(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	seal := func() error {
		_, err := s.SealBytes(nil, binding(FieldUserAgent), []byte("x"))
		return err
	}
	s.clock.Set(midnight.Add(-aheadOfDay - time.Second))
	ahead() // nobody has a key: nothing to renew
	if err := s.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	ahead()
	if n := len(s.published()); n != 1 {
		t.Fatalf("%d keys before the hour", n)
	}
	if err := seal(); err != nil {
		t.Fatal(err)
	}
	s.clock.Set(midnight.Add(-aheadOfDay))
	ahead()
	ahead()
	keys := s.published()
	if len(keys) != 2 {
		t.Fatalf("%d keys after it", len(keys))
	}
	if keys[1].GetNotBeforeMs() != midnight.UnixMilli() || keys[1].GetNotAfterMs() != midnight.AddDate(0, 0, 1).UnixMilli() {
		t.Errorf("the next key is for %d to %d", keys[1].GetNotBeforeMs(), keys[1].GetNotAfterMs())
	}
	if id := s.lookup("cmp_a").id; id != keys[0].GetKeyId() {
		t.Errorf("the next key seals already")
	}
	// Kafka goes away over midnight: nobody notices.
	s.setRefuse(errors.New("broker away"))
	s.clock.Set(midnight)
	if err := seal(); err != nil {
		t.Fatalf("at midnight: %v", err)
	}
	if id := s.lookup("cmp_a").id; id != keys[1].GetKeyId() {
		t.Errorf("another key than the one prepared seals")
	}
	if err := s.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Errorf("a prepared tenant asked Kafka: %v", err)
	}
	// A tenant that sealed nothing gets no key for the next day.
	s.clock.Set(midnight.AddDate(0, 0, 1).Add(-time.Minute))
	s.setRefuse(nil)
	if err := s.Prepare(t.Context(), "cmp_b"); err != nil {
		t.Fatal(err)
	}
	ahead()
	for _, rec := range s.published()[2:] {
		if rec.GetCompanyId() == "cmp_b" && rec.GetNotBeforeMs() > s.clock.Now().UnixMilli() {
			t.Error("a key ahead for a tenant that sealed nothing")
		}
	}
}

func TestNextKeyIsReadyBeforeTheCountIsFull(t *testing.T) {
	t.Parallel()
	s := newSealing(t)
	s.limit = 8
	if err := s.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		if i == 6 {
			if err := s.PrepareAhead(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.setRefuse(errors.New("broker away"))
		}
		if _, err := s.SealBytes(nil, binding(FieldUserAgent), []byte("x")); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if n := len(s.published()); n != 2 {
		t.Errorf("%d keys", n)
	}
	if err := s.PrepareAhead(t.Context()); err != nil {
		t.Errorf("half a key is left: %v", err)
	}
}

func TestPrepareAheadReportsWhatIsNotPublished(t *testing.T) {
	t.Parallel()
	s := newSealing(t)
	for _, company := range []string{"cmp_a", "cmp_b"} {
		if err := s.Prepare(t.Context(), company); err != nil {
			t.Fatal(err)
		}
		b := binding(FieldUserAgent)
		b.CompanyID = company
		if _, err := s.SealBytes(nil, b, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	s.clock.Set(time.Date(2026, 11, 22, 23, 30, 0, 0, time.UTC))
	away := errors.New("broker away")
	s.setRefuse(away)
	if err := s.PrepareAhead(t.Context()); !errors.Is(err, away) {
		t.Fatalf("got %v", err)
	}
	s.setRefuse(nil)
	if err := s.PrepareAhead(t.Context()); err != nil || len(s.published()) != 4 {
		t.Fatalf("%d keys, %v", len(s.published()), err)
	}
}

func TestSealerDropsADestroyedKey(t *testing.T) {
	t.Parallel()
	s := newSealing(t)
	s.clock.Set(time.Date(2026, 11, 22, 23, 30, 0, 0, time.UTC))
	for _, company := range []string{"cmp_a", "cmp_b"} {
		if err := s.Prepare(t.Context(), company); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.SealBytes(nil, binding(FieldUserAgent), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.PrepareAhead(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, rec := range s.published() {
		if rec.GetCompanyId() == "cmp_a" {
			s.ApplyKey(RecordKeyOf(rec), recordBytes(t, rec)) // its own record comes back
			if rec.GetNotBeforeMs() < s.clock.Now().UnixMilli()+1 && !s.HasKey("cmp_a") {
				t.Fatal("its own record took the key away")
			}
			s.ApplyKey(RecordKeyOf(rec), nil)
		}
	}
	if s.HasKey("cmp_a") || s.slot("cmp_a").next.Load() != nil {
		t.Error("a destroyed key still seals")
	}
	if !s.HasKey("cmp_b") {
		t.Error("another tenant's key is gone")
	}
	subject := SubjectKeyRecordKey("cmp_a", someSubject, 1)
	s.ApplyKey(SaltRecordKey("cmp_b", "2026-11-22"), nil)
	s.ApplyKey([]byte("data/nonsense"), nil)
	s.ApplyKey(subject, nil)
	for _, rec := range s.published() {
		if got := s.Destroyed(RecordKeyOf(rec)); got != (rec.GetCompanyId() == "cmp_a") {
			t.Errorf("the key of %s is destroyed: %v", rec.GetCompanyId(), got)
		}
	}
	if !s.Destroyed(subject) || s.Destroyed(SaltRecordKey("cmp_b", "2026-11-22")) || s.Destroyed([]byte("data/nonsense")) {
		t.Error("the tombstones of data keys are not told from others")
	}
}

// TestResolverRotation: what was sealed for the former resolver key opens, and
// so does what is sealed for the new one; a resolver without the former key says
// that it does not know the key.
func TestResolverRotation(t *testing.T) {
	t.Parallel()
	old, current := newSealing(t), newSealing(t)
	before, after := seenBy(t, old), seenBy(t, current)
	records := append(old.published(), current.published()...)
	opener := func(current PrivateKey, former ...PrivateKey) *Opener {
		o := NewOpener(current, former...)
		for _, rec := range records {
			if err := o.ApplyKey(RecordKeyOf(rec), recordBytes(t, rec)); err != nil {
				t.Fatal(err)
			}
		}
		return o
	}
	both := opener(current.private, newPrivateKey(t), old.private)
	for name, v := range map[string]sealed{"former": before, "current": after} {
		if got, err := both.OpenBytes(nil, v.binding, v.blob); err != nil || string(got) != "x" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := opener(current.private).OpenBytes(nil, before.binding, before.blob); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("opened without the former key: %v", err)
	}
	// A record that names another recipient than it is wrapped to stays shut.
	forged := proto.CloneOf(old.published()[0])
	id := current.private.Public().ID()
	forged.RecipientId = id[:]
	o := NewOpener(current.private, old.private)
	if err := o.ApplyKey(RecordKeyOf(forged), recordBytes(t, forged)); err != nil {
		t.Fatal(err)
	}
	if _, err := o.OpenBytes(nil, before.binding, before.blob); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("opened with another recipient's name: %v", err)
	}
	// The record as it was, read again, makes the key known.
	if err := o.ApplyKey(RecordKeyOf(records[0]), recordBytes(t, proto.CloneOf(records[0]))); err != nil {
		t.Fatal(err)
	}
	if _, err := NewOpener(PrivateKey{}).OpenBytes(nil, before.binding, before.blob); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("no private key at all: %v", err)
	}
}

func seenBy(t *testing.T, s *sealing) sealed {
	t.Helper()
	if err := s.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	b := binding(FieldUserAgent)
	blob, err := s.SealBytes(nil, b, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	return sealed{b, blob}
}

// TestDestructionStopsConcurrentOpens: an open may win against a destruction
// that is being applied, never against one that has been.
func TestDestructionStopsConcurrentOpens(t *testing.T) {
	t.Parallel()
	for range 20 {
		s := newSealing(t)
		v := seenBy(t, s)
		rec := s.published()[0]
		opener := NewOpener(s.private)
		if err := opener.ApplyKey(RecordKeyOf(rec), recordBytes(t, rec)); err != nil {
			t.Fatal(err)
		}
		var applied atomic.Bool
		var opened sync.WaitGroup
		started := make(chan struct{}, 8)
		for range 8 {
			opened.Go(func() {
				started <- struct{}{}
				for {
					late := applied.Load()
					_, err := opener.OpenBytes(nil, v.binding, v.blob)
					switch {
					case err == nil && late:
						t.Error("opened after the destruction was applied")
						return
					case errors.Is(err, ErrShredded):
						return
					case err != nil:
						t.Error(err)
						return
					}
				}
			})
		}
		for range 8 {
			<-started
		}
		if err := opener.ApplyKey(RecordKeyOf(rec), nil); err != nil {
			t.Fatal(err)
		}
		applied.Store(true)
		opened.Wait()
		if key := opener.keys[rec.GetKeyId()]; key.aead != nil || key.record != nil {
			t.Error("the destroyed key is still in memory")
		}
	}
}

// heldAEAD stops in Open until it is let go.
type heldAEAD struct {
	cipher.AEAD
	entered, release chan struct{}
}

func (h heldAEAD) Open(dst, nonce, ciphertext, data []byte) ([]byte, error) {
	close(h.entered)
	<-h.release
	return h.AEAD.Open(dst, nonce, ciphertext, data)
}

// TestDestructionWaitsForAnOpenUnderWay: while a value is being opened its
// destruction cannot be applied, so nothing opens after ApplyKey has returned.
func TestDestructionWaitsForAnOpenUnderWay(t *testing.T) {
	t.Parallel()
	s := newSealing(t)
	v := seenBy(t, s)
	rec := s.published()[0]
	opener := NewOpener(s.private)
	if err := opener.ApplyKey(RecordKeyOf(rec), recordBytes(t, rec)); err != nil {
		t.Fatal(err)
	}
	key := opener.keys[rec.GetKeyId()]
	opener.unwrap(key)
	held := heldAEAD{key.aead, make(chan struct{}), make(chan struct{})}
	key.aead = held
	opened, destroyed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := opener.OpenBytes(nil, v.binding, v.blob)
		opened <- err
	}()
	<-held.entered
	if key.mu.TryLock() {
		t.Error("the key is not held while it opens a value")
		key.mu.Unlock()
	}
	go func() { destroyed <- opener.ApplyKey(RecordKeyOf(rec), nil) }()
	close(held.release)
	if err := errors.Join(<-opened, <-destroyed); err != nil {
		t.Error(err)
	}
	if _, err := opener.OpenBytes(nil, v.binding, v.blob); !errors.Is(err, ErrShredded) {
		t.Errorf("after its destruction: %v", err)
	}
}
