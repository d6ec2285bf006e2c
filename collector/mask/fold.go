package mask

import (
	"unicode"
	"unicode/utf8"
)

// fold rewrites text, in its own memory, as found reads it: without characters
// that are not seen (controls, zero-width, fillers, marks on the one before), and
// with the plain form of spaces, dashes, dots, full-width characters and digits of
// other scripts; other punctuation becomes a comma. Bytes that are no character
// stay.
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
		case isUnseen(r), r >= utf8.RuneSelf && unicode.In(r, unicode.Mn, unicode.Me):
		case unicode.Is(unicode.Z, r):
			out = append(out, ' ')
		case unicode.Is(unicode.Pd, r), r == '\u2212': // minus sign
			out = append(out, '-')
		case r >= '\uFF01' && r <= '\uFF5E':
			out = append(out, byte(r-'\uFF01'+'!'))
		case r == '\uFE6B': // small commercial at
			out = append(out, '@')
		case r >= utf8.RuneSelf && unicode.In(r, unicode.Nd, unicode.No): // also in circles, and raised
			out = append(out, '0') // that it is a digit is enough
		case r == '\u3002', r == '\uFF61': // full stops, which stand for a dot in a host
			out = append(out, '.')
		case r >= utf8.RuneSelf && unicode.In(r, unicode.P, unicode.Sm):
			out = append(out, ',')
		default:
			out = append(out, text[i:i+size]...)
		}
		i += size
	}
	return out
}

// isUnseen finds controls and format characters, and the letters and symbols that
// are blank.
func isUnseen(r rune) bool {
	switch r {
	case '\u115F', '\u1160', '\u3164', '\uFFA0', '\u2800': // fillers of Hangul, Braille without dots
		return true
	}
	return unicode.Is(unicode.C, r)
}

func isPlain(text []byte) bool {
	for _, c := range text {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
