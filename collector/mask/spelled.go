package mask

// spellings are how an at sign is written where it must not be one: as an entity
// of HTML, as an escape of JavaScript, and for people who hide from robots.
func spellings() [11]string {
	return [...]string{"&#64;", "&#064;", "&#x40;", "&commat;", "%u0040", `\u0040`, `\x40`, "(at)", "[at]", "{at}", "<at>"}
}

// spellsEmail looks for an at sign that is spelled, with a word close by on both
// sides.
func spellsEmail(text []byte) bool {
	for i, c := range text {
		if isAlnum(c) || c >= 0x80 {
			continue
		}
		for _, spelled := range spellings() {
			end := i + len(spelled)
			if text[i] == spelled[0] && end <= len(text) && equalFold(text[i:end], spelled) &&
				wordWithin(text[max(0, i-mailGapBytesMax-1):i]) && wordWithin(text[end:min(len(text), end+1+mailGapBytesMax)]) {
				return true
			}
		}
	}
	return false
}

// packedMin is the base64 of the shortest address with a dot: "a@b.nl".
const packedMin = 8

// mailboxBytesMax is the longest part before the at sign (RFC 5321, section
// 4.5.3.1.1). It also bounds the look at each word.
const mailboxBytesMax = 64

// packsEmail looks for an address in base64, as newsletters put it into links:
// from the start of any word, in both alphabets.
func packsEmail(text []byte) bool {
	var last class
	for i := 0; i+packedMin <= len(text); i++ {
		k := classes[text[i]]
		if k&begins&^(last&alnum<<1) != 0 && isPackedEmail(text[i:]) {
			return true
		}
		last = k
	}
	return false
}

// isPackedEmail unpacks until something is not plain text, which nearly every
// word is after three characters.
func isPackedEmail(text []byte) bool {
	var bits, n uint
	at, dot := 0, 0 // how many characters were read when one came; 0: none yet
	read := 0
	for _, c := range text {
		v, ok := sextet(c)
		if !ok {
			return false
		}
		bits, n = bits<<6|v, n+6
		if n < 8 {
			continue
		}
		n -= 8
		plain := byte(bits >> n)
		bits &= 1<<n - 1
		if plain < ' ' || plain >= 0x7f {
			return false
		}
		if read++; at == 0 && read > mailboxBytesMax {
			return false
		}
		switch {
		case plain == '@' && read > 1 && at == 0:
			at = read
		case plain == '.' && at > 0 && read > at+1:
			dot = read
		case dot > 0 && isAlnum(plain):
			return true
		}
	}
	return false
}

// sextet is what a character of base64 stands for (RFC 4648, sections 4 and 5).
func sextet(c byte) (v uint, ok bool) {
	switch {
	case c >= 'a' && c <= 'z':
		return uint(c-'a') + 26, true
	case c >= 'A' && c <= 'Z':
		return uint(c - 'A'), true
	case isDigit(c):
		return uint(c-'0') + 52, true
	case c == '+', c == '-':
		return 62, true
	case c == '/', c == '_':
		return 63, true
	}
	return 0, false
}
