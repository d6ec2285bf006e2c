package mask

import (
	"unicode"
	"unicode/utf8"
)

// fold rewrites text, in its own memory, as found reads it: without characters
// that are not seen (controls, zero-width), and with the plain form of spaces,
// dashes, full-width characters and digits of other scripts. Bytes that are no
// character stay.
func fold(text []byte) []byte {
	if isPlain(text) {
		return text
	}
	out := text[:0]
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, text[i])
		case unicode.Is(unicode.C, r):
		case unicode.Is(unicode.Zs, r):
			out = append(out, ' ')
		case unicode.Is(unicode.Pd, r), r == '\u2212': // minus sign
			out = append(out, '-')
		case r >= '\uFF01' && r <= '\uFF5E':
			out = append(out, byte(r-'\uFF01'+'!'))
		case r == '\uFE6B': // small commercial at
			out = append(out, '@')
		case r >= utf8.RuneSelf && unicode.IsDigit(r):
			out = append(out, '0') // that it is a digit is enough
		default:
			out = append(out, text[i:i+size]...)
		}
		i += size
	}
	return out
}

func isPlain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
