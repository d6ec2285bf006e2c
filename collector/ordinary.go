package collector

import (
	"bytes"
	"encoding/binary"
)

// An ordinary request is one as the snippet sends it from a browser, whole and alone:
// events of a site whose origin is known, no answer asked for but that all is well,
// and nothing in its headers that would have to be thought about. Nearly every
// request is. It is served without the HTTP server, which would copy and order all of
// its headers for the few that count here (ADR 0032).
//
// What is ordinary is narrow on purpose. A request that is not, in any byte, is left
// to the server as it came: what a header or a body means in a doubtful case is
// decided there and nowhere else.

// ordinaryLine is its first line.
const ordinaryLine = "POST " + PathEvents + "?" + noResults + " HTTP/1.1\r\n"

// The headers of an ordinary request that come once, and those it cannot do without.
const (
	sawHost = 1 << iota
	sawOrigin
	sawType
	sawLength
	sawAgent
	sawConnection

	sawNeeded = sawHost | sawOrigin | sawType | sawLength
)

// ordinary are the parts of an ordinary request that are not in headers: views of it.
type ordinary struct {
	origin, userAgent, body []byte
	seen                    uint
	length                  int
}

// read takes a request apart; false when it is not ordinary. What is read into h
// then is of no use.
func (o *ordinary) read(raw []byte, h *headers) bool {
	if len(raw) < len(ordinaryLine) || string(raw[:len(ordinaryLine)]) != ordinaryLine {
		return false
	}
	for rest := raw[len(ordinaryLine):]; ; {
		end := bytes.IndexByte(rest, '\n')
		if end < 1 || rest[end-1] != '\r' {
			return false
		}
		line := rest[:end-1]
		if rest = rest[end+1:]; len(line) == 0 {
			o.body = rest
			return o.seen&sawNeeded == sawNeeded && len(rest) == o.length
		}
		colon := nameLength(line)
		if colon == 0 || !isPrintable(line) {
			return false
		}
		if !o.header(line[:colon], trimSpaces(line[colon+1:]), h) {
			return false
		}
	}
}

// header takes one header; false when the request is not ordinary for it.
func (o *ordinary) header(name, value []byte, h *headers) bool {
	switch len(name) {
	case len("dnt"):
		if isName(name, "dnt") {
			h.dnt = h.dnt || isOne(value)
		}
	case len("host"):
		if isName(name, "host") {
			return o.once(sawHost) && isPlainHost(value)
		}
	case len("origin"): // and "expect"
		if isName(name, "origin") {
			o.origin = value
			return o.once(sawOrigin)
		}
		return !isName(name, "expect")
	case len("sec-gpc"): // and "purpose", "trailer", "upgrade"
		if isName(name, "sec-gpc") {
			h.gpc = h.gpc || isOne(value)
		}
		return !isName(name, "purpose") && !isName(name, "trailer") && !isName(name, "upgrade")
	case len("user-agent"): // and "connection"
		if isName(name, "user-agent") {
			o.userAgent = value
			return o.once(sawAgent)
		}
		if isName(name, "connection") {
			return o.once(sawConnection) && isName(value, "keep-alive")
		}
	case len("content-type"):
		if isName(name, "content-type") {
			return o.once(sawType) && isReadable(value)
		}
	case len("content-length"):
		if isName(name, "content-length") {
			return o.once(sawLength) && o.readLength(value)
		}
	case len("x-forwarded-for"):
		if isName(name, "x-forwarded-for") {
			h.forwarded = append(h.forwarded, value)
		}
	case len("x-moz"), len("x-purpose"), len("sec-purpose"), len("content-encoding"), len("transfer-encoding"):
		return !isName(name, "x-moz") && !isName(name, "x-purpose") && !isName(name, "sec-purpose") &&
			!isName(name, "content-encoding") && !isName(name, "transfer-encoding")
	}
	return true
}

// once reports whether a header comes for the first time.
func (o *ordinary) once(header uint) bool {
	first := o.seen&header == 0
	o.seen |= header
	return first
}

// lengthDigitsMax holds any length a request can have that came in one piece.
const lengthDigitsMax = 7

func (o *ordinary) readLength(value []byte) bool {
	if len(value) == 0 || len(value) > lengthDigitsMax || value[0] == '0' {
		return false
	}
	o.length = 0
	for _, c := range value {
		if c < '0' || c > '9' {
			return false
		}
		o.length = o.length*10 + int(c-'0')
	}
	return true
}

// nameLength is where the colon behind a header's name is; 0 when there is none, or
// no name, or anything in it but letters, digits and dashes.
func nameLength(line []byte) int {
	for i, c := range line {
		if lower := c | 0x20; lower >= 'a' && lower <= 'z' || c == '-' || c >= '0' && c <= '9' {
			continue
		}
		if c == ':' {
			return i
		}
		return 0
	}
	return 0
}

// isName compares letters, digits and dashes without their case.
func isName(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i := range len(lower) {
		if name[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// isPlainHost accepts a name or an IPv4 address, with or without a port.
func isPlainHost(host []byte) bool {
	name, port, _ := bytes.Cut(host, []byte{':'})
	for _, c := range name {
		if lower := c | 0x20; (lower < 'a' || lower > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	for _, c := range port {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(name) > 0 && len(port) <= len("65535")
}

// isPrintable reports whether all of b is ASCII from space to tilde: eight bytes at a
// time. A byte that is not leaves its highest bit set in one of the three terms; a
// carry into another byte comes only from one that is not itself.
func isPrintable(b []byte) bool {
	const ones, tops, width = 0x0101010101010101, 0x8080808080808080, 8
	if len(b) < width {
		for _, c := range b {
			if c < ' ' || c > '~' {
				return false
			}
		}
		return true
	}
	var bad uint64
	for at := 0; at+width <= len(b); at += width {
		x := binary.LittleEndian.Uint64(b[at:])
		bad |= x | (x + ones) | (x - ' '*ones)
	}
	x := binary.LittleEndian.Uint64(b[len(b)-width:])
	return (bad|x|(x+ones)|(x-' '*ones))&tops == 0
}

func trimSpaces(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	for len(b) > 0 && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}
