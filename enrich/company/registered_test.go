package company

import (
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func registration(t testing.TB, company string, prefixes ...string) []byte {
	t.Helper()
	m := &metivav1.SuppressionRecord{CompanyId: company}
	for _, p := range prefixes {
		m.Prefixes = append(m.Prefixes, schemas.AppendPrefix(nil, netip.MustParsePrefix(p)))
	}
	value, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestRegisteredSuppressions: a tenant's are its own, everybody's hold for all, and what
// changes counts at once.
func TestRegisteredSuppressions(t *testing.T) {
	t.Parallel()
	r, chain := NewRegistered(), chain(t, Config{})
	apply := func(company string, value []byte) {
		t.Helper()
		if err := r.Apply([]byte(company), value); err != nil {
			t.Fatal(err)
		}
	}
	apply("cmp_a", registration(t, "cmp_a", "145.221.10.64/26", "2001:67c:6ec::/48"))
	apply(schemas.Everyone, registration(t, schemas.Everyone, "77.161.0.0/16"))
	of := func(company, network string) string {
		t.Helper()
		var dst metivav1.Resolution
		chain.Resolve(&dst, Query{CompanyID: company, Network: netip.MustParsePrefix(network), Registered: r})
		if suppressed := dst.GetVerdict() == metivav1.Verdict_VERDICT_SUPPRESSED; suppressed != (dst.GetSource() == SourceTenant || dst.GetSource() == SourceOptOut) {
			t.Errorf("%v", &dst)
		}
		if dst.GetVerdict() != metivav1.Verdict_VERDICT_SUPPRESSED {
			return ""
		}
		return dst.GetSource()
	}
	for _, tc := range []struct{ company, network, want string }{
		{"cmp_a", "145.221.10.0/24", SourceTenant}, // the /24 may stand for the office
		{"cmp_a", "145.221.10.70/32", SourceTenant},
		{"cmp_a", "145.221.10.10/32", ""},
		{"cmp_a", "2001:67c:6ec::/48", SourceTenant},
		{"cmp_b", "145.221.10.0/24", ""},
		{"cmp_a", "77.161.9.0/24", SourceOptOut},
		{"cmp_b", "77.161.9.0/24", SourceOptOut},
		{"cmp_b", "145.220.0.0/24", ""},
	} {
		if got := of(tc.company, tc.network); got != tc.want {
			t.Errorf("%s from %s: %q, want %q", tc.company, tc.network, got, tc.want)
		}
	}
	apply("cmp_a", nil)
	apply(schemas.Everyone, registration(t, schemas.Everyone))
	if got := of("cmp_a", "145.221.10.0/24") + of("cmp_b", "77.161.9.0/24"); got != "" {
		t.Errorf("what was taken away still counts: %s", got)
	}
	for name, bad := range map[string][]byte{"no message": []byte("no"), "another's": registration(t, "cmp_b", "145.221.10.0/24")} {
		if err := r.Apply([]byte("cmp_a"), bad); err == nil || of("cmp_a", "145.221.10.0/24") != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	half, err := proto.Marshal(&metivav1.SuppressionRecord{CompanyId: "cmp_a", Prefixes: [][]byte{{1, 2}, {145, 221, 10, 0, 24}, {0, 0, 0, 0, 0}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Apply([]byte("cmp_a"), half); err == nil || of("cmp_a", "145.221.10.0/24") != SourceTenant || of("cmp_a", "145.220.0.0/24") != "" {
		t.Errorf("the valid one of three: %v", err)
	}
}

// FuzzRegistered: whatever stands on control.suppressions, another tenant has nothing of
// it, and reading does not panic.
func FuzzRegistered(f *testing.F) {
	f.Add("cmp_a", registration(f, "cmp_a", "145.221.10.64/26", "2001:67c:6ec::/48"))
	f.Add("cmp_a", []byte("\x0a\x05cmp_a\x12\x05\x01\x02\x03\x04\x80"))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		r := NewRegistered()
		_ = r.Apply([]byte(key), value)
		r.by(key, netip.MustParsePrefix("145.221.10.0/24"))
		if key != schemas.Everyone && r.by(key+"x", netip.MustParsePrefix("145.221.10.0/24")) != "" {
			t.Error("another tenant has it")
		}
	})
}
