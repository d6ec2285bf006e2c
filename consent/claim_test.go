package consent

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// tcStrings are the strings of package tcf's vectors, by name.
func tcStrings(t testing.TB) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("tcf/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Text string }
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string, len(vectors))
	for _, v := range vectors {
		out[v.Name] = v.Text
	}
	return out
}

func tcString(t testing.TB, name string) string {
	t.Helper()
	text := tcStrings(t)[name]
	if text == "" {
		t.Fatalf("no vector %q", name)
	}
	return text
}

func companyPolicy() Policy {
	return Policy{Mode: metivav1.SiteMode_SITE_MODE_COMPANY, HonourDNT: true, TCFVendor: 2, CMP: CMPCookiebot}
}

func chosen(a Answer) Choice { return Choice{Answer: a, Made: true} }

func TestClaimAnswers(t *testing.T) {
	t.Parallel()
	policy := companyPolicy()
	noVendor := policy
	noVendor.TCFVendor = 0
	yes, no := chosen(AnswerGranted), chosen(AnswerRefused)
	cmp := func(c Choice, raw string) Claim {
		return Claim{Source: SourceCMP, CMP: CMPCookiebot, Choice: c, Raw: raw}
	}
	tc := func(name string) Claim { return Claim{Source: SourceTCF, Raw: tcString(t, name)} }
	mode := func(raw string) Claim { return Claim{Source: SourceConsentMode, Raw: raw} }
	for name, c := range map[string]struct {
		claim  Claim
		policy Policy
		want   Answer
	}{
		"nobody":                      {Claim{}, policy, AnswerNone},
		"nobody with a choice":        {Claim{Choice: yes}, policy, AnswerNone},
		"nobody with a text":          {Claim{Raw: "x"}, policy, AnswerRefused},
		"a source that is none":       {Claim{Source: 99, Choice: yes}, policy, AnswerRefused},
		"banner yes":                  {Claim{Source: SourceBanner, Choice: yes}, policy, AnswerGranted},
		"banner no":                   {Claim{Source: SourceBanner, Choice: no}, policy, AnswerRefused},
		"banner silent":               {Claim{Source: SourceBanner}, policy, AnswerNone},
		"banner with a raw text":      {Claim{Source: SourceBanner, Choice: yes, Raw: "x"}, policy, AnswerRefused},
		"script yes":                  {Claim{Source: SourceAPI, Choice: yes}, policy, AnswerGranted},
		"platform yes":                {cmp(yes, "necessary,statistics"), policy, AnswerGranted},
		"platform no":                 {cmp(no, "necessary"), policy, AnswerRefused},
		"platform yes without choice": {cmp(Choice{Answer: AnswerGranted}, ""), policy, AnswerNone},
		"platform no without choice":  {cmp(Choice{Answer: AnswerRefused}, ""), policy, AnswerNone},
		"platform yes by silence":     {cmp(Choice{Answer: AnswerGranted, Made: true, Implied: true}, ""), policy, AnswerNone},
		"platform no under implied":   {cmp(Choice{Answer: AnswerRefused, Made: true, Implied: true}, ""), policy, AnswerRefused},
		"platform answer unknown":     {cmp(chosen(7), ""), policy, AnswerRefused},
		"platform unknown":            {Claim{Source: SourceCMP, CMP: "other", Choice: yes}, policy, AnswerRefused},
		"platform not named":          {Claim{Source: SourceCMP, Choice: yes}, policy, AnswerRefused},
		"platform with an address":    {cmp(yes, "jan@example.org"), policy, AnswerRefused},
		"platform with an ip":         {cmp(yes, "192.0.2.1"), policy, AnswerRefused},
		"platform with markup":        {cmp(yes, "<b>"), policy, AnswerRefused},
		"platform with null":          {cmp(yes, "a\x00"), policy, AnswerRefused},
		"platform too long":           {cmp(yes, strings.Repeat("C", categoriesBytesMax+1)), policy, AnswerRefused},
		"tcf yes":                     {tc("grant through both"), policy, AnswerGranted},
		"tcf refused":                 {tc("refused"), policy, AnswerRefused},
		"tcf not for us":              {tc("legitimate interest for the vendor"), policy, AnswerRefused},
		"tcf old policy":              {tc("golden of the specification"), policy, AnswerRefused},
		"tcf stale":                   {tc("stale"), policy, AnswerRefused},
		"tcf before a choice":         {Claim{Source: SourceTCF}, policy, AnswerNone},
		"tcf garbage":                 {Claim{Source: SourceTCF, Raw: "CAAA"}, policy, AnswerRefused},
		"tcf other letters":           {Claim{Source: SourceTCF, Raw: "C@"}, policy, AnswerRefused},
		"tcf too long":                {Claim{Source: SourceTCF, Raw: tcString(t, "grant through both") + strings.Repeat("A", RawSignalBytesMax)}, policy, AnswerRefused},
		"tcf no vendor, yes":          {tc("grant through both"), noVendor, AnswerNone},
		"tcf no vendor, refused":      {tc("refused"), noVendor, AnswerRefused},
		"tcf no vendor, stale":        {tc("stale"), noVendor, AnswerRefused},
		"tcf choice is not read":      {Claim{Source: SourceTCF, Raw: tcString(t, "refused"), Choice: yes}, policy, AnswerRefused},
		"mode empty":                  {mode(""), policy, AnswerNone},
		"gcs both":                    {mode("G111"), policy, AnswerNone},
		"gcs only analytics":          {mode("G101"), policy, AnswerNone},
		"gcs only ads":                {mode("G110"), policy, AnswerRefused},
		"gcs none":                    {mode("G100"), policy, AnswerRefused},
		"gcs not set":                 {mode("G1--"), policy, AnswerNone},
		"gcs unknown state":           {mode("G112"), policy, AnswerRefused},
		"gcs of another version":      {mode("G211"), policy, AnswerRefused},
		"gcs cut":                     {mode("G11"), policy, AnswerRefused},
		"gcs longer":                  {mode("G1111"), policy, AnswerRefused},
		"gcd not set":                 {mode("11l1l1l1l1"), policy, AnswerNone},
		"gcd granted by default":      {mode("13t3t3t3t5"), policy, AnswerNone},
		"gcd granted by update":       {mode("13r3r3r3r5l1"), policy, AnswerNone},
		"gcd denied by default":       {mode("11p1p1p1p5"), policy, AnswerRefused},
		"gcd denied twice":            {mode("11q1q1q1q5"), policy, AnswerRefused},
		"gcd denied by update":        {mode("11t1m1t1t5"), policy, AnswerRefused},
		"gcd taken back":              {mode("11v1u1v1v5"), policy, AnswerRefused},
		"gcd only ads denied":         {mode("11p1t1p1p5"), policy, AnswerNone},
		"gcd unknown letter":          {mode("11t1z1t1t5"), policy, AnswerRefused},
		"gcd shifted":                 {mode("1t1t1t1t15"), policy, AnswerRefused},
		"gcd too long":                {mode("11t1t1t1t" + strings.Repeat("5", 40)), policy, AnswerRefused},
	} {
		if got := c.claim.Answer(c.policy, testNow()); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestWithKeepsTheStricterOfASource(t *testing.T) {
	t.Parallel()
	policy := companyPolicy()
	yes := Claim{Source: SourceTCF, Raw: tcString(t, "grant through both")}
	no := Claim{Source: SourceTCF, Raw: tcString(t, "refused")}
	for _, order := range [][]Claim{{yes, no}, {no, yes}, {no, {Source: SourceTCF}}} {
		var s Signals
		for _, claim := range order {
			s = s.With(claim, policy, testNow())
		}
		if s != (Signals{TCF: AnswerRefused}) {
			t.Errorf("%+v", s)
		}
	}
	all := Signals{}.
		With(Claim{Source: SourceBanner, Choice: chosen(AnswerGranted)}, policy, testNow()).
		With(Claim{Source: SourceCMP, CMP: CMPKlaro, Choice: chosen(AnswerRefused)}, policy, testNow()).
		With(Claim{Source: SourceConsentMode, Raw: "G100"}, policy, testNow()).
		With(yes, policy, testNow())
	if all != (Signals{Page: AnswerGranted, CMP: AnswerRefused, TCF: AnswerGranted, ConsentMode: AnswerRefused}) {
		t.Errorf("%+v", all)
	}
	if s := (Signals{}).With(Claim{Source: 99}, policy, testNow()); !s.refuses() {
		t.Errorf("a source that is none: %+v", s)
	}
}

// FuzzClaim: whatever a page claims, it never raises a decision, and what is
// exchanged for a token can be kept in a record and issued.
func FuzzClaim(f *testing.F) {
	for _, text := range tcStrings(f) {
		f.Add(uint8(SourceTCF), "", text, uint8(1), true, false, "")
	}
	f.Add(uint8(SourceConsentMode), "", "G111", uint8(1), true, false, "")
	f.Add(uint8(SourceConsentMode), "", "13r3r3r3r5l1", uint8(1), true, false, "")
	f.Add(uint8(SourceCMP), "cookiebot", "necessary,statistics", uint8(1), true, false, "nl-3")
	f.Add(uint8(SourceBanner), "", "", uint8(1), true, false, "nl-3")
	tokens, policy := newTokens(f, 1), companyPolicy()
	proof := tokens.Verify(site, issue(f, tokens, testGrant()), testNow())
	f.Fuzz(func(t *testing.T, source uint8, cmp, raw string, answer uint8, made, implied bool, text string) {
		claim := Claim{Source: Source(source), CMP: CMP(cmp), Raw: raw, Choice: Choice{Answer: Answer(answer), Made: made, Implied: implied}, TextVersion: text}
		for _, before := range []Signals{{}, {GPC: true}, {Proof: proof}, {Proof: Proof{status: proofWithdrawn}}} {
			with := before.With(claim, policy, testNow())
			if rank(Decide(policy, with)) > rank(Decide(policy, before)) {
				t.Fatalf("%+v raised %+v", claim, before)
			}
		}
		basis, err := Grantable(policy, Signals{}, claim, testNow())
		if err != nil {
			if basis != (Basis{}) {
				t.Fatal("an error and half a basis")
			}
			return
		}
		if len(basis.RawSignal) > RawSignalBytesMax || strings.ContainsAny(basis.RawSignal, "@\x00\n") || basis.Source == "" || basis.RawSignal != raw {
			t.Fatalf("basis %+v", basis)
		}
		token, err := tokens.Issue(site, basis.Grant([IDBytes]byte{1}, 1), testNow())
		if err != nil || !tokens.Verify(site, []byte(token), testNow()).Valid() {
			t.Fatalf("%+v cannot be issued: %v", basis, err)
		}
	})
}
