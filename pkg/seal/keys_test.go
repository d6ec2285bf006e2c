package seal

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

func TestKeyIsPublishedBeforeItSeals(t *testing.T) {
	t.Parallel()
	priv := newPrivateKey(t)
	entered, acknowledge := make(chan struct{}), make(chan error)
	sealer, err := NewSealer(priv.Public(), "w", func(context.Context, *metivav1.DataKey) error {
		entered <- struct{}{}
		return <-acknowledge
	}, newClock().Now)
	if err != nil {
		t.Fatal(err)
	}
	seal := func() error {
		_, err := sealer.SealBytes(nil, binding(FieldUserAgent), []byte("x"))
		return err
	}
	if err := seal(); !errors.Is(err, ErrNoKey) {
		t.Fatalf("sealed without Prepare: %v", err)
	}
	done := make(chan error)
	go func() { done <- sealer.Prepare(t.Context(), "cmp_a") }()
	<-entered
	if err := seal(); !errors.Is(err, ErrNoKey) {
		t.Fatalf("sealed before the acknowledgement: %v", err)
	}
	// A second caller waits for the first, and gives up with its context.
	waiting, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sealer.Prepare(waiting, "cmp_a"); !errors.Is(err, context.Canceled) {
		t.Fatalf("second Prepare: %v", err)
	}
	lost := errors.New("broker away")
	acknowledge <- lost
	if err := <-done; !errors.Is(err, lost) {
		t.Fatalf("Prepare hid the lost publication: %v", err)
	}
	if err := seal(); !errors.Is(err, ErrNoKey) {
		t.Fatalf("sealed with an unpublished key: %v", err)
	}
	go func() { done <- sealer.Prepare(t.Context(), "cmp_a") }()
	<-entered
	acknowledge <- nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := seal(); err != nil {
		t.Fatalf("prepared key does not seal: %v", err)
	}
}

func TestRotationAtMidnightUTC(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	// 23:59:59.999 UTC is 00:59 in Amsterdam: the day is UTC's.
	p.clock.Set(time.Date(2026, 11, 22, 23, 59, 59, 999e6, time.UTC).In(time.FixedZone("CET", 3600)))
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	first, err := p.SealAddress(nil, binding(FieldAddress), addressOf(t, "145.221.10.1"))
	if err != nil {
		t.Fatal(err)
	}
	before, midnight := p.clock.Now(), time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	if !p.HasKeyAt("cmp_a", before) || !p.HasKeyAt("cmp_a", midnight) || p.HasKeyAt("cmp_b", before) {
		t.Fatal("what may seal now is not told by the moment, or else by the clock")
	}
	p.clock.Set(midnight)
	if p.HasKey("cmp_a") || p.HasKeyAt("cmp_a", midnight) {
		t.Fatal("yesterday's key still seals")
	}
	if _, err := p.SealAddress(nil, binding(FieldAddress), addressOf(t, "::1")); !errors.Is(err, ErrNoKey) {
		t.Fatalf("sealed with yesterday's key: %v", err)
	}
	p.Forget()
	if p.lookup("cmp_a") != nil {
		t.Fatal("yesterday's key was not forgotten")
	}
	for range 2 {
		if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.published) != 2 || p.published[0].GetKeyId() == p.published[1].GetKeyId() {
		t.Fatalf("published %d keys, want 2 distinct", len(p.published))
	}
	if got, want := p.published[1].GetNotAfterMs(), time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC).UnixMilli(); got != want {
		t.Errorf("second key ends at %d, want %d", got, want)
	}
	if _, err := p.opener.OpenAddress(binding(FieldAddress), first); err != nil {
		t.Errorf("the resolver cannot open yesterday's value: %v", err)
	}
}

func TestRotationAtMessageLimit(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.limit = 3
	for i := range 10 {
		if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.SealBytes(nil, binding(FieldUserAgent), []byte("x")); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if len(p.published) != 4 {
		t.Fatalf("10 messages of at most 3 took %d keys, want 4", len(p.published))
	}
}

func TestConcurrentPrepareMakesOneKey(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := p.Prepare(context.Background(), "cmp_a"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(p.published) != 1 {
		t.Fatalf("%d keys were published", len(p.published))
	}
}

func TestDestroyedKeyIsShreddedForGood(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	blob, err := p.SealAddress(nil, binding(FieldAddress), addressOf(t, "145.221.10.1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.opener.OpenAddress(binding(FieldAddress), blob); err != nil {
		t.Fatal(err) // the unwrapped key is in the opener's memory now
	}
	rec := p.published[0]
	key := DataKeyRecordKey(rec.GetKeyId())
	if err := p.opener.ApplyKey(key, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := p.opener.OpenAddress(binding(FieldAddress), blob); !errors.Is(err, ErrShredded) {
		t.Fatalf("destroyed key: %v", err)
	}
	if err := p.opener.ApplyKey(key, recordBytes(t, rec)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.opener.OpenAddress(binding(FieldAddress), blob); !errors.Is(err, ErrShredded) {
		t.Fatalf("a replayed record brought the key back: %v", err)
	}
}

func TestKeysOfOthersAreUnknown(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	if err := p.Prepare(t.Context(), "cmp_a"); err != nil {
		t.Fatal(err)
	}
	blob, err := p.SealBytes(nil, binding(FieldUserAgent), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	open := func(o *Opener) error {
		_, err := o.OpenBytes(nil, binding(FieldUserAgent), blob)
		return err
	}
	empty := NewOpener(newPrivateKey(t))
	if err := open(empty); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("no key applied: %v", err)
	}
	rec := p.published[0]
	if err := empty.ApplyKey(DataKeyRecordKey(rec.GetKeyId()), recordBytes(t, rec)); err != nil {
		t.Fatal(err)
	}
	if err := open(empty); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("key wrapped to another resolver: %v", err)
	}
	// The record's own fields are bound to the wrapping: a key cannot be moved
	// to another tenant, writer or day.
	for name, change := range map[string]func(*metivav1.DataKey){
		"writer": func(r *metivav1.DataKey) { r.WriterId = "other" },
		"end":    func(r *metivav1.DataKey) { r.NotAfterMs++ },
		"bytes":  func(r *metivav1.DataKey) { r.Wrapped[len(r.Wrapped)-1] ^= 1 },
	} {
		forged := proto.CloneOf(rec)
		change(forged)
		o := NewOpener(p.private)
		if err := o.ApplyKey(DataKeyRecordKey(rec.GetKeyId()), recordBytes(t, forged)); err != nil {
			t.Fatal(err)
		}
		if err := open(o); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("%s changed: %v", name, err)
		}
	}
}

func TestApplyKeyRefusesBrokenRecords(t *testing.T) {
	t.Parallel()
	o := NewOpener(newPrivateKey(t))
	if err := o.ApplyKey(SaltRecordKey("cmp_a", "2026-11-22"), []byte("anything")); err != nil {
		t.Errorf("a salt is not the opener's business: %v", err)
	}
	if err := o.ApplyKey(DataKeyRecordKey(1), []byte{0xff}); err == nil {
		t.Error("garbage was applied")
	}
	if err := o.ApplyKey(DataKeyRecordKey(1), recordBytes(t, &metivav1.DataKey{KeyId: 2})); err == nil {
		t.Error("a record under another key's name was applied")
	}
}

func TestSaltOpensForItsCompanyAndDay(t *testing.T) {
	t.Parallel()
	edge := newPrivateKey(t)
	var salt [32]byte
	_, _ = rand.Read(salt[:])
	rec, err := WrapSalt(edge.Public(), "cmp_a", "2026-11-22", salt)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := OpenSalt(edge, rec); err != nil || got != salt {
		t.Fatalf("salt did not come back: %v", err)
	}
	for _, change := range []func(*metivav1.VisitSalt){
		func(r *metivav1.VisitSalt) { r.CompanyId = "cmp_b" },
		func(r *metivav1.VisitSalt) { r.Day = "2026-11-23" },
		func(r *metivav1.VisitSalt) { r.Wrapped = r.Wrapped[1:] },
	} {
		forged := proto.CloneOf(rec)
		change(forged)
		if _, err := OpenSalt(edge, forged); !errors.Is(err, ErrTampered) {
			t.Errorf("forged salt: %v", err)
		}
	}
	if _, err := OpenSalt(newPrivateKey(t), rec); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("foreign salt: %v", err)
	}
	if _, err := WrapSalt(PublicKey{}, "cmp_a", "2026-11-22", salt); err == nil {
		t.Error("wrapped to no key")
	}
}

func TestRecordKeys(t *testing.T) {
	t.Parallel()
	if got := string(DataKeyRecordKey(0xabc)); got != "data/0000000000000abc" {
		t.Errorf("data key record key %q", got)
	}
	if id, ok := ParseDataKeyRecordKey([]byte("data/0000000000000abc")); !ok || id != 0xabc {
		t.Errorf("parsed %x, %v", id, ok)
	}
	company, day, ok := ParseSaltRecordKey(SaltRecordKey("cmp_a", "2026-11-22"))
	if !ok || company != "cmp_a" || day != "2026-11-22" {
		t.Errorf("parsed %q %q %v", company, day, ok)
	}
	for _, bad := range []string{"", "data/", "data/xyz", "salt/", "salt/cmp", "salt//2026-11-22", "salt/cmp/2026"} {
		if _, ok := ParseDataKeyRecordKey([]byte(bad)); ok {
			t.Errorf("%q is a data key", bad)
		}
		if _, _, ok := ParseSaltRecordKey([]byte(bad)); ok {
			t.Errorf("%q is a salt", bad)
		}
	}
}
