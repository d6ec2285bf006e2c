// A seal.Address has no text, no bytes, no comparison and no way to what it
// holds. Each marked line must not compile; the text is part of what the
// compiler says.
package leak

import (
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/metiva-io/metiva/pkg/seal"
)

func texts(a seal.Address, s *seal.Scratch) {
	_ = a.String()                       // want "a.String undefined"
	_ = a.Prefix()                       // want "a.Prefix undefined"
	_ = a.Bytes()                        // want "a.Bytes undefined"
	_ = a.As16()                         // want "a.As16 undefined"
	_ = s.Address()                      // want "s.Address undefined"
	_ = string(a)                        // want "cannot convert a"
	_ = []byte(a)                        // want "cannot convert a"
	_ = netip.Addr(a)                    // want "cannot convert a"
	_ = a.v                              // want "a.v undefined"
	_ = s.v                              // want "s.v undefined"
	_ = seal.Address{v: nil}             // want "field v"
	var _ fmt.Stringer = a               // want "missing method String"
	var _ fmt.Formatter = a              // want "missing method Format"
	var _ fmt.GoStringer = &a            // want "missing method GoString"
	var _ error = a                      // want "missing method Error"
	var _ json.Marshaler = a             // want "missing method MarshalJSON"
	var _ encoding.TextMarshaler = &a    // want "missing method MarshalText"
	var _ encoding.BinaryMarshaler = &a  // want "missing method MarshalBinary"
	var _ encoding.TextAppender = &a     // want "missing method AppendText"
	var _ slog.LogValuer = a             // want "missing method LogValue"
	var _ slog.LogValuer = s             // want "missing method LogValue"
	fmt.Println(fmt.Sprint(a.String()))  // want "a.String undefined"
	slog.Info("m", slog.String("ip", a)) // want "cannot use a"
}

func compared(a, b seal.Address, s seal.Scratch) {
	_ = a == b                                                     // want "cannot be compared"
	_ = a != b                                                     // want "cannot be compared"
	_ = s == s                                                     // want "cannot be compared"
	_ = [1]seal.Address{a} == [1]seal.Address{b}                   // want "cannot be compared"
	_ = struct{ A seal.Address }{a} == struct{ A seal.Address }{b} // want "cannot be compared"
	_ = map[seal.Address]bool{}                                    // want "invalid map key type"
	_ = a < b                                                      // want "not defined"
	_ = same(a, b)                                                 // want "does not satisfy comparable"
	switch a {                                                     // want "cannot switch on a"
	case b:
	}
}

func same[T comparable](x, y T) bool { return x == y }

func values(v seal.PrivateKey, m seal.KeyMaterial, t seal.Truncated) {
	_ = v.Bytes()  // want "v.Bytes undefined"
	_ = m.Bytes()  // want "m.Bytes undefined"
	_ = m.Raw      // want "m.Raw undefined"
	_ = t.Addr()   // want "t.Addr undefined"
	_ = v.Secret() // want "v.Secret undefined"
	_ = string(t)  // want "cannot convert t"
}

var _ = texts
var _ = compared
var _ = values
