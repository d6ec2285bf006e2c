package beacon

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	depthMax   = 16
	membersMax = 64 // per object
)

// ErrSyntax means the body is not one JSON object as we read it.
var ErrSyntax = errors.New("beacon: malformed JSON")

// scanner reads JSON from one body.
type scanner struct {
	b     []byte
	i     int
	keys  [][]byte // keys of the objects being read, innermost last
	texts []byte   // unescaped strings
	// properties of the custom events, one event's after the other's
	properties []Property
	// beyond has the highest bit of a byte set where a text may be beyond ASCII: not
	// known to be UTF-8 then.
	beyond uint64
}

// kind is the kind of a JSON value.
type kind uint8

const (
	kindNone kind = iota
	kindString
	kindNumber
	kindTrue
	kindFalse
	kindNull
	kindObject
	kindArray
)

func (s *scanner) reset(body []byte) {
	s.b, s.i, s.keys, s.texts, s.properties = body, 0, s.keys[:0], s.texts[:0], s.properties[:0]
	s.beyond = 0
}

// isText reports whether the body is UTF-8, once it was read: beyond ASCII it can
// hold nothing but texts.
func (s *scanner) isText() bool { return s.beyond&highs == 0 || utf8.Valid(s.b) }

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return
		}
	}
}

// take reads c, with space around it, of which there is seldom any.
func (s *scanner) take(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] <= ' ' {
		s.space()
	}
	if s.i >= len(s.b) || s.b[s.i] != c {
		return false
	}
	if s.i++; s.i < len(s.b) && s.b[s.i] <= ' ' {
		s.space()
	}
	return true
}

// object reads an object and calls member with each key, the scanner standing
// at the value; member must read the value.
func (s *scanner) object(depth int, member func(key []byte) bool) bool {
	if depth > depthMax || !s.take('{') {
		return false
	}
	base := len(s.keys)
	ok := s.members(base, member)
	s.keys = s.keys[:base]
	return ok
}

// members reads what stands in an object's brackets, and the closing one.
func (s *scanner) members(base int, member func(key []byte) bool) bool {
	if s.take('}') {
		return true
	}
	for {
		if s.i >= len(s.b) || s.b[s.i] != '"' {
			return false
		}
		key, ok := s.text()
		if !ok || !s.remember(key, base) || !s.take(':') || !member(key) {
			return false
		}
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// remember refuses a key the object has had.
func (s *scanner) remember(key []byte, base int) bool {
	if len(s.keys)-base >= membersMax {
		return false
	}
	for _, known := range s.keys[base:] {
		if string(known) == string(key) {
			return false
		}
	}
	s.keys = append(s.keys, key)
	return true
}

// array reads an array and calls element before each value; element must read
// the value.
func (s *scanner) array(depth int, element func() bool) bool {
	if depth > depthMax || !s.take('[') {
		return false
	}
	if s.take(']') {
		return true
	}
	for {
		if !element() {
			return false
		}
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

// next says what kind of value comes.
func (s *scanner) next() kind {
	if s.i >= len(s.b) {
		return kindNone
	}
	switch c := s.b[s.i]; {
	case c == '"':
		return kindString
	case c == '{':
		return kindObject
	case c == '[':
		return kindArray
	case c == 't':
		return kindTrue
	case c == 'f':
		return kindFalse
	case c == 'n':
		return kindNull
	case c == '-' || c >= '0' && c <= '9':
		return kindNumber
	}
	return kindNone
}

// skip reads any value.
func (s *scanner) skip(depth int) bool {
	switch s.next() {
	case kindString:
		_, ok := s.text()
		return ok
	case kindNumber:
		_, ok := s.number()
		return ok
	case kindTrue:
		return s.literal("true")
	case kindFalse:
		return s.literal("false")
	case kindNull:
		return s.literal("null")
	case kindObject:
		return s.object(depth+1, func([]byte) bool { return s.skip(depth + 1) })
	case kindArray:
		return s.array(depth+1, func() bool { return s.skip(depth + 1) })
	default:
		return false
	}
}

func (s *scanner) literal(text string) bool {
	if len(s.b)-s.i < len(text) || string(s.b[s.i:s.i+len(text)]) != text {
		return false
	}
	s.i += len(text)
	return true
}

// text reads a string. The result points into the body, or into texts when the
// string has escapes.
func (s *scanner) text() ([]byte, bool) {
	start := s.i + 1
	i := start
	beyond := uint64(0)
	for ; i+8 <= len(s.b); i += 8 {
		eight := binary.LittleEndian.Uint64(s.b[i:])
		beyond |= eight
		if ends := endsOfText(eight); ends != 0 {
			s.beyond |= beyond
			i += bits.TrailingZeros64(ends) / 8
			if s.b[i] == '"' {
				s.i = i + 1
				return s.b[start:i], true
			}
			return s.endText(start, i)
		}
	}
	for ; i < len(s.b); i++ {
		c := s.b[i]
		beyond |= uint64(c)
		if c == '"' || c == '\\' || c < ' ' {
			s.beyond |= beyond
			return s.endText(start, i)
		}
	}
	return nil, false
}

// endText ends a string at what is no plain character of it.
func (s *scanner) endText(start, i int) ([]byte, bool) {
	switch s.b[i] {
	case '"':
		s.i = i + 1
		return s.b[start:i], true
	case '\\':
		return s.escapedText(start, i)
	}
	return nil, false
}

const ones, highs = 0x0101010101010101, 0x8080808080808080

// endsOfText looks at eight bytes at once: the lowest bit it sets is the highest
// of the first byte that is a quote, a backslash or a control. Bits behind the
// first may be wrong, since a byte can borrow from the next; those before it are
// not.
func endsOfText(eight uint64) uint64 {
	quote, backslash := eight^(ones*'"'), eight^(ones*'\\')
	return ((quote-ones)&^quote | (backslash-ones)&^backslash | (eight-ones*' ')&^eight) & highs
}

// escapedText reads a string whose first escape is at i. An earlier string's
// bytes stay valid when texts moves.
func (s *scanner) escapedText(start, i int) ([]byte, bool) {
	s.beyond |= highs // what follows is not looked at
	base := len(s.texts)
	s.texts = append(s.texts, s.b[start:i]...)
	for i < len(s.b) {
		c := s.b[i]
		switch {
		case c == '"':
			s.i = i + 1
			return s.texts[base:len(s.texts):len(s.texts)], true
		case c < ' ':
			return nil, false
		case c != '\\':
			s.texts = append(s.texts, c)
			i++
			continue
		case i+1 >= len(s.b):
			return nil, false
		}
		if s.b[i+1] == 'u' {
			r, n := unicodeEscape(s.b[i:])
			if n == 0 {
				return nil, false
			}
			s.texts = utf8.AppendRune(s.texts, r)
			i += n
			continue
		}
		plain, ok := simpleEscape(s.b[i+1])
		if !ok {
			return nil, false
		}
		s.texts = append(s.texts, plain)
		i += 2
	}
	return nil, false
}

func simpleEscape(c byte) (byte, bool) {
	switch c {
	case '"', '\\', '/':
		return c, true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}

// unicodeEscape reads \uXXXX, or a surrogate pair of them. It returns the
// length read, 0 for anything else.
func unicodeEscape(b []byte) (r rune, n int) {
	r, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := hex4(b[6:])
	if !ok {
		return 0, 0
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// number reads a number and returns its text.
func (s *scanner) number() ([]byte, bool) {
	start := s.i
	if s.b[s.i] == '-' {
		s.i++
	}
	whole := s.i
	if !s.digits() || s.b[whole] == '0' && s.i-whole > 1 {
		return nil, false
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return nil, false
		}
	}
	if s.i < len(s.b) && s.b[s.i]|0x20 == 'e' {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return nil, false
		}
	}
	return s.b[start:s.i], true
}

func (s *scanner) digits() bool {
	start := s.i
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

// millisecondsMax is the year 2100: no clock of a client means a later time.
const millisecondsMax = 4_102_444_800_000

// milliseconds reads a whole number from 0 to millisecondsMax.
func milliseconds(text []byte) (int64, bool) {
	if len(text) > len("4102444800000") {
		return 0, false
	}
	var ms int64
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		ms = ms*10 + int64(c-'0')
	}
	return ms, ms <= millisecondsMax
}
