package reversedns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/metiva-io/metiva/enrich/reversedns/dnstest"
)

const asked = "198.51.100.37"

func TestQuestions(t *testing.T) {
	t.Parallel()
	reverse := dnstest.ReverseName(netip.MustParseAddr(asked))
	long := strings.Repeat(strings.Repeat("a", 62)+".", 3) + strings.Repeat("b", 50) + ".example.nl"
	var many []string
	for i := range recordsMax + 1 {
		many = append(many, fmt.Sprintf("h%d.example.nl", i))
	}
	for name, c := range map[string]struct {
		zone func(*dnstest.Server)
		want []string
		err  error
	}{
		"one name":      {func(s *dnstest.Server) { s.Pointer(asked, "gw.example.nl") }, []string{"gw.example.nl."}, nil},
		"several names": {func(s *dnstest.Server) { s.Pointer(asked, "gw.example.nl", "a.example.nl") }, []string{"gw.example.nl.", "a.example.nl."}, nil},
		"no such name":  {func(*dnstest.Server) {}, nil, nil},
		"longest name":  {func(s *dnstest.Server) { s.Pointer(asked, long) }, []string{long + "."}, nil},
		"most records":  {func(s *dnstest.Server) { s.Pointer(asked, many[:recordsMax]...) }, dotted(many[:recordsMax]), nil},
		"too many":      {func(s *dnstest.Server) { s.Pointer(asked, many...) }, nil, errFailed},
		"not a host's":  {func(s *dnstest.Server) { s.Pointer(asked, "g\xffw \x00.example.nl") }, []string{"g\xffw \x00.example.nl."}, nil},
		"classless delegation": {func(s *dnstest.Server) { // RFC 2317 §4
			s.Alias(reverse, "37.32-29.100.51.198.in-addr.arpa")
			s.Alias("37.32-29.100.51.198.in-addr.arpa", "37.rev.example.nl")
			s.Fail("37.rev.example.nl", dnstest.Silent) // the resolver follows it itself
			s.Both(asked, "gw.example.nl")
			s.MovePointer(asked, "37.rev.example.nl")
		}, []string{"gw.example.nl."}, nil},
		"too many aliases": {func(s *dnstest.Server) {
			at := reverse
			for i := range 20 {
				next := strings.Repeat("a", i+1) + ".example.nl"
				s.Alias(at, next)
				at = next
			}
		}, nil, errFailed},
		"strays before it":   {failing(dnstest.Many), []string{"gw.example.nl."}, nil},
		"truncated":          {failing(dnstest.Truncated), []string{"gw.example.nl."}, nil},
		"truncated for good": {failing(dnstest.TruncatedBoth), nil, errFailed},
		"server failure":     {failing(dnstest.ServFail), nil, errFailed},
		"refused":            {failing(dnstest.Refused), nil, errFailed},
		"no answer":          {failing(dnstest.Silent), nil, errTimeout},
		"another id":         {failing(dnstest.OtherID), nil, errTimeout},
		"another question":   {failing(dnstest.OtherQuestion), nil, errTimeout},
		"no message":         {failing(dnstest.Garbage), nil, errTimeout},
		"another owner":      {failing(dnstest.OtherOwner), nil, nil},
		"cut":                {failing(dnstest.Cut), nil, errFailed},
		"endless":            {failing(dnstest.Endless), nil, errFailed},
		"alias of itself":    {failing(dnstest.Loop), nil, errFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dnstest.New(t)
			c.zone(s)
			timeout := 5 * time.Second
			if errors.Is(c.err, errTimeout) {
				timeout = 20 * time.Millisecond
			}
			names, err := (&client{server: s.Addr.String(), timeout: timeout}).pointers(t.Context(), netip.MustParseAddr(asked))
			if !errors.Is(err, c.err) || !slices.Equal(names, c.want) {
				t.Errorf("%q, %v; want %q, %v", names, err, c.want, c.err)
			}
			if err != nil && (strings.Contains(err.Error(), "51") || strings.Contains(err.Error(), "example")) {
				t.Errorf("the error says what was asked for: %v", err)
			}
		})
	}
}

// dotted are names as an answer has them.
func dotted(names []string) (out []string) {
	for _, name := range names {
		out = append(out, name+".")
	}
	return out
}

func failing(f dnstest.Fault) func(*dnstest.Server) {
	return func(s *dnstest.Server) {
		s.Pointer(asked, "gw.example.nl")
		s.Fail(dnstest.ReverseName(netip.MustParseAddr(asked)), f)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"127.0.0.1:1", "[::1]:1"} {
		c := client{server: server, timeout: time.Second}
		if _, err := c.pointers(t.Context(), netip.MustParseAddr(asked)); !errors.Is(err, errFailed) && !errors.Is(err, errTimeout) {
			t.Errorf("%s: %v", server, err)
		}
	}
}

func TestAddressesOfEachFamily(t *testing.T) {
	t.Parallel()
	s := dnstest.New(t)
	s.Host("gw.example.nl", "198.51.100.37", "10.0.0.1", "2001:db8::1")
	c := client{server: s.Addr.String(), timeout: 5 * time.Second}
	for like, want := range map[string]string{asked: "198.51.100.37 10.0.0.1", "2001:db8::2": "2001:db8::1"} {
		got, err := c.addresses(t.Context(), "GW.example.NL.", netip.MustParseAddr(like))
		var texts []string
		for _, a := range got {
			texts = append(texts, a.String())
		}
		if err != nil || strings.Join(texts, " ") != want {
			t.Errorf("%v, %v; want %s", texts, err, want)
		}
	}
	if got, want := reverseName(netip.MustParseAddr("2001:db8::2")), dnstest.ReverseName(netip.MustParseAddr("2001:db8::2")); got != want || !strings.HasPrefix(got, "2.0.0.0.") {
		t.Errorf("%s, want %s", got, want)
	}
}

func FuzzAnswer(f *testing.F) {
	q, err := newQuestion("37.100.51.198.in-addr.arpa.", dnsmessage.TypePTR)
	if err != nil {
		f.Fatal(err)
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.id, Response: true}, Questions: []dnsmessage.Question{q.asked}}
	empty, _ := m.Pack()
	m.Answers = []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: q.asked.Name, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET},
		Body:   &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName("gw.example.nl.")},
	}}
	full, _ := m.Pack()
	for _, raw := range [][]byte{nil, q.packed, empty, full, full[:len(full)-1]} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		q.isAnsweredBy(raw)
		out, _, err := q.read(raw)
		if err != nil && (!errors.Is(err, errFailed) || len(out.names) > 0) {
			t.Errorf("%v with %d names", err, len(out.names))
		}
		if len(out.names) > recordsMax || len(out.addrs) > recordsMax {
			t.Error("more records than the limit")
		}
		for _, name := range out.names {
			Judge(name, netip.MustParseAddr(asked))
		}
	})
}
