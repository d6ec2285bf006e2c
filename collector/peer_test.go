package collector

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func trustedForTest() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48")}
}

func byteValues(values ...string) [][]byte {
	var out [][]byte
	for _, v := range values {
		out = append(out, []byte(v))
	}
	return out
}

func TestClientAddr(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		peer      string
		forwarded []string
		want      string
	}{
		{"198.51.100.7", nil, "198.51.100.7"},
		{"198.51.100.7", []string{"145.221.10.1"}, "198.51.100.7"}, // untrusted peer
		{"127.0.0.1", nil, "127.0.0.1"},
		{"127.0.0.1", []string{""}, "127.0.0.1"},
		{"127.0.0.1", []string{"84.24.10.1"}, "84.24.10.1"},
		{"127.0.0.1", []string{"145.221.10.1, 84.24.10.1"}, "84.24.10.1"}, // the left one is a claim
		{"127.0.0.1", []string{"145.221.10.1", "84.24.10.1"}, "84.24.10.1"},
		{"127.0.0.1", []string{"145.221.10.1, 84.24.10.1", "10.1.2.3,10.9.9.9"}, "84.24.10.1"},
		{"127.0.0.1", []string{"10.1.1.1, 10.2.2.2"}, "10.1.1.1"}, // trusted to the end
		{"127.0.0.1", []string{"84.24.10.1:4711"}, "84.24.10.1"},
		{"127.0.0.1", []string{"[2001:db8::1]:4711"}, "2001:db8::1"},
		{"127.0.0.1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"127.0.0.1", []string{"2001:db8::1"}, "2001:db8::1"},
		{"127.0.0.1", []string{"fe80::1%eth0"}, "fe80::1"},
		{"127.0.0.1", []string{"[fe80::1%25eth0]:80"}, "fe80::1"},
		{"127.0.0.1", []string{"::ffff:84.24.10.1"}, "84.24.10.1"},
		{"127.0.0.1", []string{"84.24.10.1, ::ffff:10.1.1.1"}, "84.24.10.1"}, // a mapped proxy is trusted
		{"2001:db8:ffff::1", []string{"84.24.10.1"}, "84.24.10.1"},
		// garbage ends the walk at the last trusted hop
		{"127.0.0.1", []string{"145.221.10.1, unknown"}, "127.0.0.1"},
		{"127.0.0.1", []string{"145.221.10.1, _hidden, 10.3.3.3"}, "10.3.3.3"},
		{"127.0.0.1", []string{"145.221.10.1,,10.3.3.3"}, "10.3.3.3"},
		{"127.0.0.1", []string{"145.221.10.1, 10.3.3.3,"}, "127.0.0.1"},
		{"127.0.0.1", []string{"145.221.10.1", ""}, "127.0.0.1"}, // a proxy that did not know either
		{"127.0.0.1", []string{"84.24.10.1:x"}, "127.0.0.1"},
		{"127.0.0.1", []string{"84.24.10.1:"}, "127.0.0.1"},
		{"127.0.0.1", []string{"[84.24.10.1]"}, "127.0.0.1"},
		{"127.0.0.1", []string{"[2001:db8::1"}, "127.0.0.1"},
		{"127.0.0.1", []string{"[2001:db8::1]x"}, "127.0.0.1"},
		{"127.0.0.1", []string{"084.024.010.001"}, "127.0.0.1"},
		{"127.0.0.1", []string{"0.0.0.0"}, "127.0.0.1"},
		{"127.0.0.1", []string{"84.24.10.1 145.221.10.1"}, "127.0.0.1"},
		{"127.0.0.1", []string{"\x00"}, "127.0.0.1"},
		{"127.0.0.1", []string{strings.Repeat("1", hopBytesMax+1)}, "127.0.0.1"},
		{"127.0.0.1", []string{"145.221.10.1, " + strings.Repeat("10.1.1.1, ", hopsMax-1) + "10.2.2.2"}, "10.1.1.1"},
		{"127.0.0.1", []string{"145.221.10.1, " + strings.Repeat("10.1.1.1, ", hopsMax-2) + "10.2.2.2"}, "145.221.10.1"},
	} {
		got := clientAddr(netip.MustParseAddr(tc.peer), byteValues(tc.forwarded...), trustedForTest())
		if got.String() != tc.want {
			t.Errorf("%s with %.80q: %s, want %s", tc.peer, tc.forwarded, got, tc.want)
		}
	}
}

func TestPeerAddr(t *testing.T) {
	t.Parallel()
	for want, addr := range map[string]net.Addr{
		"192.0.2.1":  &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 1},
		"fe80::1":    &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"},
		"invalid IP": &net.UnixAddr{Name: "x"},
	} {
		if got := peerAddr(addr).String(); got != want {
			t.Errorf("%v: %s, want %s", addr, got, want)
		}
	}
}

// TestForgedForwardedFor sends what an attacker can through a trusted proxy: he
// cannot choose what stands to the right of his own claims.
func TestForgedForwardedFor(t *testing.T) {
	t.Parallel()
	e := startEdge(t, nil)
	for i, claim := range []string{"145.221.10.1", "145.221.10.1, 145.221.10.1", "[::ffff:145.221.10.1]:1", "\t145.221.10.1", ", , 145.221.10.1", "x"} {
		if a := e.post(e.body(newPage(e)), header("X-Forwarded-For", claim+", 84.24.10.1")); a.outcomes() != "accepted" {
			t.Fatal(a.outcomes())
		}
		if network, _ := e.open(e.only(i + 1)); network != "84.24.10.0/24" {
			t.Errorf("claim %q: %s", claim, network)
		}
	}
	closed := newEdge(t, nil, func(c *Config) { c.TrustedNetworks = nil })
	closed.applySite(siteRecord())
	closed.CaughtUp()
	closed.start()
	closed.post(closed.body(newPage(closed)))
	if network, _ := closed.open(closed.only(1)); network != "127.0.0.0/24" {
		t.Errorf("untrusted peer: %s", network)
	}
}

func FuzzClientAddr(f *testing.F) {
	f.Add("145.221.10.1, 10.1.1.1", "84.24.10.1")
	f.Add("[2001:db8::1%25x]:80,,::ffff:1.2.3.4", "")
	f.Add(strings.Repeat("10.0.0.1,", 40), "unknown")
	f.Fuzz(func(t *testing.T, claim, last string) {
		trusted, peer := trustedForTest(), netip.MustParseAddr("10.0.0.1")
		got := clientAddr(peer, byteValues(claim, last), trusted)
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%q %q: %v", claim, last, got)
		}
		outside := netip.MustParseAddr("198.51.100.1")
		if got := clientAddr(outside, byteValues(claim, last), trusted); got != outside {
			t.Fatalf("an untrusted peer became %s", got)
		}
		// What a trusted proxy wrote at the right end cannot be overruled.
		if got := clientAddr(peer, byteValues(claim, last, "84.24.10.1"), trusted); got.String() != "84.24.10.1" {
			t.Fatalf("a claim overruled the proxy: %s", got)
		}
		// One list, however it is spread over headers.
		if strings.TrimSpace(claim) != "" && strings.TrimSpace(last) != "" {
			if joined := clientAddr(peer, byteValues(claim+","+last), trusted); joined != got {
				t.Fatalf("%q and %q: %s, joined %s", claim, last, got, joined)
			}
		}
	})
}

func TestBrowserFamilies(t *testing.T) {
	t.Parallel()
	for agent, want := range map[string]browserFamily{
		"": familyNone, "curl/8.5": familyOther, testAgent: familyChrome, testAgent + " Edg/156.0": familyEdge, testAgent + " OPR/120": familyOpera,
		"Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0":                                   familyFirefox,
		"Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/20.0 Mobile/15E148 Safari/604.1":    familySafari,
		"Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/150.0 Mobile/15E148 Safari/604.1":     familyChrome,
		"Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 SamsungBrowser/30.0 Chrome/150.0 Mobile Safari/537.36": familySamsung,
	} {
		if got := familyOf([]byte(agent)); got != want {
			t.Errorf("%q: %d, want %d", agent, got, want)
		}
	}
	if !slices.IsSorted([]browserFamily{familyNone, familySafari}) || familySafari != 8 {
		t.Error("the numbers are part of the visit key: families are added at the end")
	}
}
