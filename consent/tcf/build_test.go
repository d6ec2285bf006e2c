package tcf

import (
	"strconv"
	"strings"
	"time"
)

// fields is a core segment and its disclosed vendors, written bit by bit, so
// that a test can make what no library would.
type fields struct {
	version   uint64
	updated   time.Time
	language  uint64
	country   uint64
	vendors   string // vendor consents, in bits
	rest      string // legitimate interests and restrictions, in bits
	disclosed string // in bits; empty leaves the segment out
}

// standard grants analytics to the vendors 3, 7 and 8.
func standard() fields {
	return fields{
		version: 2, updated: time.Date(2026, 10, 15, 0, 0, 0, 0, time.UTC), language: 13<<6 | 11, country: 13<<6 | 11,
		vendors: vendorBits(9, 3, 7, 8), rest: vendorBits(0) + number(0, 12), disclosed: vendorBits(9, 3, 7, 8),
	}
}

func build(f fields) string {
	at := number(uint64(f.updated.UnixMilli()/100), 36)
	purposes := "1" + "000000" + "11" + strings.Repeat("0", 15)
	text := encode(number(f.version, 6) + at + at + number(300, 12) + number(1, 12) + number(1, 6) + number(f.language, 12) +
		number(142, 12) + number(5, 6) + "1" + "0" + number(0, 12) + purposes + number(0, 24) + "0" + number(f.country, 12) + f.vendors + f.rest)
	if f.disclosed != "" {
		text += "." + encode("001"+f.disclosed)
	}
	return text
}

func number(value uint64, bits int) string {
	text := strconv.FormatUint(value, 2)
	return strings.Repeat("0", bits-len(text)) + text
}

// vendorBits is a vendor section as a bit field of ids up to last.
func vendorBits(last int, ids ...int) string {
	field := []byte(strings.Repeat("0", last))
	for _, id := range ids {
		field[id-1] = '1'
	}
	return number(uint64(last), 16) + "0" + string(field)
}

// rangeBits is a vendor section as ranges.
func rangeBits(last int, spans ...[2]int) string {
	return number(uint64(last), 16) + "1" + spanBits(spans)
}

func spanBits(spans [][2]int) string {
	var text strings.Builder
	text.WriteString(number(uint64(len(spans)), 12))
	for _, s := range spans {
		if s[0] == s[1] {
			text.WriteString("0" + number(uint64(s[0]), 16))
			continue
		}
		text.WriteString("1" + number(uint64(s[0]), 16) + number(uint64(s[1]), 16))
	}
	return text.String()
}

func restriction(purpose, kind int, spans ...[2]int) string {
	return number(uint64(purpose), 6) + number(uint64(kind), 2) + spanBits(spans)
}

// encode is base64url, filled with zero bits.
func encode(bits string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	bits += strings.Repeat("0", (6-len(bits)%6)%6)
	out := make([]byte, 0, len(bits)/6)
	for ; bits != ""; bits = bits[6:] {
		v, _ := strconv.ParseUint(bits[:6], 2, 6)
		out = append(out, alphabet[v])
	}
	return string(out)
}

// hostile fills the limit with what costs most to read: restrictions, each with
// one single id.
func hostile() string {
	f := standard()
	const count = 1280
	f.rest = vendorBits(0) + number(count, 12) + strings.Repeat(restriction(40, 1, [2]int{9, 9}), count)
	return build(f)
}
