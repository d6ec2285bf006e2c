package seal

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// FuzzRecordKeys: what is read out of a record key writes that very key again,
// and a key is of one kind.
func FuzzRecordKeys(f *testing.F) {
	f.Add(DataKeyRecordKey(1))
	f.Add(SubjectKeyRecordKey("cmp_a", someSubject, 1<<63))
	f.Add(SaltRecordKey("cmp_a", "2026-11-22"))
	f.Add([]byte("subject/a/b/c"))
	f.Add([]byte("data/000000000000ABCD"))
	f.Fuzz(func(t *testing.T, in []byte) {
		kinds := 0
		again := func(out []byte) {
			if kinds++; !bytes.Equal(in, out) {
				t.Fatalf("%q is read as %q", in, out)
			}
		}
		if id, ok := ParseDataKeyRecordKey(in); ok {
			again(DataKeyRecordKey(id))
		}
		if company, subject, id, ok := ParseSubjectKeyRecordKey(in); ok {
			again(SubjectKeyRecordKey(company, subject, id))
		}
		if company, day, ok := ParseSaltRecordKey(in); ok {
			again(SaltRecordKey(company, day))
		}
		if kinds > 1 {
			t.Fatalf("%q is of %d kinds", in, kinds)
		}
	})
}

// FuzzApplyKey: no record makes a value open that was sealed under another key,
// and what a record says it holds is what it is filed under.
func FuzzApplyKey(f *testing.F) {
	s := newSealing(f)
	if err := s.Prepare(context.Background(), "cmp_a"); err != nil {
		f.Fatal(err)
	}
	key, err := s.NewSubjectKey(context.Background(), "cmp_a", someSubject)
	if err != nil {
		f.Fatal(err)
	}
	blob, err := key.SealField(nil, formBinding("email"), []byte("a@b.example"))
	if err != nil {
		f.Fatal(err)
	}
	own := s.published()[1]
	for _, rec := range s.published() {
		f.Add(RecordKeyOf(rec), recordBytes(f, rec))
		f.Add(RecordKeyOf(rec), []byte{})
	}
	f.Add(RecordKeyOf(own), recordBytes(f, &metivav1.DataKey{KeyId: own.GetKeyId(), CompanyId: "cmp_a", SubjectId: someSubject[:]}))
	f.Fuzz(func(t *testing.T, recordKey, value []byte) {
		o := NewOpener(s.private)
		err := o.ApplyKey(recordKey, value)
		got, openErr := o.OpenField(nil, formBinding("email"), blob)
		var rec metivav1.KeyRecord
		genuine := proto.Unmarshal(value, &rec) == nil && bytes.Equal(rec.GetDataKey().GetWrapped(), own.GetWrapped())
		if openErr == nil && (err != nil || !genuine || string(got) != "a@b.example") {
			t.Fatal("a forged record opened a value")
		}
		if openErr != nil && len(got) > 0 {
			t.Fatal("bytes beside an error")
		}
		if len(value) == 0 && bytes.Equal(recordKey, RecordKeyOf(own)) && !errors.Is(openErr, ErrShredded) {
			t.Fatalf("after its tombstone: %v", openErr)
		}
	})
}

// FuzzOpenSalt: no bytes make a salt but those WrapSalt wrote.
func FuzzOpenSalt(f *testing.F) {
	edge := newPrivateKey(f)
	rec, err := WrapSalt(edge.Public(), "cmp_a", "2026-11-22", [32]byte{1, 2, 3})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("cmp_a", "2026-11-22", rec.GetWrapped(), rec.GetRecipientId())
	f.Add("", "", []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, company, day string, wrapped, recipient []byte) {
		salt, err := OpenSalt(edge, &metivav1.VisitSalt{CompanyId: company, Day: day, Wrapped: wrapped, RecipientId: recipient})
		switch {
		case err == nil && (salt != [32]byte{1, 2, 3} || company != "cmp_a" || day != "2026-11-22" || !bytes.Equal(wrapped, rec.GetWrapped())):
			t.Fatal("opened a salt nobody wrapped")
		case err != nil && salt != [32]byte{}:
			t.Fatal("bytes beside an error")
		}
	})
}

// FuzzShredder: no record makes a shredder destroy a key of anybody else.
func FuzzShredder(f *testing.F) {
	f.Add(DataKeyRecordKey(1), recordBytes(f, &metivav1.DataKey{KeyId: 1, CompanyId: "cmp_a"}), []byte{0x0a, 5, 'c', 'm', 'p', '_', 'a'})
	f.Add(SubjectKeyRecordKey("cmp_a", someSubject, 1), []byte{1}, []byte{})
	f.Add(SaltRecordKey("cmp_a", "2026-11-22"), []byte{1}, []byte{0xff})
	f.Fuzz(func(t *testing.T, recordKey, value, erasure []byte) {
		l := &keyLog{}
		var gone []string
		s, err := NewShredder(ShredderConfig{
			Tombstone: func(_ context.Context, key []byte) error { gone = append(gone, string(key)); return nil },
			CatchUp:   l.catchUp, Log: discard(),
		})
		if err != nil {
			t.Fatal(err)
		}
		stays := SubjectKeyRecordKey("cmp_stays", someSubject, 1)
		if err := s.ApplyKey(stays, []byte{1}); err != nil {
			t.Fatal(err)
		}
		_ = s.ApplyKey(recordKey, value) // a record that cannot be read is the caller's to count
		var rec metivav1.Erasure
		if s.ApplyErasure(nil, erasure) == nil && proto.Unmarshal(erasure, &rec) == nil && rec.GetCompanyId() == "cmp_stays" {
			return
		}
		if _, err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, key := range gone {
			if key == string(stays) || key != string(recordKey) {
				t.Fatalf("destroyed %q", key)
			}
		}
	})
}
