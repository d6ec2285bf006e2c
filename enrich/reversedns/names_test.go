package reversedns

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/orgname"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	const addr = "198.51.100.37"
	for name, want := range map[string]string{
		"gw.janssen-bouw.nl.":        "janssen-bouw.nl",
		"GW.Janssen-Bouw.NL":         "janssen-bouw.nl",
		"janssen-bouw.nl":            "janssen-bouw.nl",
		"mail2.gemeente.utrecht.nl":  "utrecht.nl",
		"vpn.example.co.uk":          "example.co.uk",
		"a.b.c.xn--mller-kva.de":     "xn--mller-kva.de",
		"sw12345.kantoor.example.nl": "example.nl",

		// Made of the address.
		"198-51-100-37.example.nl":      "",
		"37.100.51.198.example.nl":      "",
		"h37.example.nl":                "",
		"x100-37.example.nl":            "",
		"c6336425.example.nl":           "",
		"c6-33-64-25.example.nl":        "",
		"198051100037.example.nl":       "",
		"a-198-51.example.nl":           "",
		"line3325256741.example.nl":     "",
		"customer.example.nl":           "",
		"dsl.example.nl":                "",
		"dyn.example.nl":                "",
		"wasdynamisch.example.nl":       "",
		"cable4.example.nl":             "",
		"adsl-pool.example.nl":          "",
		"static.kpn.net":                "",
		"dhcp-a.example.nl":             "",
		"ppp.example.nl":                "",
		"broadband.example.nl":          "",
		"mobile.example.nl":             "",
		"cust9.example.nl":              "",
		"ip.example.nl":                 "",
		"ip-a-b.example.nl":             "",
		"gast-wifi.example.nl":          "",
		"cgn1.example.nl":               "",
		"vps7.example.nl":               "",
		"exit.example.nl":               "",
		"tor-exit.example.nl":           "",
		"srv12.example.nl":              "",
		"unassigned.example.nl":         "",
		"crawl-a.example.nl":            "",
		"gw.foohosting.nl":              "",
		"gw.bartelecom.nl":              "",
		"gw.fast-vpn.com":               "",
		"gw.glasvezel-oost.nl":          "",
		"x.abo.example.nl":              "",
		"hosted-by.example.nl":          "",
		"a.rdns.example.nl":             "",
		"leased.example.nl":             "",
		"huurder-a.example.nl":          "",
		"nat-b.example.nl":              "",
		"catv-b.example.nl":             "",
		"fixed.example.nl":              "",
		"eduroam-a.example.nl":          "",
		"gast.example.nl":               "",
		"studenten-x.example.nl":        "",
		"unnamed.example.nl":            "",
		"gw.foocoworking.nl":            "",
		" gw.example.nl":                "",
		".gw.example.nl":                "",
		"natuur.example.nl":             "example.nl",
		"jan.dyndns.org":                "",
		"jan.github.io":                 "",
		"37.100.51.198.in-addr.arpa":    "",
		"host.local":                    "",
		"intranet":                      "",
		"nl":                            "",
		"co.uk":                         "",
		"":                              "",
		".":                             "",
		"..":                            "",
		"-gw.example.nl":                "",
		"g_w.example.nl":                "",
		"g w.example.nl":                "",
		"gw.exämple.nl":                 "",
		"gw\x00.example.nl":             "",
		"\xff.example.nl":               "",
		"198.51.100.37":                 "",
		strings.Repeat("a", 64) + ".nl": "",
		strings.Repeat("a.", 127) + "nl.example.nl": "",
	} {
		if got := Judge(name, netip.MustParseAddr(addr)); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"gw.example.nl":               "example.nl",
		"f00d-b3ef.example.nl":        "",
		"20010db8f00db3ef.example.nl": "",
	} {
		if got := Judge(name, netip.MustParseAddr("2001:db8::f00d:b3ef")); got != want {
			t.Errorf("%q of IPv6: %q, want %q", name, got, want)
		}
	}
	if got := Judge("gw.example.nl", netip.Addr{}); got != "" {
		t.Errorf("of no address: %q", got)
	}
}

func FuzzJudge(f *testing.F) {
	for _, s := range []string{"gw.example.nl", "198-51-100-37.example.nl", "\xff.nl", "a..b", strings.Repeat("x.", 200), "xn--.nl", "9999999999999999999.example.nl"} {
		f.Add(s, uint32(0xc6336425))
	}
	f.Fuzz(func(t *testing.T, name string, address uint32) {
		addr := netip.AddrFrom4([4]byte{byte(address >> 24), byte(address >> 16), byte(address >> 8), byte(address)})
		domain := Judge(name, addr)
		if domain == "" {
			return
		}
		if orgname.Registrable(domain) != domain || strings.ContainsFunc(domain, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q gives %q, which is no registrable domain", name, domain)
		}
		if host := strings.ToLower(strings.TrimSuffix(name, ".")); host != domain && !strings.HasSuffix(host, "."+domain) {
			t.Errorf("%q is not under %q", name, domain)
		}
		if strings.Contains(strings.ToLower(name), strings.ReplaceAll(addr.String(), ".", "-")) {
			t.Errorf("%q is made of its address", name)
		}
	})
}
