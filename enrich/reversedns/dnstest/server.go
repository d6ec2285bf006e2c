package dnstest

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Fault is what goes wrong with the answer to a name.
type Fault int

// The faults.
const (
	FaultNone     Fault = iota
	Silent              // no answer at all
	ServFail            // the resolver could not find out
	Refused             // the resolver does not want to
	Truncated           // over UDP; whole over TCP
	TruncatedBoth       // truncated over TCP too
	OtherID             // an answer to a question with another id
	OtherQuestion       // an answer to a question for another name
	OtherOwner          // records of a name nobody asked for
	Garbage             // bytes that are no message
	Cut                 // a message that ends within a record
	Endless             // more records than anybody has
	Loop                // an alias of itself
	Many                // many strays before the answer
)

// Server is a name server. The zone may change at any time.
type Server struct {
	Addr netip.AddrPort

	mu     sync.Mutex
	ptr    map[string][]string
	hosts  map[string][]netip.Addr
	alias  map[string]string
	faults map[string]Fault
	asked  map[string]int
	gate   chan struct{}

	udp net.PacketConn
	tcp net.Listener
	all sync.WaitGroup
}

// New starts a server that ends with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{ptr: map[string][]string{}, hosts: map[string][]netip.Addr{}, alias: map[string]string{}, faults: map[string]Fault{}, asked: map[string]int{}}
	for range 20 { // the same port for both
		var err error
		if s.tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			tb.Fatal(err)
		}
		if s.udp, err = net.ListenPacket("udp", s.tcp.Addr().String()); err == nil {
			break
		}
		_ = s.tcp.Close()
	}
	if s.udp == nil {
		tb.Fatal("no port that is free for UDP and TCP")
	}
	s.Addr = netip.MustParseAddrPort(s.tcp.Addr().String())
	s.all.Go(s.serveUDP)
	s.all.Go(s.serveTCP)
	tb.Cleanup(func() {
		_ = s.udp.Close()
		_ = s.tcp.Close()
		s.all.Wait()
	})
	return s
}

// Pointer gives an address names, which need not resolve back.
func (s *Server) Pointer(addr string, names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ptr[ReverseName(netip.MustParseAddr(addr))] = names
}

// Host gives a name addresses.
func (s *Server) Host(name string, addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range addrs {
		s.hosts[dotted(name)] = append(s.hosts[dotted(name)], netip.MustParseAddr(a))
	}
}

// Both gives an address a name that resolves back to it.
func (s *Server) Both(addr, name string) {
	s.Pointer(addr, name)
	s.Host(name, addr)
}

// Alias makes a name one of another.
func (s *Server) Alias(name, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alias[dotted(name)] = dotted(to)
}

// MovePointer puts the names of an address under another name, to which an alias leads.
func (s *Server) MovePointer(addr, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := ReverseName(netip.MustParseAddr(addr))
	s.ptr[dotted(to)] = s.ptr[from]
	delete(s.ptr, from)
}

// Fail makes questions for a name go wrong.
func (s *Server) Fail(name string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[dotted(name)] = f
}

// Hold makes every question wait until the channel is closed.
func (s *Server) Hold(gate chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = gate
}

// Asked is how many questions there were for a name, and Questions for all.
func (s *Server) Asked(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[dotted(name)]
}

// Questions is described at Asked.
func (s *Server) Questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, one := range s.asked {
		n += one
	}
	return n
}

// ReverseName is the name under which the names of an address stand.
func ReverseName(addr netip.Addr) string {
	out := ""
	for _, b := range addr.AsSlice() {
		if addr.Is4() {
			out = fmt.Sprintf("%d.", b) + out
		} else {
			out = fmt.Sprintf("%x.%x.", b&15, b>>4) + out
		}
	}
	if addr.Is4() {
		return out + "in-addr.arpa."
	}
	return out + "ip6.arpa."
}

func dotted(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) + "." }

func (s *Server) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		raw := append([]byte(nil), buf[:n]...)
		s.all.Go(func() {
			for _, out := range s.answer(raw, false) {
				_, _ = s.udp.WriteTo(out, from)
			}
		})
	}
}

func (s *Server) serveTCP() {
	for {
		conn, err := s.tcp.Accept()
		if err != nil {
			return
		}
		s.all.Go(func() {
			defer func() { _ = conn.Close() }()
			var length [2]byte
			if _, err := io.ReadFull(conn, length[:]); err != nil {
				return
			}
			raw := make([]byte, binary.BigEndian.Uint16(length[:]))
			if _, err := io.ReadFull(conn, raw); err != nil {
				return
			}
			for _, out := range s.answer(raw, true) {
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
			}
		})
	}
}

// answer is the messages that go back.
func (s *Server) answer(raw []byte, whole bool) [][]byte {
	var m dnsmessage.Message
	if m.Unpack(raw) != nil || len(m.Questions) != 1 {
		return nil
	}
	name := strings.ToLower(m.Questions[0].Name.String())
	s.mu.Lock()
	s.asked[name]++
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	m.Response, m.RecursionAvailable = true, true
	s.mu.Lock()
	fault := s.faults[name]
	s.fill(&m, name)
	s.mu.Unlock()
	if out, done := fault.apply(&m, whole); done {
		return out
	}
	return [][]byte{packed(m)}
}

// fill adds the records of a name and of what it is an alias of. The lock is held.
func (s *Server) fill(m *dnsmessage.Message, name string) {
	kind := m.Questions[0].Type
	for to, ok := s.alias[name]; ok; to, ok = s.alias[name] {
		m.Answers = append(m.Answers, resource(name, dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(to)}))
		name = to
	}
	for _, to := range s.ptr[name] {
		if kind == dnsmessage.TypePTR {
			m.Answers = append(m.Answers, resource(name, kind, &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(withDot(to))}))
		}
	}
	for _, a := range s.hosts[name] {
		switch {
		case kind == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, resource(name, kind, &dnsmessage.AResource{A: a.As4()}))
		case kind == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, resource(name, kind, &dnsmessage.AAAAResource{AAAA: a.As16()}))
		}
	}
	if len(s.ptr[name])+len(s.hosts[name]) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
}

func withDot(name string) string {
	if strings.HasSuffix(name, ".") {
		return name
	}
	return name + "."
}

func resource(owner string, kind dnsmessage.Type, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner), Type: kind, Class: dnsmessage.ClassINET, TTL: 60}, Body: body}
}

// apply makes the fault of an answer.
func (f Fault) apply(m *dnsmessage.Message, whole bool) (out [][]byte, done bool) {
	const other = "other.example."
	switch f {
	case FaultNone:
	case Silent:
		return nil, true
	case ServFail:
		m.RCode, m.Answers = dnsmessage.RCodeServerFailure, nil
	case Refused:
		m.RCode, m.Answers = dnsmessage.RCodeRefused, nil
	case Truncated, TruncatedBoth:
		if !whole || f == TruncatedBoth {
			m.Truncated, m.Answers = true, nil
		}
	case OtherID:
		m.ID++
	case OtherQuestion:
		m.Questions[0].Name = dnsmessage.MustNewName(other)
	case OtherOwner:
		for i := range m.Answers {
			m.Answers[i].Header.Name = dnsmessage.MustNewName(other)
		}
	case Garbage:
		return [][]byte{{0xff, 0x00, 0x13}}, true
	case Cut:
		raw := packed(*m)
		return [][]byte{raw[:len(raw)-3]}, true
	case Endless:
		for range 100 {
			m.Answers = append(m.Answers, m.Answers[0])
		}
	case Loop:
		m.Answers = []dnsmessage.Resource{resource(m.Questions[0].Name.String(), dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: m.Questions[0].Name})}
	case Many:
		raw := packed(*m)
		stray := append([]byte(nil), raw...)
		stray[0] ^= 0xff
		for range 5 {
			out = append(out, stray)
		}
		return append(out, raw), true
	}
	return nil, false
}

func packed(m dnsmessage.Message) []byte {
	raw, err := m.Pack()
	if err != nil {
		panic("dnstest: " + err.Error()) // a name of the test that is none
	}
	return raw
}
