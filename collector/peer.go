package collector

import (
	"bytes"
	"net"
	"net/netip"
	"unsafe"
)

const (
	// hopsMax is how many hops of X-Forwarded-For are looked at.
	hopsMax = 32
	// hopBytesMax fits an IPv6 address with zone, brackets and port.
	hopBytesMax = 80
)

// peerOf is the address of the other end of a request's connection.
func peerOf(from net.Conn) netip.Addr {
	if c, ok := from.(*conn); ok {
		return c.peer
	}
	return peerAddr(from.RemoteAddr())
}

// peerAddr is the address of a connection's other end, if it has one.
func peerAddr(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// clientAddr is the address a request came from: the peer, or, where the peer
// is a trusted proxy, the rightmost hop of X-Forwarded-For that is not. All
// values of the header are one list. A hop that cannot be read ends the walk at
// the last trusted one, so that nobody can put an address in front of it; so does
// an empty one.
func clientAddr(peer netip.Addr, forwarded [][]byte, trusted []netip.Prefix) netip.Addr {
	current := peer
	if !isTrusted(current, trusted) {
		return current
	}
	hops := 0
	for i := len(forwarded) - 1; i >= 0; i-- {
		rest := bytes.TrimSpace(forwarded[i])
		for more := true; more; {
			var hop []byte
			comma := bytes.LastIndexByte(rest, ',')
			if more = comma >= 0; more {
				hop, rest = rest[comma+1:], rest[:comma]
			} else {
				hop = rest
			}
			addr := parseHop(bytes.TrimSpace(hop))
			if hops++; hops > hopsMax || !addr.IsValid() {
				return current
			}
			current = addr
			if !isTrusted(current, trusted) {
				return current
			}
		}
	}
	return current
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	for _, p := range trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// parseHop reads an address with an optional port, brackets and zone. The zero
// Addr is what cannot be read.
func parseHop(hop []byte) netip.Addr {
	if len(hop) == 0 || len(hop) > hopBytesMax {
		return netip.Addr{}
	}
	host := hop
	switch {
	case hop[0] == '[':
		end := bytes.IndexByte(hop, ']')
		if end < 0 || !isPortSuffix(hop[end+1:]) {
			return netip.Addr{}
		}
		host = hop[1:end]
		if bytes.IndexByte(host, ':') < 0 {
			return netip.Addr{}
		}
	case bytes.Count(hop, []byte{':'}) == 1:
		colon := bytes.IndexByte(hop, ':')
		if !isPortSuffix(hop[colon:]) {
			return netip.Addr{}
		}
		host = hop[:colon]
	}
	if zone := bytes.IndexByte(host, '%'); zone >= 0 {
		host = host[:zone]
	}
	addr, err := netip.ParseAddr(viewOf(host))
	if err != nil || addr.IsUnspecified() {
		return netip.Addr{}
	}
	return addr.Unmap()
}

// viewOf is b as a string, without a copy, for a callee that does not keep it: a
// map's lookup, or netip.ParseAddr, which keeps its argument in its error and as
// a zone only, and here the error goes and the zone is cut off.
func viewOf(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // its callees keep nothing: TestNothingKeepsAViewOfARequest
}

// isPortSuffix accepts nothing, or a colon and one to five digits.
func isPortSuffix(b []byte) bool {
	if len(b) == 0 {
		return true
	}
	if b[0] != ':' || len(b) < 2 || len(b) > 6 {
		return false
	}
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
