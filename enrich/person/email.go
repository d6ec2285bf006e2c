package person

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of RFC 5321, section 4.5.3.1, in bytes; an address is 254 without the angle
// brackets of its path.
const (
	emailBytesMax  = 254
	localBytesMax  = 64
	domainBytesMax = 253
	labelBytesMax  = 63
)

// AppendEmail appends an e-mail address in the one form its domain has: lower case, and
// punycode where it has letters beyond ASCII (RFC 5890). What stands before the @ is the
// mailbox's own business and stays as typed: its case and a "+tag" may matter there. ok is
// false, and dst unchanged, for what is no address of the forms of RFC 5321 and RFC 6531;
// quoted local parts and addresses of a host by number are not taken.
func AppendEmail(dst, value []byte) (out []byte, ok bool) {
	value = bytes.TrimSpace(value)
	at := bytes.LastIndexByte(value, '@')
	if at < 1 || !isLocal(value[:at]) {
		return dst, false
	}
	out = append(append(dst, value[:at]...), '@')
	start := len(out)
	if out, ok = appendDomain(out, value[at+1:]); !ok || len(out)-len(dst) > emailBytesMax || !isDomain(out[start:]) {
		return dst, false
	}
	return out, true
}

// domainOf is the domain of an address that AppendEmail wrote.
func domainOf(address []byte) []byte { return address[bytes.LastIndexByte(address, '@')+1:] }

// isLocal accepts a Dot-string of RFC 5321, with the letters RFC 6531 adds.
func isLocal(local []byte) bool {
	if len(local) > localBytesMax || !utf8.Valid(local) {
		return false
	}
	dot := true // a dot may not stand here
	for len(local) > 0 {
		r, size := utf8.DecodeRune(local)
		switch {
		case r == '.' && dot:
			return false
		case r == '.', r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case r < utf8.RuneSelf:
			if bytes.IndexByte([]byte("!#$%&'*+/=?^_`{|}~-"), byte(r)) < 0 {
				return false
			}
		case !unicode.IsGraphic(r) || unicode.IsSpace(r):
			return false
		}
		dot = r == '.'
		local = local[size:]
	}
	return !dot
}

func appendDomain(dst, domain []byte) ([]byte, bool) {
	if len(domain) > emailBytesMax || !utf8.Valid(domain) {
		return dst, false
	}
	start := len(dst)
	for _, c := range domain {
		if c >= utf8.RuneSelf {
			ascii, err := idna.Lookup.ToASCII(string(domain))
			return append(dst[:start], ascii...), err == nil
		}
		dst = append(dst, lower(c))
	}
	return dst, true
}

// isDomain accepts a name of at least two labels of letters, digits and hyphens, the last
// of which is no number.
func isDomain(domain []byte) bool {
	if len(domain) > domainBytesMax {
		return false
	}
	labels, letters, begin := 0, false, 0
	for i := 0; i <= len(domain); i++ {
		if i < len(domain) && domain[i] != '.' {
			c := domain[i]
			if (c < 'a' || c > 'z') && !isDigit(c) && c != '-' {
				return false
			}
			letters = letters || c >= 'a' && c <= 'z'
			continue
		}
		label := domain[begin:i]
		if len(label) == 0 || len(label) > labelBytesMax || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if i == len(domain) {
			break
		}
		labels, letters, begin = labels+1, false, i+1
	}
	return labels > 0 && letters
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
