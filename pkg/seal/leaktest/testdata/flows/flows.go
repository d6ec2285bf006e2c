// Each marked line compiles and is a breach of CheckFlows; no other is.
package leak

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/metiva-io/metiva/pkg/seal"
)

type visit struct {
	from seal.Address
	page string
}

type kept interface{ IsValid() bool }

func logs(a seal.Address, s *seal.Scratch, v visit, log2 *slog.Logger) error {
	fmt.Println(a)                                          // want
	fmt.Println("visitor", &a)                              // want
	log.Printf("%v %s", a, v.page)                          // want
	log2.Info("m", "from", a)                               // want
	log2.Info("m", slog.Any("from", v))                     // want
	_, _ = json.Marshal(map[string]seal.Address{"from": a}) // want
	_, _ = json.Marshal([]visit{v})                         // want
	_ = reflect.ValueOf(s)                                  // want
	_ = errors.Join(fmt.Errorf("%v", v))                    // want
	defer func() { _ = recover() }()
	if v.page == "" {
		panic(a) // want
	}
	println(v.page)
	return nil
}

func conversions(a seal.Address, s *seal.Scratch) (any, kept) {
	var x any = a                 // want
	x = s                         // want
	_ = any(&a)                   // want
	var k kept = a                // want
	list := []any{"page", a}      // want
	list = append(list, s)        // want
	_ = map[string]any{"from": a} // want
	_ = struct{ V any }{V: a}     // want
	_ = struct{ V any }{a}        // want
	c := make(chan any, 1)
	c <- a // want
	byAny := map[any]string{}
	_ = byAny[&a]          // want
	_ = unsafe.Pointer(&a) // want
	var e any
	for _, e = range []seal.Address{a} { // want
	}
	_, _ = e, list
	take(two(a))                                            // want
	f := func() any { return s }                            // want
	return x, func() kept { _, _, _ = k, c, f; return a }() // want
}

func two(a seal.Address) (string, seal.Address) { return "", a }

func take(string, any) {}

func both(a seal.Address) (any, error) {
	return a, nil // want
}

func generic(a seal.Address, s *seal.Scratch) {
	keep(a)                            // want
	var p atomic.Pointer[seal.Scratch] // want
	p.Store(s)
	_ = slices.Clone([]seal.Address{a})                             // want
	pool := sync.Pool{New: func() any { return seal.NewScratch() }} // want
	pool.Put(s)                                                     // want
}

func keep[T any](T) {}

// spy is what WriteNetworkTo must never be given.
type spy struct{ hash.Hash } // want

func unsealed(ip netip.Addr, conn net.Conn, raw net.IP) string {
	fmt.Println(ip)                                      // want
	_ = ip.As4()                                         // want
	_ = raw.String()                                     // want
	_ = string(raw)                                      // want
	_ = fmt.Errorf("from %s", netip.AddrPortFrom(ip, 1)) // want
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if ok {
		slog.Warn("m", "peer", tcp) // want
	}
	network, err := ip.Prefix(24)
	if err != nil {
		log.Print(network) // want
	}
	_ = network.String() // want
	if !ip.IsPrivate() {
		return "" // what is asked of it is allowed
	}
	return ip.StringExpanded() // want
}

// harmless is what the collector does.
func harmless(ip netip.Addr, h hash.Hash, v *visit) bool {
	scratch := seal.NewScratch()
	v.from = seal.AddressOf(ip, scratch)
	v.from.WriteNetworkTo(h)
	addresses := []seal.Address{v.from}
	scratch.Forget()
	fmt.Println(v.page, len(addresses), v.from.IsValid())
	return addresses[0].IsValid()
}
