package tombstone

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

func value(t testing.TB, companyID string, subjectID []byte) []byte {
	t.Helper()
	v, err := proto.Marshal(&metivav1.Erasure{CompanyId: companyID, SubjectId: subjectID, ErasedAtMs: 1})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSet(t *testing.T) {
	t.Parallel()
	s := NewSet()
	visitor, other := []byte("0123456789abcdef"), []byte("fedcba9876543210")
	if s.Has("cmp_a", visitor) || s.Tenant("cmp_a") {
		t.Error("somebody is erased from the start")
	}
	for _, err := range []error{
		s.Apply(RecordKey("cmp_a", visitor), value(t, "cmp_a", visitor)),
		s.Apply(RecordKey("cmp_b", nil), value(t, "cmp_b", nil)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		company string
		subject []byte
		want    bool
	}{
		{"cmp_a", visitor, true},
		{"cmp_a", other, false},
		{"cmp_a", nil, false},
		{"cmp_a", make([]byte, 16), false},
		{"cmp_b", visitor, true},
		{"cmp_b", nil, true},
		{"cmp_c", visitor, false},
		{"", nil, false},
	} {
		if got := s.Has(c.company, c.subject); got != c.want {
			t.Errorf("%s %x: %v", c.company, c.subject, got)
		}
	}
	if s.Tenant("cmp_a") || !s.Tenant("cmp_b") {
		t.Error("tenants")
	}
	for name, bad := range map[string][]byte{
		"no message": []byte("\xff"), "no tenant": value(t, "", visitor), "short subject": value(t, "cmp_a", visitor[:3]), "zero subject": value(t, "cmp_a", make([]byte, 16)),
	} {
		if err := s.Apply([]byte("cmp_a"), bad); !errors.Is(err, ErrUndecodable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Tenant("cmp_a") {
		t.Error("a bad record erased a tenant")
	}
	if err := s.Apply(RecordKey("cmp_a", visitor), nil); err != nil || s.Has("cmp_a", visitor) || !s.Has("cmp_b", nil) {
		t.Errorf("a removed record: %v", err)
	}
	if err := s.Apply([]byte("cmp_a/zz"), nil); !errors.Is(err, ErrUndecodable) {
		t.Errorf("a removed record without an owner: %v", err)
	}
}

// FuzzApply: whatever comes, nobody but those a record names is erased.
func FuzzApply(f *testing.F) {
	f.Add([]byte("cmp_a"), value(f, "cmp_a", nil))
	f.Add([]byte("cmp_a/00"), []byte{})
	f.Fuzz(func(t *testing.T, key, raw []byte) {
		s := NewSet()
		err := s.Apply(key, raw)
		var e metivav1.Erasure
		named := err == nil && len(raw) > 0 && proto.Unmarshal(raw, &e) == nil
		if got := s.Has(e.GetCompanyId(), e.GetSubjectId()); got != named {
			t.Errorf("erased: %v, named: %v (%v)", got, named, err)
		}
		if s.Has("cmp_stays", nil) && e.GetCompanyId() != "cmp_stays" {
			t.Error("a tenant that no record names is erased")
		}
	})
}
