package consent

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestRefusedRecordsWhatTheVisitorDid: only a refusal that can be read and was
// made by the visitor is one for the record.
func TestRefusedRecordsWhatTheVisitorDid(t *testing.T) {
	t.Parallel()
	now, policy := testNow(), companyPolicy()
	for name, c := range map[string]struct {
		claim Claim
		want  string // source; empty: not recorded
	}{
		"banner":                {Claim{Source: SourceBanner, Choice: chosen(AnswerRefused), TextVersion: "nl-3"}, "banner"},
		"script":                {Claim{Source: SourceAPI, Choice: chosen(AnswerRefused)}, "api"},
		"platform":              {Claim{Source: SourceCMP, CMP: CMPKlaro, Choice: chosen(AnswerRefused), Raw: "necessary"}, "cmp:klaro"},
		"string":                {Claim{Source: SourceTCF, Raw: tcString(t, "refused")}, "tcf"},
		"string without us":     {Claim{Source: SourceTCF, Raw: tcString(t, "legitimate interest for the vendor")}, "tcf"},
		"string that grants":    {Claim{Source: SourceTCF, Raw: tcString(t, "grant through both")}, ""},
		"nothing disclosed":     {Claim{Source: SourceTCF, Raw: tcString(t, "purpose 1 not disclosed")}, ""},
		"stale string":          {Claim{Source: SourceTCF, Raw: tcString(t, "stale")}, ""},
		"not made":              {Claim{Source: SourceBanner, Choice: Choice{Answer: AnswerRefused}}, ""},
		"granted":               {bannerYes(), ""},
		"beyond the answers":    {Claim{Source: SourceBanner, Choice: chosen(77)}, ""},
		"unknown platform":      {Claim{Source: SourceCMP, CMP: "mine", Choice: chosen(AnswerRefused)}, ""},
		"unreadable string":     {Claim{Source: SourceTCF, Raw: "CQ.not-a-string"}, ""},
		"raw of a banner":       {Claim{Source: SourceBanner, Choice: chosen(AnswerRefused), Raw: "x"}, ""},
		"raw over its limit":    {Claim{Source: SourceCMP, CMP: CMPKlaro, Choice: chosen(AnswerRefused), Raw: strings.Repeat("a", 600)}, ""},
		"Consent Mode":          {Claim{Source: SourceConsentMode, Raw: "G100", Choice: chosen(AnswerRefused)}, ""},
		"nobody":                {Claim{Choice: chosen(AnswerRefused)}, ""},
		"a source there is not": {Claim{Source: 99, Choice: chosen(AnswerRefused)}, ""},
	} {
		basis, refused := Refused(policy, c.claim, now)
		if refused != (c.want != "") || refused && (basis.Source != c.want || !basis.GivenAt.Equal(now) || !basis.ExpiresAt.IsZero()) {
			t.Errorf("%s: %v, %+v", name, refused, basis)
		}
		if _, err := Grantable(policy, Signals{}, c.claim, now); refused && err == nil {
			t.Errorf("%s: refused and granted", name)
		}
	}
}

// TestReadTakesWhatWeIssued: an expired token still names its visitor, and a
// forged or foreign one names nobody.
func TestReadTakesWhatWeIssued(t *testing.T) {
	t.Parallel()
	now, tokens := testNow(), newTokens(t, 1)
	want := Grant{VisitorID: [IDBytes]byte{5}, Sequence: 7, TextVersion: "nl-3", ExpiresAt: now.Add(time.Hour)}
	token, err := tokens.Issue(site, want, now)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := tokens.Read(site, []byte(token)); !ok || got != want {
		t.Errorf("%v: %+v, want %+v", ok, got, want)
	}
	if tokens.Verify(site, []byte(token), now.Add(2*time.Hour)).Valid() {
		t.Error("the token outlives itself")
	}
	for i := range len(token) {
		forged := []byte(token)
		if forged[i] = 'A'; token[i] == 'A' {
			forged[i] = 'B'
		}
		if _, ok := tokens.Read(site, forged); ok {
			t.Fatalf("character %d was changed", i)
		}
		if _, ok := tokens.Read(site, []byte(token[:i])); ok {
			t.Fatalf("the first %d characters", i)
		}
	}
	if _, ok := tokens.Read("sit_other", []byte(token)); ok {
		t.Error("another site's token was read")
	}
	if _, ok := newTokens(t, 2).Read(site, []byte(token)); ok {
		t.Error("another key's token was read")
	}
	if _, ok := tokens.Read(site, []byte(token+"\n")); ok {
		t.Error("a line break was skipped")
	}
}

func TestNextSequence(t *testing.T) {
	t.Parallel()
	now := testNow()
	ms := uint64(now.UnixMilli())
	for _, c := range []struct{ after, want uint64 }{
		{0, ms}, {ms - 1, ms}, {ms, ms + 1}, {ms + 5000, ms + 5001}, {EverySequence - 1, EverySequence}, {EverySequence, EverySequence},
	} {
		if got := NextSequence(c.after, now); got != c.want {
			t.Errorf("after %d: %d, want %d", c.after, got, c.want)
		}
	}
	if got := NextSequence(0, time.Unix(-5, 0)); got != 1 {
		t.Errorf("before 1970: %d", got)
	}
	w := NewWithdrawals()
	if w.Withdrawn("cmp_a", [IDBytes]byte{1}, math.MaxUint64) {
		t.Error("withdrawn without a withdrawal")
	}
}
