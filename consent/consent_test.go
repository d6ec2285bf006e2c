package consent

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

const site = "sit_aaaaaaaaaaaaaaaaaaaa"

func testNow() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

func newTokens(t testing.TB, fill byte) *Tokens {
	t.Helper()
	tokens, err := NewTokens(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func testGrant() Grant {
	return Grant{VisitorID: [IDBytes]byte{1, 2, 3}, Sequence: 7, TextVersion: "nl-3", ExpiresAt: testNow().Add(24 * time.Hour)}
}

func issue(t testing.TB, tokens *Tokens, g Grant) []byte {
	t.Helper()
	token, err := tokens.Issue(site, g, testNow())
	if err != nil {
		t.Fatal(err)
	}
	return []byte(token)
}

func TestZeroDecisionAllowsNothing(t *testing.T) {
	t.Parallel()
	var d Decision
	if _, ok := d.VisitorID(); d.Allows() || ok {
		t.Fatal("the zero decision allows an event")
	}
	if Decide(Policy{}, Signals{}).Allows() {
		t.Fatal("the zero policy allows an event")
	}
}

func TestTokenRoundTrip(t *testing.T) {
	t.Parallel()
	tokens, g := newTokens(t, 1), testGrant()
	token := issue(t, tokens, g)
	if len(token) > TokenBytesMax {
		t.Fatalf("token of %d characters", len(token))
	}
	p := tokens.Verify(site, token, testNow())
	if !p.Valid() || p.visitorID != g.VisitorID || p.sequence != g.Sequence || p.textVersion != g.TextVersion {
		t.Fatalf("proof %+v", p)
	}
	longest := g
	longest.TextVersion = strings.Repeat("v", TextVersionBytesMax)
	longest.Sequence = 1<<64 - 1
	longest.ExpiresAt = testNow().Add(GrantAgeMax)
	if token := issue(t, tokens, longest); len(token) > TokenBytesMax || !tokens.Verify(site, token, testNow()).Valid() {
		t.Fatalf("the longest grant does not verify (%d characters)", len(token))
	}
}

func TestTokensThatProveNothing(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, 1)
	good := issue(t, tokens, testGrant())
	raw, err := base64.RawURLEncoding.DecodeString(string(good))
	if err != nil {
		t.Fatal(err)
	}
	// signed makes a token with a right MAC over any payload.
	signed := func(payload []byte) []byte {
		m := tokens.macs.Get().(*tokenMAC)
		defer tokens.macs.Put(m)
		return []byte(base64.RawURLEncoding.EncodeToString(append(bytes.Clone(payload), m.of(site, payload)...)))
	}
	payload := raw[:len(raw)-macBytes]
	changed := func(i int, b byte) []byte {
		out := bytes.Clone(payload)
		out[i] = b
		return out
	}
	expiring := binary.AppendUvarint(binary.AppendUvarint(bytes.Clone(payload[:tokenFixedBytes]), 7), uint64(testNow().Add(GrantAgeMax+time.Hour).Unix()))
	for name, token := range map[string][]byte{
		"empty":             nil,
		"garbage":           []byte("xx"),
		"other key":         issue(t, newTokens(t, 2), testGrant()),
		"padded":            append(bytes.Clone(good), '='),
		"line break":        append(bytes.Clone(good), '\n'),
		"cut":               good[:len(good)-1],
		"too long":          bytes.Repeat([]byte("A"), TokenBytesMax+1),
		"other version":     signed(changed(0, 2)),
		"other purpose":     signed(changed(1, 2)),
		"sequence zero":     signed(changed(tokenFixedBytes, 0)),
		"no text version":   signed(payload[:len(payload)-len("nl-3")]),
		"only the fixed":    signed(payload[:tokenFixedBytes]),
		"lives too long":    signed(append(expiring, "nl-3"...)),
		"overlong varint":   signed(append(bytes.Clone(payload[:tokenFixedBytes]), bytes.Repeat([]byte{0xff}, 11)...)),
		"mac of other data": []byte(base64.RawURLEncoding.EncodeToString(append(changed(2, 0xee), raw[len(raw)-macBytes:]...))),
	} {
		if tokens.Verify(site, token, testNow()).Valid() {
			t.Errorf("%s verifies", name)
		}
	}
	if !tokens.Verify(site, signed(payload), testNow()).Valid() {
		t.Error("the control does not verify: the cases above prove nothing")
	}
	if tokens.Verify("sit_other", good, testNow()).Valid() {
		t.Error("a token of another site verifies")
	}
	if tokens.Verify("", good, testNow()).Valid() {
		t.Error("a token without a site verifies")
	}
	end := testGrant().ExpiresAt
	if !tokens.Verify(site, good, end.Add(-time.Second)).Valid() || tokens.Verify(site, good, end).Valid() {
		t.Error("the expiry is not exact to the second")
	}
	for i := range good {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1
		if tokens.Verify(site, flipped, testNow()).Valid() {
			t.Errorf("character %d changed and it verifies", i)
		}
	}
}

func TestIssueRefuses(t *testing.T) {
	t.Parallel()
	tokens := newTokens(t, 1)
	for name, change := range map[string]func(*Grant){
		"no visitor":   func(g *Grant) { g.VisitorID = [IDBytes]byte{} },
		"no sequence":  func(g *Grant) { g.Sequence = 0 },
		"no text":      func(g *Grant) { g.TextVersion = "" },
		"long text":    func(g *Grant) { g.TextVersion = strings.Repeat("v", TextVersionBytesMax+1) },
		"past":         func(g *Grant) { g.ExpiresAt = testNow() },
		"over 13 mths": func(g *Grant) { g.ExpiresAt = testNow().Add(GrantAgeMax + time.Second) },
	} {
		g := testGrant()
		change(&g)
		if _, err := tokens.Issue(site, g, testNow()); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
	if _, err := tokens.Issue("", testGrant(), testNow()); err == nil {
		t.Error("issued without a site")
	}
	if _, err := NewTokens(make([]byte, 31)); err == nil {
		t.Error("a short key was taken")
	}
}

func withdrawal(t testing.TB, company string, id [IDBytes]byte, sequence uint64) (key, value []byte) {
	t.Helper()
	value, err := proto.Marshal(&metivav1.Withdrawal{CompanyId: company, SiteId: site, SubjectId: id[:], Sequence: sequence})
	if err != nil {
		t.Fatal(err)
	}
	return WithdrawalRecordKey(company, id), value
}

func TestWithdrawalLaterSequenceWinsTiesDeny(t *testing.T) {
	t.Parallel()
	tokens, w, g := newTokens(t, 1), NewWithdrawals(), testGrant() // sequence 7
	proof := tokens.Verify(site, issue(t, tokens, g), testNow())
	decide := func(company string) metivav1.ConsentState {
		return Decide(Policy{Mode: metivav1.SiteMode_SITE_MODE_COMPANY}, Signals{Proof: w.Check(company, proof)}).State()
	}
	apply := func(sequence uint64) {
		if err := w.Apply(withdrawal(t, "cmp_a", g.VisitorID, sequence)); err != nil {
			t.Fatal(err)
		}
	}
	const analytics, withdrawn = metivav1.ConsentState_CONSENT_STATE_ANALYTICS, metivav1.ConsentState_CONSENT_STATE_WITHDRAWN
	if got := decide("cmp_a"); got != analytics {
		t.Fatalf("nothing withdrawn: %v", got)
	}
	apply(6)
	if got := decide("cmp_a"); got != analytics {
		t.Errorf("an earlier choice withdrawn: %v", got)
	}
	apply(7)
	if got := decide("cmp_a"); got != withdrawn {
		t.Errorf("tie: %v", got)
	}
	apply(6) // late, and lower
	if got := decide("cmp_a"); got != withdrawn {
		t.Errorf("a replayed lower withdrawal brought consent back: %v", got)
	}
	apply(8)
	if got := decide("cmp_a"); got != withdrawn {
		t.Errorf("later withdrawal: %v", got)
	}
	if got := decide("cmp_b"); got != analytics {
		t.Errorf("another tenant's withdrawal counts: %v", got)
	}
	if p := w.Check("cmp_a", Proof{}); p.status != proofNone {
		t.Errorf("no proof became %+v", p)
	}
	if err := w.Apply(WithdrawalRecordKey("cmp_a", g.VisitorID), nil); err != nil || decide("cmp_a") != analytics {
		t.Errorf("tombstone: %v", err)
	}
}

func TestWithdrawalsRefuseBrokenRecords(t *testing.T) {
	t.Parallel()
	w := NewWithdrawals()
	key, value := withdrawal(t, "cmp_a", [IDBytes]byte{1}, 5)
	for name, rec := range map[string][2][]byte{
		"no key":        {nil, value},
		"no company":    {key[len("cmp_a"):], value},
		"short subject": {key[:len(key)-2], value},
		"not hex":       {append(bytes.Clone(key[:len(key)-1]), 'z'), value},
		"garbage":       {key, []byte{0xff}},
		"other subject": {WithdrawalRecordKey("cmp_a", [IDBytes]byte{2}), value},
		"other company": {WithdrawalRecordKey("cmp_b", [IDBytes]byte{1}), value},
	} {
		if err := w.Apply(rec[0], rec[1]); err == nil {
			t.Errorf("%s was applied", name)
		}
	}
	if len(w.sequences) != 0 {
		t.Errorf("%d withdrawals from broken records", len(w.sequences))
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	tokens, w := newTokens(t, 1), NewWithdrawals()
	token := issue(t, tokens, testGrant())
	var wg sync.WaitGroup
	for i := range 8 {
		key, value := withdrawal(t, "cmp_a", testGrant().VisitorID, uint64(i))
		wg.Go(func() {
			for range 200 {
				if err := w.Apply(key, value); err != nil {
					t.Error(err)
				}
				if p := w.Check("cmp_b", tokens.Verify(site, token, testNow())); !p.Valid() {
					t.Error("a good token does not verify")
				}
			}
		})
	}
	wg.Wait()
}

func FuzzVerify(f *testing.F) {
	tokens := newTokens(f, 1)
	good := issue(f, tokens, testGrant())
	f.Add(good)
	f.Add(good[:20])
	f.Add([]byte("AQEA"))
	f.Fuzz(func(t *testing.T, token []byte) {
		if tokens.Verify(site, token, testNow()).Valid() && !bytes.Equal(token, good) {
			t.Fatal("a token nobody issued verifies")
		}
	})
}

func FuzzReadPayload(f *testing.F) {
	f.Add(append([]byte{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 7, 9, 'v'))
	tokens := newTokens(f, 1)
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < tokenFixedBytes {
			return
		}
		if p := tokens.readPayload(payload, testNow()); p.Valid() && (p.sequence == 0 || p.textVersion == "" || len(p.textVersion) > TextVersionBytesMax) {
			t.Fatalf("accepted %+v", p)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	tokens := newTokens(b, 1)
	token, now := issue(b, tokens, testGrant()), testNow()
	b.ReportAllocs()
	for b.Loop() {
		if !tokens.Verify(site, token, now).Valid() {
			b.Fatal("not valid")
		}
	}
}
