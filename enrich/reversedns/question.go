package reversedns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Faults of a question. They never wrap what the network or a parser says: its text
// has the name that was asked for.
var (
	errTimeout = errors.New("reversedns: the resolver did not answer in time")
	errFailed  = errors.New("reversedns: the resolver has no usable answer")
)

const (
	attempts       = 2
	udpBytesMax    = 4096
	tcpBytesMax    = 16 << 10
	recordsMax     = 64
	aliasesMax     = 8
	strayAnswerMax = 32
)

// answer is the records of one type at the end of the aliases of a name.
type answer struct {
	names []string
	addrs []netip.Addr
}

// client asks one resolver.
type client struct {
	server  string // address:port, as configured
	timeout time.Duration
}

// pointers are the names of an address. No name is no error.
func (c *client) pointers(ctx context.Context, addr netip.Addr) ([]string, error) {
	a, err := c.ask(ctx, reverseName(addr), dnsmessage.TypePTR)
	return a.names, err
}

// addresses are those of a host of the family of like.
func (c *client) addresses(ctx context.Context, host string, like netip.Addr) ([]netip.Addr, error) {
	kind := dnsmessage.TypeAAAA
	if like.Is4() {
		kind = dnsmessage.TypeA
	}
	a, err := c.ask(ctx, host, kind)
	return a.addrs, err
}

// reverseName is the name under which the names of an address stand (RFC 1035 §3.5,
// RFC 3596 §2.5).
func reverseName(addr netip.Addr) string {
	var b strings.Builder
	bytes := addr.AsSlice()
	for i := len(bytes) - 1; i >= 0; i-- {
		if addr.Is4() {
			_, _ = fmt.Fprintf(&b, "%d.", bytes[i])
		} else {
			_, _ = fmt.Fprintf(&b, "%x.%x.", bytes[i]&15, bytes[i]>>4)
		}
	}
	if addr.Is4() {
		return b.String() + "in-addr.arpa."
	}
	return b.String() + "ip6.arpa."
}

// ask puts one question: twice, since a datagram may be lost.
func (c *client) ask(ctx context.Context, name string, kind dnsmessage.Type) (answer, error) {
	q, err := newQuestion(name, kind)
	if err != nil {
		return answer{}, err
	}
	for range attempts {
		var out answer
		if out, err = c.exchange(ctx, q); !errors.Is(err, errTimeout) || ctx.Err() != nil {
			return out, err
		}
	}
	return answer{}, err
}

func (c *client) exchange(ctx context.Context, q *question) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	raw, err := c.overUDP(ctx, q)
	if err != nil {
		return answer{}, err
	}
	out, truncated, err := q.read(raw)
	if err != nil || !truncated {
		return out, err
	}
	if raw, err = c.overTCP(ctx, q); err != nil {
		return answer{}, err
	}
	if out, truncated, err = q.read(raw); truncated {
		return answer{}, errFailed
	}
	return out, err
}

// dial opens a connection that ends with ctx.
func (c *client) dial(ctx context.Context, network string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, c.server)
	if err != nil {
		return nil, faultOf(err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	return conn, nil
}

// overUDP is the first datagram that answers the question. A connected socket takes
// none from elsewhere.
func (c *client) overUDP(ctx context.Context, q *question) ([]byte, error) {
	conn, err := c.dial(ctx, "udp")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := conn.Write(q.packed); err != nil {
		return nil, faultIn(ctx, err)
	}
	buf := make([]byte, udpBytesMax)
	for range strayAnswerMax {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, faultIn(ctx, err)
		}
		if q.isAnsweredBy(buf[:n]) {
			return buf[:n], nil
		}
	}
	return nil, errFailed
}

// overTCP is the answer over a connection of its own (RFC 7766): two bytes of length,
// and the message.
func (c *client) overTCP(ctx context.Context, q *question) ([]byte, error) {
	conn, err := c.dial(ctx, "tcp")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q.packed))), q.packed...)); err != nil {
		return nil, faultIn(ctx, err)
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, faultIn(ctx, err)
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n > tcpBytesMax {
		return nil, errFailed
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(conn, raw); err != nil {
		return nil, faultIn(ctx, err)
	}
	if !q.isAnsweredBy(raw) {
		return nil, errFailed
	}
	return raw, nil
}

func faultIn(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errTimeout
	}
	return faultOf(err)
}

// faultOf says of an error only whether time ran out.
func faultOf(err error) error {
	var timed interface{ Timeout() bool }
	if errors.As(err, &timed) && timed.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errTimeout
	}
	return errFailed
}

// question is one question and its bytes.
type question struct {
	id     uint16
	asked  dnsmessage.Question
	packed []byte
}

func newQuestion(name string, kind dnsmessage.Type) (*question, error) {
	n, err := dnsmessage.NewName(name)
	if err != nil {
		return nil, errFailed
	}
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	q := &question{id: binary.BigEndian.Uint16(id[:]), asked: dnsmessage.Question{Name: n, Type: kind, Class: dnsmessage.ClassINET}}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.id, RecursionDesired: true}, Questions: []dnsmessage.Question{q.asked}}
	if q.packed, err = m.Pack(); err != nil {
		return nil, errFailed
	}
	return q, nil
}

// isAnsweredBy reports whether a message is the answer to this question and no other.
func (q *question) isAnsweredBy(raw []byte) bool {
	var p dnsmessage.Parser
	h, err := p.Start(raw)
	if err != nil || !h.Response || h.ID != q.id || h.OpCode != 0 {
		return false
	}
	asked, err := p.Question()
	if err != nil || asked.Type != q.asked.Type || asked.Class != q.asked.Class || lower(asked.Name) != lower(q.asked.Name) {
		return false
	}
	_, err = p.Question()
	return errors.Is(err, dnsmessage.ErrSectionDone)
}

// read takes the records of the question's type at the end of its name's aliases. A name
// that does not exist has none.
func (q *question) read(raw []byte) (out answer, truncated bool, err error) {
	var p dnsmessage.Parser
	h, err := p.Start(raw)
	if err != nil {
		return answer{}, false, errFailed
	}
	if h.Truncated {
		return answer{}, true, nil
	}
	if h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError {
		return answer{}, false, errFailed
	}
	if err := p.SkipAllQuestions(); err != nil {
		return answer{}, false, errFailed
	}
	found, err := readRecords(&p, q.asked.Type)
	if err != nil {
		return answer{}, false, err
	}
	at := lower(q.asked.Name)
	for range aliasesMax {
		next, ok := found.aliases[at]
		if !ok {
			return *found.of(at), false, nil
		}
		at = next
	}
	return answer{}, false, errFailed
}

// records are those of an answer by their owner.
type records struct {
	aliases map[dnsmessage.Name]dnsmessage.Name
	answers map[dnsmessage.Name]*answer
}

func (r *records) of(owner dnsmessage.Name) *answer {
	if r.answers[owner] == nil {
		r.answers[owner] = new(answer)
	}
	return r.answers[owner]
}

func readRecords(p *dnsmessage.Parser, kind dnsmessage.Type) (*records, error) {
	out := &records{aliases: make(map[dnsmessage.Name]dnsmessage.Name), answers: make(map[dnsmessage.Name]*answer)}
	for range recordsMax + 1 { // the end of the section is read too
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return out, nil
		}
		if err == nil {
			err = out.take(p, &h, kind)
		}
		if err != nil {
			return nil, errFailed
		}
	}
	return nil, errFailed // more records than one host has
}

// take reads the one record that is next.
func (r *records) take(p *dnsmessage.Parser, h *dnsmessage.ResourceHeader, kind dnsmessage.Type) error {
	owner := lower(h.Name)
	switch {
	case h.Class != dnsmessage.ClassINET || h.Type != kind && h.Type != dnsmessage.TypeCNAME:
		return p.SkipAnswer()
	case h.Type == dnsmessage.TypeCNAME:
		alias, err := p.CNAMEResource()
		if err != nil {
			return err
		}
		r.aliases[owner] = lower(alias.CNAME)
	case h.Type == dnsmessage.TypePTR:
		ptr, err := p.PTRResource()
		if err != nil {
			return err
		}
		r.of(owner).names = append(r.of(owner).names, ptr.PTR.String())
	case h.Type == dnsmessage.TypeA:
		a, err := p.AResource()
		if err != nil {
			return err
		}
		r.of(owner).addrs = append(r.of(owner).addrs, netip.AddrFrom4(a.A))
	case h.Type == dnsmessage.TypeAAAA:
		a, err := p.AAAAResource()
		if err != nil {
			return err
		}
		r.of(owner).addrs = append(r.of(owner).addrs, netip.AddrFrom16(a.AAAA).Unmap())
	}
	return nil
}

// lower is a name in lower case, letter by letter of ASCII: names are compared so
// (RFC 4343), and other bytes are left as they are.
func lower(n dnsmessage.Name) dnsmessage.Name {
	for i, c := range n.Data[:n.Length] {
		if 'A' <= c && c <= 'Z' {
			n.Data[i] = c + 'a' - 'A'
		}
	}
	clear(n.Data[n.Length:])
	return n
}
