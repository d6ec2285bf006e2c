package mask

// class is what is known of a character by itself, as a set of bits; one look at a
// text gathers those of its characters.
type class uint16

const (
	// digit is the lowest bit, so that adding it up counts the digits.
	digit class = 1 << iota
	colon
	at
	equals
	// spells: an at sign may be spelled with it.
	spells
	percent
	plus
	// unplain is not of printable ASCII.
	unplain
	slash
	semicolon
	// inHost stands in a name of DNS, or in one that is used like it.
	inHost
	dot
	upper
	// alnum and begins are neighbours: a character that goes on with a word does not
	// begin one.
	alnum
	// begins: base64 of something readable may begin with it (packsEmail).
	begins
)

// classes are those of each byte. They are never changed.
var classes = classesOf()

func classesOf() (of [256]class) {
	for i := range of {
		c := byte(i)
		k := &of[i]
		if c < ' ' || c >= 0x7f {
			*k |= unplain
		}
		if isDigit(c) {
			*k |= digit
		}
		if c >= 'A' && c <= 'Z' {
			*k |= upper
		}
		if isAlnum(c) {
			*k |= alnum | inHost
		}
		// The first character is readable: from a space to before DEL.
		if v, ok := sextet(c); ok && isAlnum(c) && v<<2|3 >= ' ' && v<<2 < 0x7f {
			*k |= begins
		}
	}
	for c, k := range map[byte]class{
		':': colon, '@': at, '=': equals, '/': slash, ';': semicolon, '.': dot | inHost, '-': inHost, '_': inHost, '+': plus,
		'[': spells, '{': spells, '\\': spells, '&': spells, '(': spells, '<': spells, '%': spells | percent,
	} {
		of[c] |= k
	}
	return of
}

// features are what a text must have for a finding.
type features struct {
	seen   class // begins: a word begins with such a character
	digits int
}

func featuresOf(text []byte) (f features) {
	var last class
	for _, c := range text {
		last = f.add(classes[c], last)
	}
	return f
}

// add takes in one more character, and returns its class.
func (f *features) add(k, last class) class {
	f.seen |= k &^ (last & alnum << 1)
	f.digits += int(k & digit)
	return k
}
