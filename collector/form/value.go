package form

import (
	"bytes"

	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// keeps reports whether a value may stand in a field of a kind. An e-mail
// address and a telephone number have a form, and what is not of it is left out;
// everywhere else numbers and tokens that are nobody's business are looked for.
func keeps(kind metivav1.FieldKind, value []byte, typed *mask.Typed) bool {
	switch kind {
	case metivav1.FieldKind_FIELD_KIND_EMAIL:
		return isEmail(value)
	case metivav1.FieldKind_FIELD_KIND_PHONE:
		return isPhone(value) && !typed.WithheldNumber(value)
	case metivav1.FieldKind_FIELD_KIND_NAME, metivav1.FieldKind_FIELD_KIND_COMPANY, metivav1.FieldKind_FIELD_KIND_TEXT:
		return !typed.Withheld(value)
	case metivav1.FieldKind_FIELD_KIND_UNSPECIFIED:
	}
	return false
}

const (
	emailBytesMax   = 254 // RFC 5321, section 4.5.3.1.3, without its brackets
	mailboxBytesMax = 64
	phoneDigitsMin  = 6
	phoneDigitsMax  = 17 // "00" and the 15 digits of E.164
)

// isEmail accepts what the HTML standard's e-mail field does, with a dot in the
// domain, and letters beyond ASCII.
func isEmail(value []byte) bool {
	at := bytes.IndexByte(value, '@')
	if at < 1 || at > mailboxBytesMax || len(value) > emailBytesMax {
		return false
	}
	for _, c := range value[:at] {
		if !isAlnum(c) && c < 0x80 && bytes.IndexByte([]byte(".!#$%&'*+/=?^_`{|}~-"), c) < 0 {
			return false
		}
	}
	domain := value[at+1:]
	for i, c := range domain {
		switch {
		case isAlnum(c), c >= 0x80, c == '-':
		case c == '.' && i > 0 && i+1 < len(domain) && domain[i-1] != '.':
		default:
			return false
		}
	}
	return bytes.IndexByte(domain, '.') > 0
}

// isPhone accepts digits and what people write between them.
func isPhone(value []byte) bool {
	digits := 0
	for _, c := range value {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case bytes.IndexByte([]byte("+-./() "), c) < 0:
			return false
		}
	}
	return digits >= phoneDigitsMin && digits <= phoneDigitsMax
}

// hasControl finds control characters; the lines of a text end with some.
func hasControl(value []byte, kind metivav1.FieldKind) bool {
	for _, c := range value {
		if (c < ' ' || c == 0x7f) && (kind != metivav1.FieldKind_FIELD_KIND_TEXT || c != '\n' && c != '\r' && c != '\t') {
			return true
		}
	}
	return false
}

// trim cuts the white space around a value.
func trim(value []byte) []byte { return bytes.Trim(value, " \t\r\n") }
