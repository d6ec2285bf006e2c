package reversedns

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/enrich/reversedns/dnstest"
)

// office is a whole network under one domain: letters count, since digits of the address
// would make the names generic.
func office(s *dnstest.Server, network, domain string) {
	p := netip.MustParsePrefix(network)
	i := 0
	for a := p.Addr(); p.Contains(a); a = a.Next() {
		s.Both(a.String(), fmt.Sprintf("%s.%s", letters(i), domain))
		i++
	}
}

func letters(i int) string { return "q" + string(rune('a'+i/26)) + string(rune('a'+i%26)) }

func resolver(t *testing.T, cfg Config, d Deps) *Resolver {
	t.Helper()
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Registerer == nil {
		d.Registerer = prometheus.NewRegistry()
	}
	r, err := New(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func of(s *dnstest.Server) Config {
	return Config{Resolver: s.Addr.String(), QueryTimeout: 5 * time.Second, BatchBudget: 5 * time.Second}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	const small, whole = "198.51.100.40/29", "198.51.100.0/24"
	for name, c := range map[string]struct {
		network string
		zone    func(*dnstest.Server)
		want    Outcome
	}{
		"all of a /29": {small, func(s *dnstest.Server) { office(s, small, "example.nl") }, OutcomeConfirmed},
		"all of a /24": {whole, func(s *dnstest.Server) { office(s, whole, "example.nl") }, OutcomeConfirmed},
		"one address":  {"198.51.100.40/32", func(s *dnstest.Server) { s.Both("198.51.100.40", "gw.example.nl") }, OutcomeConfirmed},
		"one of IPv6":  {"2001:db8::7/128", func(s *dnstest.Server) { s.Both("2001:db8::7", "gw.example.nl") }, OutcomeConfirmed},
		"half of a /29": {small, func(s *dnstest.Server) {
			for i := range 4 {
				s.Both(fmt.Sprintf("198.51.100.%d", 41+i), letters(i)+".example.nl")
			}
		}, OutcomeConfirmed},
		"less than half": {small, func(s *dnstest.Server) {
			for i := range 3 {
				s.Both(fmt.Sprintf("198.51.100.%d", 41+i), letters(i)+".example.nl")
			}
		}, OutcomeNone},
		"half of a /24": {whole, func(s *dnstest.Server) { office(s, "198.51.100.0/25", "example.nl") }, OutcomeNone},
		"one /29 empty": {whole, func(s *dnstest.Server) {
			office(s, "198.51.100.0/25", "example.nl")
			office(s, "198.51.100.128/26", "example.nl")
			office(s, "198.51.100.192/27", "example.nl")
			office(s, "198.51.100.224/28", "example.nl")
			office(s, "198.51.100.240/29", "example.nl")
		}, OutcomeNone},
		"nothing": {whole, func(*dnstest.Server) {}, OutcomeNone},
		"a neighbour in a /24": {whole, func(s *dnstest.Server) {
			office(s, "198.51.100.0/25", "example.nl")
			office(s, "198.51.100.128/25", "other.nl")
		}, OutcomeDivided},
		"a neighbour in a /29": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Both("198.51.100.45", "gw.other.nl")
		}, OutcomeDivided},
		"two names of one domain": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Host("b.example.nl", "198.51.100.45")
			s.Pointer("198.51.100.45", "qab.example.nl", "b.example.nl")
			s.Host("qab.example.nl", "198.51.100.45")
		}, OutcomeConfirmed},
		"two names of two": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Host("b.other.nl", "198.51.100.45")
			s.Pointer("198.51.100.45", "qaf.example.nl", "b.other.nl")
		}, OutcomeDivided},
		"five names": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Pointer("198.51.100.45", "a.example.nl", "b.example.nl", "c.example.nl", "d.example.nl", "e.example.nl")
		}, OutcomeDivided},
		"a name that is not its own": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Pointer("198.51.100.45", "gw.example.nl")
			s.Host("gw.example.nl", "198.51.100.99")
		}, OutcomeUnconfirmed},
		"private answers": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Pointer("198.51.100.45", "gw.example.nl")
			s.Host("gw.example.nl", "10.0.0.45", "192.168.1.1")
		}, OutcomeUnconfirmed},
		"the other family": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Pointer("198.51.100.45", "gw.example.nl")
			s.Host("gw.example.nl", "2001:db8::1")
		}, OutcomeUnconfirmed},
		"a provider's line": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Both("198.51.100.45", "198-51-100-45.example.nl")
		}, OutcomeGeneric},
		"a mail service": {small, func(s *dnstest.Server) { office(s, small, "mail.example") }, OutcomeGeneric},
		"an excluded domain": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Both("198.51.100.45", "mx.freemail.nl")
		}, OutcomeGeneric},
		"classless delegation": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			for i := range 8 {
				addr := fmt.Sprintf("198.51.100.%d", 40+i)
				to := fmt.Sprintf("%d.40-29.100.51.198.in-addr.arpa", 40+i)
				s.Alias(dnstest.ReverseName(netip.MustParseAddr(addr)), to)
				s.MovePointer(addr, to)
			}
		}, OutcomeConfirmed},
		"an alias forward": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Pointer("198.51.100.45", "gw.example.nl")
			s.Alias("gw.example.nl", "gw.kantoor.example")
			s.Host("gw.kantoor.example", "198.51.100.45")
		}, OutcomeConfirmed},
		"a failure": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Fail("qaa.example.nl", dnstest.ServFail)
		}, OutcomeFailed},
		"a failure beside a foreign name": {small, func(s *dnstest.Server) {
			office(s, small, "example.nl")
			s.Fail("qaa.example.nl", dnstest.ServFail)
			s.Both("198.51.100.45", "cust.example.nl")
		}, OutcomeGeneric},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dnstest.New(t)
			c.zone(s)
			reg := prometheus.NewRegistry()
			r := resolver(t, of(s), Deps{Registerer: reg, Exclude: func(d string) bool { return d == "freemail.nl" }})
			network := netip.MustParsePrefix(c.network)
			answers := r.Ask(t.Context(), []netip.Prefix{network, network}, r.budget)
			want := ""
			if c.want == OutcomeConfirmed {
				want = "example.nl"
			}
			if got := answers.Domain(network); got != want {
				t.Errorf("%q, want %q", got, want)
			}
			if got := counted(t, r, c.want); got != 1 {
				t.Errorf("%v of the outcome %s", got, c.want)
			}
			if unsettled := c.want == OutcomeFailed; (answers.Unanswered() > 0) != unsettled {
				t.Errorf("%d unanswered", answers.Unanswered())
			}
			families, err := reg.Gather()
			if err != nil || strings.Contains(fmt.Sprint(families), "198.") || strings.Contains(fmt.Sprint(families), "example") {
				t.Errorf("the metrics say what was asked for, or nothing: %v", err)
			}
		})
	}
}

// A panic over what stands in a zone is no answer, and gives its place back.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := dnstest.New(t)
	office(s, "198.51.100.40/29", "example.nl")
	office(s, "198.51.100.48/29", "other.nl")
	cfg := of(s)
	cfg.QueriesMax = 1
	r := resolver(t, cfg, Deps{Exclude: func(d string) bool {
		if d == "example.nl" {
			panic(d)
		}
		return false
	}})
	bad, good := netip.MustParsePrefix("198.51.100.40/29"), netip.MustParsePrefix("198.51.100.48/29")
	if a := patiently(t, r, []netip.Prefix{bad, good}); a.Domain(bad) != "" || a.Domain(good) != "other.nl" || a.Unanswered() != 1 {
		t.Errorf("%q, %q, %d unanswered", a.Domain(bad), a.Domain(good), a.Unanswered())
	}
}

// An access provider's network is known by its first names, an empty one by its first
// addresses.
func TestFewQuestions(t *testing.T) {
	t.Parallel()
	for name, zone := range map[string]func(*dnstest.Server){
		"empty": func(*dnstest.Server) {},
		"lines": func(s *dnstest.Server) {
			for i := range 256 {
				s.Both(fmt.Sprintf("198.51.100.%d", i), fmt.Sprintf("198-51-100-%d.example.nl", i))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dnstest.New(t)
			zone(s)
			r := resolver(t, of(s), Deps{})
			r.Ask(t.Context(), []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, r.budget)
			if n := s.Questions(); n > blockHosts {
				t.Errorf("%d questions", n)
			}
		})
	}
}

// A batch does not wait for longer than its budget; the next one has the answer, and
// nobody asks twice.
func TestBudget(t *testing.T) {
	t.Parallel()
	s := dnstest.New(t)
	office(s, "198.51.100.40/29", "example.nl")
	gate := make(chan struct{})
	s.Hold(gate)
	cfg := of(s)
	cfg.BatchBudget = 5 * time.Millisecond
	r := resolver(t, cfg, Deps{})
	network := []netip.Prefix{netip.MustParsePrefix("198.51.100.40/29")}
	for range 2 {
		if a := r.Ask(t.Context(), network, r.budget); a.Domain(network[0]) != "" || a.Unanswered() != 1 {
			t.Fatal("there is an answer before there was one")
		}
	}
	close(gate)
	if a := patiently(t, r, network); a.Domain(network[0]) != "example.nl" || a.Unanswered() != 0 {
		t.Errorf("%q, %d unanswered", a.Domain(network[0]), a.Unanswered())
	}
	if got := counted(t, r, OutcomeOverBudget); got != 2 {
		t.Errorf("%v over budget", got)
	}
	if n := s.Questions(); n != 16 {
		t.Errorf("%d questions", n)
	}
}

func TestTimeoutsAndWhatIsKept(t *testing.T) {
	t.Parallel()
	s := dnstest.New(t)
	office(s, "198.51.100.40/29", "example.nl")
	const silent = "203.0.113.0/29"
	s.Fail(dnstest.ReverseName(netip.MustParseAddr("203.0.113.1")), dnstest.Silent)
	var clock fakeClock
	cfg := of(s)
	cfg.QueryTimeout = 50 * time.Millisecond
	r := resolver(t, cfg, Deps{Now: clock.now})
	known, quiet := netip.MustParsePrefix("198.51.100.40/29"), netip.MustParsePrefix(silent)
	ask := func() *Answers { return patiently(t, r, []netip.Prefix{known, quiet}) }
	if a := ask(); a.Domain(known) != "example.nl" || a.Unanswered() != 1 {
		t.Fatalf("%q, %d unanswered", a.Domain(known), a.Unanswered())
	}
	if got := counted(t, r, OutcomeTimeout); got != 1 {
		t.Errorf("%v timeouts", got)
	}
	first := s.Asked(dnstest.ReverseName(known.Addr()))
	clock.add(unansweredFor + time.Second)
	ask()
	if got := counted(t, r, OutcomeTimeout); got != 2 {
		t.Errorf("no answer is kept for too long: %v timeouts", got)
	}
	if again := s.Asked(dnstest.ReverseName(known.Addr())); again != first {
		t.Error("what was answered is asked again at once")
	}
	clock.add(keptFor)
	ask()
	if again := s.Asked(dnstest.ReverseName(known.Addr())); again != first+1 {
		t.Errorf("%d questions after an hour", again)
	}
}

// Networks are forgotten when there are too many, and when their time is over.
func TestBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := resolver(t, Config{Resolver: "127.0.0.1:53"}, Deps{})
		r.stop() // every look-up ends at once
		r.keptMax = 50
		for i := range 2 * r.keptMax {
			patiently(t, r, []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)})
		}
		if len(r.kept) > r.keptMax || len(r.order) > r.keptMax {
			t.Errorf("%d networks are kept", len(r.kept))
		}
		<-time.After(keptFor)
		patiently(t, r, []netip.Prefix{netip.MustParsePrefix("11.0.0.0/24")})
		if len(r.kept) != 1 || len(r.order) != 1 {
			t.Errorf("%d networks are kept after their time", len(r.kept))
		}
	})
}

func TestTooManyAtOnce(t *testing.T) {
	t.Parallel()
	s := dnstest.New(t)
	gate := make(chan struct{})
	s.Hold(gate)
	r := resolver(t, of(s), Deps{})
	var all []netip.Prefix
	for i := range 2 * networksAtOnce {
		all = append(all, netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, byte(i), 0}), 24))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := r.Ask(ctx, all, r.budget); a.Unanswered() != len(all) || r.underWay != networksAtOnce {
		t.Errorf("%d unanswered, %d under way", a.Unanswered(), r.underWay)
	}
	close(gate)
	if a := patiently(t, r, all[:1]); a.Unanswered() != 0 {
		t.Error("nothing is asked any more")
	}
}

func TestNotAsked(t *testing.T) {
	t.Parallel()
	s := dnstest.New(t)
	r := resolver(t, of(s), Deps{})
	for _, n := range []string{"2001:db8::/48", "198.51.0.0/16"} {
		if a := r.Ask(t.Context(), []netip.Prefix{netip.MustParsePrefix(n)}, r.budget); a.Unanswered() != 0 || a.Domain(netip.MustParsePrefix(n)) != "" {
			t.Errorf("%s is asked about", n)
		}
	}
	if a := r.Ask(t.Context(), nil, r.budget); a != nil || a.Domain(netip.Prefix{}) != "" || a.Unanswered() != 0 {
		t.Error("an answer to nothing")
	}
	if s.Questions() != 0 {
		t.Error("questions")
	}
	if got := fmt.Sprintf("%v %+v %#v %s %d %x", key{netip.MustParsePrefix("198.51.100.0/24")}, key{}, key{}, key{}, key{}, key{}); got != "*** *** *** *** *** ***" {
		t.Errorf("a key prints as %q", got)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for resolver, ok := range map[string]bool{
		"": true, "127.0.0.1:53": true, "[::1]:53": true, "10.1.2.3:5353": true, "[fd00::1]:53": true, "192.168.1.1:53": true,
		"8.8.8.8:53": false, "[2606:4700::1111]:53": false, "127.0.0.1": false, "localhost:53": false, "127.0.0.1:0": false, "[fe80::1%eth0]:53": false, "0.0.0.0:53": false,
	} {
		if err := (Config{Resolver: resolver}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", resolver, err)
		}
	}
	bad := Config{Resolver: "x", QueriesMax: -1, QueryTimeout: time.Hour, BatchBudget: -1}
	if err := bad.Validate(); err == nil || strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("not every fault is there: %v", err)
	}
	if _, err := New(Config{}, Deps{Now: time.Now, Registerer: prometheus.NewRegistry()}); err == nil {
		t.Error("a resolver of nobody")
	}
}
