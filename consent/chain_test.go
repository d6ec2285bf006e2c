package consent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const chainCompany = "cmp_aaaaaaaaaaaaaaaaaaaa"

// choice is a complete record before it is chained.
func choice(n int) *metivav1.ConsentRecord {
	return &metivav1.ConsentRecord{
		RecordId: bytes.Repeat([]byte{byte(n)}, IDBytes), CompanyId: chainCompany, SiteId: "sit_aaaaaaaaaaaaaaaaaaaa",
		SubjectId: bytes.Repeat([]byte{0xee}, IDBytes), Sequence: uint64(n), State: metivav1.ConsentState_CONSENT_STATE_ANALYTICS,
		Purposes: []string{PurposeAnalytics}, TextVersion: "nl-1", TextSha256: bytes.Repeat([]byte{7}, 32), Language: "nl", Source: "banner",
		GivenAtMs: 1_795_348_830_000 + int64(n), ExpiresAtMs: 1_826_884_830_000, LawfulBasis: LawfulBasisConsent,
		Kind: metivav1.ConsentKind_CONSENT_KIND_GIVEN, UiVariant: "a", PolicyVersion: 3, EvidenceEventId: bytes.Repeat([]byte{byte(n)}, IDBytes),
	}
}

// chained makes the first n records of a chain.
func chained(t testing.TB, id string, n int) []*metivav1.ConsentRecord {
	t.Helper()
	chain := NewChain(chainCompany, id)
	out := make([]*metivav1.ConsentRecord, n)
	for i := range out {
		out[i] = choice(i + 1)
		if err := chain.Append(out[i]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestRecordVector: the encoding of doc.go, for other programs that check.
func TestRecordVector(t *testing.T) {
	t.Parallel()
	records := chained(t, "edge-1", 2)
	for i, want := range []string{
		"5b803b512c9a5b251d5ee1cd1ea1d0277b6790e4914aa634b3fe39ded4508ef4",
		"bdbd370487d08c65980b3eaea93c5f482154d99d6704b298ab76993d7ff1a556",
	} {
		if got := RecordHash(records[i]).String(); got != want {
			t.Errorf("record %d: %s, want %s", i+1, got, want)
		}
	}
}

// TestHashCoversEveryField: a record with any field changed has another hash.
func TestHashCoversEveryField(t *testing.T) {
	t.Parallel()
	rec := chained(t, "edge-1", 2)[1]
	want := RecordHash(rec)
	fields := rec.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		changed := proto.CloneOf(rec)
		m := changed.ProtoReflect()
		switch {
		case f.IsList():
			m.Mutable(f).List().Append(protoreflect.ValueOfString(""))
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, protoreflect.ValueOfString(m.Get(f).String()+"x"))
		case f.Kind() == protoreflect.BytesKind:
			m.Set(f, protoreflect.ValueOfBytes(append(bytes.Clone(m.Get(f).Bytes()), 0)))
		case f.Kind() == protoreflect.EnumKind:
			m.Set(f, protoreflect.ValueOfEnum(m.Get(f).Enum()+1))
		case f.Kind() == protoreflect.Int64Kind:
			m.Set(f, protoreflect.ValueOfInt64(m.Get(f).Int()+1))
		case f.Kind() == protoreflect.Uint32Kind:
			m.Set(f, protoreflect.ValueOfUint32(uint32(m.Get(f).Uint())+1))
		default:
			m.Set(f, protoreflect.ValueOfUint64(m.Get(f).Uint()+1))
		}
		if same := RecordHash(changed) == want; same != (f.Name() == "record_sha256") {
			t.Errorf("field %s: the hash is the same: %v", f.Name(), same)
		}
	}
}

// TestFieldsDoNotRunTogether: what one field loses and the next gains is a
// different record.
func TestFieldsDoNotRunTogether(t *testing.T) {
	t.Parallel()
	a, b := choice(1), choice(1)
	a.Language, a.Source = "nl", "banner"
	b.Language, b.Source = "nlb", "anner"
	if RecordHash(a) == RecordHash(b) {
		t.Error("two records have one hash")
	}
	a, b = choice(1), choice(1)
	a.Purposes, b.Purposes = []string{"ab"}, []string{"a", "b"}
	if RecordHash(a) == RecordHash(b) {
		t.Error("two lists have one hash")
	}
}

func TestVerifier(t *testing.T) {
	t.Parallel()
	type records = []*metivav1.ConsentRecord
	// rehash makes a changed record look whole.
	rehash := func(rec *metivav1.ConsentRecord) {
		hash := RecordHash(rec)
		rec.RecordSha256 = hash[:]
	}
	for name, c := range map[string]struct {
		change   func(records) records
		complete bool
		want     []string // kind@position
		startsAt uint64
	}{
		"whole":                    {change: func(r records) records { return r }, complete: true, startsAt: 1},
		"reordered on the way":     {change: func(r records) records { slices.Reverse(r); return r }, complete: true, startsAt: 1},
		"repeated":                 {change: func(r records) records { return append(r, r...) }, complete: true, startsAt: 1},
		"beginning past retention": {change: func(r records) records { return r[4:] }, startsAt: 5},
		"beginning removed":        {change: func(r records) records { return r[4:] }, complete: true, want: []string{"hole@1"}, startsAt: 5},
		"one removed":              {change: func(r records) records { return slices.Delete(r, 3, 4) }, want: []string{"hole@4"}, startsAt: 1},
		"three removed":            {change: func(r records) records { return slices.Delete(r, 3, 6) }, want: []string{"hole@4"}, startsAt: 1},
		"field changed":            {change: func(r records) records { r[3].State = metivav1.ConsentState_CONSENT_STATE_DENIED; return r }, want: []string{"hash@4"}, startsAt: 1},
		"hash changed":             {change: func(r records) records { r[9].RecordSha256[0] ^= 1; return r }, want: []string{"hash@10"}, startsAt: 1},
		"field and hash changed":   {change: func(r records) records { r[3].TextVersion = "nl-2"; rehash(r[3]); return r }, want: []string{"previous@5"}, startsAt: 1},
		"places swapped": {change: func(r records) records {
			r[3].ChainPosition, r[4].ChainPosition = 5, 4
			rehash(r[3])
			rehash(r[4])
			return r
		}, want: []string{"previous@4", "previous@5", "previous@6"}, startsAt: 1},
		"forked": {change: func(r records) records {
			other := proto.CloneOf(r[3])
			other.Sequence++
			rehash(other)
			return append(r, other)
		}, want: []string{"fork@4"}, startsAt: 1},
		"no hash":         {change: func(r records) records { r[3].RecordSha256 = nil; return r }, want: []string{"hole@4", "unreadable@0"}, startsAt: 1},
		"another version": {change: func(r records) records { r[9].SchemaVersion = 2; return r }, want: []string{"unreadable@0"}, startsAt: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := NewVerifier()
			v.Complete = c.complete
			changed := c.change(chained(t, "edge-1", 10))
			for _, rec := range changed {
				v.Add(rec)
			}
			report := v.Report(time.Time{})
			var got []string
			for _, f := range report.Faults {
				got = append(got, fmt.Sprintf("%s@%d", f.Kind, f.Position))
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) || report.OK != (len(c.want) == 0) || report.FaultCount != len(c.want) {
				t.Errorf("faults %q, want %q", got, c.want)
			}
			if len(report.Chains) != 1 || report.Chains[0].StartsAt != c.startsAt || report.Records != uint64(len(changed)) {
				t.Errorf("report %+v", report)
			}
		})
	}
}

// TestAnyChangeIsFound: whatever is removed or altered between the ends of a
// chain, whatever the order the records come in.
func TestAnyChangeIsFound(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		records := chained(t, "edge-1", 3+r.IntN(20))
		victim := 1 + r.IntN(len(records)-2)
		if r.IntN(2) == 0 {
			records = slices.Delete(records, victim, victim+1)
		} else {
			records[victim].GivenAtMs--
			if r.IntN(2) == 0 {
				hash := RecordHash(records[victim])
				records[victim].RecordSha256 = hash[:]
			}
		}
		v := NewVerifier()
		for _, i := range r.Perm(len(records)) {
			v.Add(records[i])
		}
		if v.Report(time.Time{}).OK {
			t.Fatalf("seed %d: not found", seed)
		}
	}
}

// TestNotedHeads: only a head noted elsewhere shows that a tail is gone.
func TestNotedHeads(t *testing.T) {
	t.Parallel()
	report := func(records []*metivav1.ConsentRecord, oldest time.Time, noted ...Head) Report {
		v := NewVerifier()
		for _, rec := range records {
			v.Add(rec)
		}
		for _, h := range noted {
			v.Expect(h)
		}
		return v.Report(oldest)
	}
	all := chained(t, "edge-1", 10)
	head := report(all[:6], time.Time{}).Chains[0].Head
	if head.Position != 6 || head.SHA256 != RecordHash(all[5]).String() || head.GivenAt.UnixMilli() != all[5].GetGivenAtMs() {
		t.Fatalf("head %+v", head)
	}
	for name, c := range map[string]struct {
		report Report
		want   FaultKind
	}{
		"chain went on":       {report: report(all, time.Time{}, head)},
		"same end":            {report: report(all[:6], time.Time{}, head)},
		"tail removed":        {report: report(all[:5], time.Time{}, head), want: FaultTail},
		"chain removed":       {report: report(nil, time.Time{}, head), want: FaultTail},
		"chain expired":       {report: report(nil, head.GivenAt.Add(time.Hour), head)},
		"head past retention": {report: report(all[7:], head.GivenAt.Add(time.Hour), head)},
		"beginning removed":   {report: report(all[7:], head.GivenAt.Add(-time.Hour), head), want: FaultTail},
		"another head":        {report: report(all, time.Time{}, Head{CompanyID: head.CompanyID, ChainID: head.ChainID, Position: 6, SHA256: RecordHash(all[6]).String()}), want: FaultFork},
	} {
		if c.report.OK != (c.want == "") || c.want != "" && (len(c.report.Faults) != 1 || c.report.Faults[0].Kind != c.want) {
			t.Errorf("%s: %+v", name, c.report.Faults)
		}
	}
}

func TestChainTakesItsTenantOnly(t *testing.T) {
	t.Parallel()
	chain := NewChain("cmp_bbbbbbbbbbbbbbbbbbbb", "edge-1")
	if chain.Append(choice(1)) == nil {
		t.Error("another tenant's record was taken")
	}
}

// TestRecordJSON: a record written for people has the same hash when it is read
// back.
func TestRecordJSON(t *testing.T) {
	t.Parallel()
	for _, rec := range chained(t, "edge-1", 2) {
		line, err := WriteRecordJSON(rec)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ReadRecordJSON(line)
		if err != nil || RecordHash(back) != RecordHash(rec) || !proto.Equal(back, rec) || bytes.ContainsRune(line, '\n') {
			t.Errorf("%v: %s", err, line)
		}
		unknown := strings.Replace(string(line), "{", `{"e_mail":"canary@example.nl",`, 1)
		if _, err := ReadRecordJSON([]byte(unknown)); !errors.Is(err, ErrRecordEncoding) || strings.Contains(err.Error(), "canary") {
			t.Errorf("an unknown field: %v", err)
		}
	}
	out, err := json.Marshal(NewVerifier().Report(time.Time{}))
	if err != nil || string(out) != `{"ok":true,"records":0,"chains":[],"faults":[],"fault_count":0}` {
		t.Errorf("%s, %v", out, err)
	}
}

// FuzzReadRecord: what is accepted is checked without panic, and written again
// it is the same record.
func FuzzReadRecord(f *testing.F) {
	rec := chained(f, "edge-1", 2)[1]
	value, err := schemas.Encode(nil, rec)
	if err != nil {
		f.Fatal(err)
	}
	line, err := WriteRecordJSON(rec)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	f.Add(line)
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0x0a, 0xff}, 20))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, read := range []func([]byte) (*metivav1.ConsentRecord, error){ReadRecord, ReadRecordJSON} {
			rec, err := read(b)
			if err != nil {
				continue
			}
			v := NewVerifier()
			v.Add(rec)
			report := v.Report(time.Time{})
			if len(report.Chains) != 1 || report.OK != (RecordHash(rec) == Hash(rec.GetRecordSha256())) {
				t.Fatalf("report %+v", report)
			}
			again, err := schemas.Encode(nil, rec)
			if err != nil {
				t.Fatal(err)
			}
			back, err := ReadRecord(again)
			if err != nil || RecordHash(back) != RecordHash(rec) {
				t.Fatalf("the record is another after writing: %v", err)
			}
		}
	})
}
