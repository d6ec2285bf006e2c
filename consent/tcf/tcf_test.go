package tcf

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// golden is the example of the specification, made in 2020.
const golden = "COvFyGBOvFyGBAbAAAENAPCAAOAAAAAAAAAAAEEUACCKAAA.IFoEUQQgAIQwgIwQABAEAAAAOIAACAIAAAAQAIAgEAACEAAAAAgAQBAAAAAAAGBAAgAAAAAAAFAAECAAAgAAQARAEQAAAAAJAAIAAgAAAYQEAAAQmAgBC3ZAYzUw"

func testNow() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// grantErrors are the answers by the names testdata/vectors.json uses.
func grantErrors() map[string]error {
	return map[string]error{
		"": nil, "ErrPolicyVersion": ErrPolicyVersion, "ErrStale": ErrStale, "ErrFuture": ErrFuture, "ErrDates": ErrDates,
		"ErrGlobalScope": ErrGlobalScope, "ErrPurposes": ErrPurposes, "ErrVendorConsent": ErrVendorConsent,
		"ErrNotDisclosed": ErrNotDisclosed, "ErrRestricted": ErrRestricted, "ErrVendorRequired": ErrVendorRequired,
	}
}

// vector is a string made by npm @iabtcf/core with what that library reads in
// it. Ids come as [first, last] pairs.
type vector struct {
	Name string            `json:"name"`
	Text string            `json:"text"`
	Asks map[string]string `json:"asks"` // vendor id to the error of Analytics
	Want struct {
		CreatedMs           int64         `json:"created_ms"`
		UpdatedMs           int64         `json:"updated_ms"`
		CMPID               uint16        `json:"cmp_id"`
		CMPVersion          uint16        `json:"cmp_version"`
		ConsentScreen       uint8         `json:"consent_screen"`
		Language            string        `json:"language"`
		ListVersion         uint16        `json:"list_version"`
		PolicyVersion       uint8         `json:"policy_version"`
		ServiceSpecific     bool          `json:"service_specific"`
		NonStandard         bool          `json:"non_standard"`
		SpecialFeatures     []int         `json:"special_features"`
		Purposes            []int         `json:"purposes"`
		PurposesLI          []int         `json:"purposes_li"`
		PurposeOneTreatment bool          `json:"purpose_one_treatment"`
		Country             string        `json:"country"`
		Vendors             [][2]VendorID `json:"vendors"`
		VendorsLI           [][2]VendorID `json:"vendors_li"`
		Disclosure          bool          `json:"disclosure"`
		Disclosed           [][2]VendorID `json:"disclosed"`
		Restrictions        []struct {
			Purpose int             `json:"purpose"`
			Type    RestrictionType `json:"type"`
			Vendors [][2]VendorID   `json:"vendors"`
		} `json:"restrictions"`
	} `json:"want"`
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 60 {
		t.Fatalf("%d vectors, at least 60 are needed", len(vectors))
	}
	return vectors
}

func in(spans [][2]VendorID, id VendorID) bool {
	return slices.ContainsFunc(spans, func(s [2]VendorID) bool { return s[0] <= id && id <= s[1] })
}

// vendorsAsked covers every id of the vectors and the ends of the number range.
func vendorsAsked() []VendorID {
	ids := []VendorID{VendorIDMax - 1, VendorIDMax, VendorIDMax + 1, 65535}
	for id := range VendorID(1600) {
		ids = append(ids, id)
	}
	return ids
}

func TestVectors(t *testing.T) {
	t.Parallel()
	asked, answers := vendorsAsked(), grantErrors()
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			s, err := Decode(v.Text)
			if err != nil {
				t.Fatal(err)
			}
			checkFields(t, v, &s)
			for _, id := range asked {
				if s.VendorConsent(id) != in(v.Want.Vendors, id) || s.VendorLegitimateInterest(id) != in(v.Want.VendorsLI, id) || s.VendorDisclosed(id) != in(v.Want.Disclosed, id) {
					t.Errorf("vendor %d: consent %v, legitimate interest %v, disclosed %v", id, s.VendorConsent(id), s.VendorLegitimateInterest(id), s.VendorDisclosed(id))
				}
			}
			checkRestrictions(t, v, &s, asked[:300])
			for text, name := range v.Asks {
				id, err := strconv.ParseUint(text, 10, 16)
				want, known := answers[name]
				if err != nil || !known {
					t.Fatalf("the vector asks about %q and expects %q", text, name)
				}
				if got := s.Analytics(VendorID(id), testNow()); !errors.Is(got, want) || (got == nil) != (want == nil) {
					t.Errorf("vendor %d: %v, want %v", id, got, want)
				}
			}
		})
	}
}

func checkFields(t *testing.T, v vector, s *String) {
	t.Helper()
	w := v.Want
	if s.Created.UnixMilli() != w.CreatedMs || s.LastUpdated.UnixMilli() != w.UpdatedMs {
		t.Errorf("created %v, updated %v", s.Created, s.LastUpdated)
	}
	if s.CMPID != w.CMPID || s.CMPVersion != w.CMPVersion || s.ConsentScreen != w.ConsentScreen || string(s.ConsentLanguage[:]) != w.Language {
		t.Errorf("cmp %d %d %d %q", s.CMPID, s.CMPVersion, s.ConsentScreen, s.ConsentLanguage)
	}
	if s.VendorListVersion != w.ListVersion || s.PolicyVersion != w.PolicyVersion || s.ServiceSpecific != w.ServiceSpecific || s.NonStandardTexts != w.NonStandard {
		t.Errorf("list %d, policy %d, service specific %v, own texts %v", s.VendorListVersion, s.PolicyVersion, s.ServiceSpecific, s.NonStandardTexts)
	}
	if s.PurposeOneTreatment != w.PurposeOneTreatment || string(s.PublisherCountry[:]) != w.Country || s.DisclosureIncluded != w.Disclosure {
		t.Errorf("purpose one %v, country %q, disclosure %v", s.PurposeOneTreatment, s.PublisherCountry, s.DisclosureIncluded)
	}
	for p := -1; p <= 70; p++ {
		if s.PurposeConsent(p) != slices.Contains(w.Purposes, p) || s.PurposeLegitimateInterest(p) != slices.Contains(w.PurposesLI, p) {
			t.Errorf("purpose %d: consent %v, legitimate interest %v", p, s.PurposeConsent(p), s.PurposeLegitimateInterest(p))
		}
	}
	for f := 1; f <= 12; f++ {
		if on := s.SpecialFeatures>>(12-f)&1 == 1; on != slices.Contains(w.SpecialFeatures, f) {
			t.Errorf("special feature %d: %v", f, on)
		}
	}
}

func checkRestrictions(t *testing.T, v vector, s *String, asked []VendorID) {
	t.Helper()
	for _, r := range v.Want.Restrictions {
		for kind := RestrictionNotAllowed; kind <= RestrictionUndefined; kind++ {
			for _, id := range asked {
				want := slices.ContainsFunc(v.Want.Restrictions, func(other struct {
					Purpose int             `json:"purpose"`
					Type    RestrictionType `json:"type"`
					Vendors [][2]VendorID   `json:"vendors"`
				},
				) bool {
					return other.Purpose == r.Purpose && other.Type == kind && in(other.Vendors, id)
				})
				if got := s.Restricted(r.Purpose, kind, id); got != want {
					t.Errorf("purpose %d, restriction %d, vendor %d: %v", r.Purpose, kind, id, got)
				}
			}
		}
	}
}

func TestGoldenDecodesAndIsRefused(t *testing.T) {
	t.Parallel()
	s, err := Decode(golden)
	if err != nil {
		t.Fatal(err)
	}
	var consented []VendorID
	disclosed := 0
	for id := range VendorIDMax {
		if s.VendorConsent(id) {
			consented = append(consented, id)
		}
		if s.VendorDisclosed(id) {
			disclosed++
		}
	}
	if s.PolicyVersion != 2 || s.CMPID != 27 || s.LastUpdated.Year() != 2020 || !slices.Equal(consented, []VendorID{2, 6, 8}) || disclosed != 79 {
		t.Errorf("policy %d, cmp %d, updated %v, vendors %v, %d disclosed", s.PolicyVersion, s.CMPID, s.LastUpdated, consented, disclosed)
	}
	if err := s.Analytics(2, testNow()); !errors.Is(err, ErrPolicyVersion) {
		t.Errorf("an old policy: %v", err)
	}
	s.PolicyVersion = PolicyVersionMin
	if err := s.Analytics(2, testNow()); !errors.Is(err, ErrStale) {
		t.Errorf("with a policy of today: %v", err)
	}
}

func TestZeroStringGrantsNothing(t *testing.T) {
	t.Parallel()
	var s String
	if s.Analytics(1, testNow()) == nil || s.VendorConsent(1) || s.VendorDisclosed(1) || s.Restricted(1, RestrictionNotAllowed, 1) {
		t.Error("the zero string grants something")
	}
}

func TestAgeIsExact(t *testing.T) {
	t.Parallel()
	s, err := Decode(build(standard()))
	if err != nil {
		t.Fatal(err)
	}
	updated := s.LastUpdated
	end := updated.AddDate(0, 13, 0)
	for name, c := range map[string]struct {
		now  time.Time
		want error
	}{
		"when updated":      {updated, nil},
		"a day before":      {updated.Add(-AheadMax), nil},
		"more than a day":   {updated.Add(-AheadMax - 1), ErrFuture},
		"13 months after":   {end, nil},
		"a moment later":    {end.Add(1), ErrStale},
		"long before":       {time.Unix(0, 0), ErrFuture},
		"in another zone":   {end.In(time.FixedZone("", 14*3600)), nil},
		"a century is over": {updated.AddDate(100, 0, 0), ErrStale},
	} {
		if err := s.Analytics(7, c.now); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	good := build(standard())
	if _, err := Decode(good); err != nil {
		t.Fatalf("the control does not decode: %v", err)
	}
	with := func(change func(*fields)) string {
		f := standard()
		change(&f)
		return build(f)
	}
	core, disclosed := with(func(f *fields) { f.disclosed = "" }), encode("001"+vendorBits(3, 1, 2, 3))
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":               {"", ErrAlphabet},
		"a dot":                 {".", ErrAlphabet},
		"empty first segment":   {"." + good, ErrAlphabet},
		"empty last segment":    {good + ".", ErrAlphabet},
		"empty middle segment":  {good + ".." + disclosed, ErrAlphabet},
		"padding":               {good + "=", ErrAlphabet},
		"plus":                  {"+" + good[1:], ErrAlphabet},
		"slash":                 {good + "/", ErrAlphabet},
		"line break":            {good + "\n", ErrAlphabet},
		"null":                  {good[:10] + "\x00" + good[11:], ErrAlphabet},
		"invalid UTF-8":         {good[:10] + "\xff" + good[11:], ErrAlphabet},
		"in a skipped segment":  {good + ".Y%%%", ErrAlphabet},
		"version 1":             {"BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA", ErrVersion},
		"version 3":             {with(func(f *fields) { f.version = 3 }), ErrVersion},
		"one character":         {"C", ErrTruncated},
		"cut core":              {good[:30], ErrTruncated},
		"language":              {with(func(f *fields) { f.language = 26 << 6 }), ErrLetters},
		"country":               {with(func(f *fields) { f.country = 63 }), ErrLetters},
		"bit field cut":         {with(func(f *fields) { f.vendors, f.rest = number(9000, 16)+"0", "" }), ErrTruncated},
		"bit field too large":   {with(func(f *fields) { f.vendors = number(16384, 16) + "0" }), ErrVendorID},
		"range of id 0":         {with(func(f *fields) { f.vendors = rangeBits(9, [2]int{0, 4}) }), ErrVendorID},
		"single id 0":           {with(func(f *fields) { f.vendors = rangeBits(9, [2]int{0, 0}) }), ErrVendorID},
		"range backwards":       {with(func(f *fields) { f.vendors = rangeBits(9, [2]int{5, 4}) }), ErrVendorID},
		"range over its end":    {with(func(f *fields) { f.vendors = rangeBits(9, [2]int{5, 10}) }), ErrVendorID},
		"range over the limit":  {with(func(f *fields) { f.vendors = rangeBits(65535, [2]int{1, 65535}) }), ErrVendorID},
		"more ranges than told": {with(func(f *fields) { f.vendors, f.rest = number(9, 16)+"1"+number(4095, 12), "" }), ErrTruncated},
		"restriction of id 0":   {with(func(f *fields) { f.rest = vendorBits(0) + number(1, 12) + restriction(8, 0, [2]int{0, 3}) }), ErrVendorID},
		"restriction backwards": {with(func(f *fields) { f.rest = vendorBits(0) + number(1, 12) + restriction(8, 0, [2]int{4, 3}) }), ErrVendorID},
		"restriction too far":   {with(func(f *fields) { f.rest = vendorBits(0) + number(1, 12) + restriction(8, 0, [2]int{4, 16384}) }), ErrVendorID},
		"restrictions missing":  {with(func(f *fields) { f.rest = vendorBits(0) + number(4095, 12) + restriction(8, 0, [2]int{1, 2}) }), ErrTruncated},
		"no restriction count":  {with(func(f *fields) { f.rest = vendorBits(0) }), ErrTruncated},
		"disclosed twice":       {good + "." + disclosed + "." + disclosed, ErrSegments},
		"skipped twice":         {good + ".YAAA.YAAA", ErrSegments},
		"core twice":            {core + "." + core, ErrSegments},
		"disclosed cut":         {core + "." + encode("001"+number(500, 16)+"0"+"1111"), ErrTruncated},
		"disclosed id 0":        {core + "." + encode("001"+rangeBits(9, [2]int{0, 4})), ErrVendorID},
		"over the limit":        {good + strings.Repeat("A", StringBytesMax), ErrTooLong},
	} {
		s, err := Decode(c.text)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if s != (String{}) {
			t.Errorf("%s: half a string came back", name)
		}
	}
}

func TestEveryPrefixIsRefusedOrTheSame(t *testing.T) {
	t.Parallel()
	for _, v := range readVectors(t) {
		core, _, _ := strings.Cut(v.Text, ".")
		whole, err := Decode(core)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(core) {
			s, err := Decode(core[:n])
			if err == nil && (s.LastUpdated != whole.LastUpdated || s.purposes != whole.purposes || s.restrictions.count != whole.restrictions.count) {
				t.Errorf("%s cut at %d decodes to something else", v.Name, n)
			}
			// Only the zero bits that fill up the last characters may go.
			if err == nil && strings.Trim(core[n:], "A") != "" {
				t.Errorf("%s cut at %d decodes without %q", v.Name, n, core[n:])
			}
		}
	}
}

func TestSegmentsInAnyOrderAndUnknownOnes(t *testing.T) {
	t.Parallel()
	f := standard()
	f.disclosed = ""
	core, disclosed := build(f), encode("001"+vendorBits(9, 7))
	all := []string{disclosed}
	for kind := uint64(2); kind < 8; kind++ {
		all = append(all, encode(number(kind, 3)+"111"))
	}
	if len(all)+1 != SegmentsMax {
		t.Fatalf("%d segments", len(all)+1)
	}
	for range all {
		all = append(all[1:], all[0])
		s, err := Decode(core + "." + strings.Join(all, "."))
		if err != nil || s.Analytics(7, testNow()) != nil || !errors.Is(s.Analytics(3, testNow()), ErrNotDisclosed) {
			t.Errorf("%v, %v, %v", err, s.Analytics(7, testNow()), s.Analytics(3, testNow()))
		}
	}
	s, err := Decode(core)
	if err != nil || !errors.Is(s.Analytics(7, testNow()), ErrNotDisclosed) {
		t.Errorf("without the segment: %v", err)
	}
}

func TestUndefinedRestrictionIsTheStrictest(t *testing.T) {
	t.Parallel()
	for kind, want := range map[RestrictionType]error{
		RestrictionNotAllowed: ErrRestricted, RestrictionRequireConsent: nil,
		RestrictionRequireLegitimateInterest: ErrRestricted, RestrictionUndefined: ErrRestricted,
	} {
		f := standard()
		// Purpose 63 has no place in the string and changes nothing.
		f.rest = vendorBits(0) + number(2, 12) + restriction(1, int(kind), [2]int{2, 7}) + restriction(63, 0, [2]int{7, 7})
		s, err := Decode(build(f))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Analytics(7, testNow()); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("restriction %d: %v, want %v", kind, err, want)
		}
		if err := s.Analytics(8, testNow()); err != nil {
			t.Errorf("restriction %d on others: %v", kind, err)
		}
	}
}

func TestNoAllocation(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts the whole process
	texts := []string{golden, build(standard()), hostile()}
	if n := testing.AllocsPerRun(200, func() {
		for _, text := range texts {
			s, err := Decode(text)
			if err != nil {
				t.Fatal(err)
			}
			_ = s.Analytics(7, testNow())
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(v.Text, uint16(2))
	}
	f.Add(hostile(), uint16(7))
	f.Add("C.I.Q.Y", uint16(1))
	f.Fuzz(func(t *testing.T, text string, vendor uint16) {
		s, err := Decode(text)
		id := VendorID(vendor)
		if err != nil {
			if s != (String{}) {
				t.Fatal("an error and half a string")
			}
			return
		}
		if len(text) > StringBytesMax || strings.Count(text, ".") >= SegmentsMax {
			t.Fatal("over a limit")
		}
		if s.VendorConsent(0) || s.VendorConsent(VendorIDMax+1) || s.VendorDisclosed(0) {
			t.Fatal("a vendor that cannot be")
		}
		restricted := s.Restricted(1, RestrictionNotAllowed, id)
		if err := s.Analytics(id, testNow()); err != nil {
			return
		}
		if s.PolicyVersion < 4 || s.LastUpdated.After(testNow().Add(24*time.Hour)) || s.LastUpdated.Before(testNow().AddDate(0, -14, 0)) ||
			!s.PurposeConsent(1) || !s.PurposeConsent(8) && !s.PurposeConsent(9) || !s.VendorConsent(id) || restricted ||
			s.DisclosureIncluded && !s.VendorDisclosed(id) {
			t.Fatalf("vendor %d is granted by a string that does not say so", vendor)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for name, text := range map[string]string{"typical": build(standard()), "golden": golden, "hostile": hostile()} {
		b.Run(name, func(b *testing.B) {
			now := testNow()
			b.ReportAllocs()
			for b.Loop() {
				s, err := Decode(text)
				if err != nil {
					b.Fatal(err)
				}
				_ = s.Analytics(7, now)
			}
		})
	}
}
