// Each marked line compiles and is a breach of CheckNames; no other is.
package leak

import (
	"net"
	"net/http"
	"net/netip"
)

type request struct { // want
	page string
	ip   netip.Addr // want
}

type byAddress map[netip.Addr]int // want

var last net.IP // want

const header = "X-Forwarded-For" // want

func keeps(r *http.Request, conn net.Conn) string {
	_ = r.RemoteAddr              // want
	_ = r.Header.Get("X-Real-IP") // want
	_ = conn.RemoteAddr()         // want
	x, _ := netip.ParseAddr("")   // want
	visit := request{             // want
		page: "/",
	}
	_ = x             // want
	return visit.page // want
}

func passes(ip func() netip.AddrPort, pc net.PacketConn) { // want
	go func() {
		_ = ip().Port() // want
	}()
	_, _, _ = pc.ReadFrom(nil) // want
}

func allowed(l net.Listener, p netip.Prefix) (net.Addr, int) { return l.Addr(), p.Bits() }
