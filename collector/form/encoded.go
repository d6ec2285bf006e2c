package form

import (
	"bytes"
	"unicode/utf8"

	"github.com/metiva-io/metiva/schemas"
)

// PairsMax is how many names a form post may have; a form of a few dozen fields
// has a few hundred when it has lists.
const PairsMax = 512

// encoded reads application/x-www-form-urlencoded, as the WHATWG URL standard
// writes it: UTF-8, "&" between pairs, "+" for a space.
type encoded struct {
	body  []byte
	plain []byte // decoded values; made once, as large as the body
	name  [schemas.FormFieldNameBytesMax + 1]byte
}

// ParseEncoded reads what is ours of a form post. The error is ErrMalformed or
// ErrTooLarge.
func (p *Post) ParseEncoded(body []byte) error {
	p.encoded.body, p.encoded.plain = body, make([]byte, 0, len(body))
	seen := map[string]bool{}
	return p.encoded.each(func(name, value []byte) error {
		if !bytes.HasPrefix(name, []byte(Prefix)) {
			return nil
		}
		if seen[string(name)] {
			return ErrMalformed
		}
		seen[string(name)] = true
		var box []byte
		to := p.ours(string(name[len(Prefix):]), &box)
		if to == nil {
			return ErrMalformed
		}
		var ok bool
		if *to, ok = p.encoded.decode(value); !ok || hasControl(*to, 0) {
			return ErrMalformed
		}
		p.Given = p.Given || isTicked(box)
		return nil
	})
}

// ours is where the value of one of our names goes.
func (p *Post) ours(name string, box *[]byte) *[]byte {
	switch name {
	case "site":
		return &p.Site
	case "form":
		return &p.Form
	case "consent":
		return box
	case "text_version":
		return &p.TextVersion
	case "language":
		return &p.Language
	case "redirect":
		return &p.Redirect
	case "url":
		return &p.URL
	case "id":
		return &p.ID
	}
	return nil
}

// isTicked reads the value of the box: what browsers send for one without a
// value, or the words sites write there. Another value is no yes.
func isTicked(value []byte) bool {
	switch string(value) {
	case "on", "1", "true", "yes":
		return true
	}
	return false
}

// fields reads the values of the fields slot asks for.
func (e *encoded) fields(slot func(name []byte) *[]byte) error {
	var seen []*[]byte
	return e.each(func(name, value []byte) error {
		to := slot(name)
		if to == nil {
			return nil
		}
		for _, known := range seen {
			if known == to {
				return ErrMalformed
			}
		}
		seen = append(seen, to)
		var ok bool
		if *to, ok = e.decode(value); !ok {
			return ErrMalformed
		}
		return nil
	})
}

// each calls pair with every name, decoded, and its value as it stands. A name
// that is longer than any that is read, or no text, is passed over.
func (e *encoded) each(pair func(name, value []byte) error) error {
	rest := e.body
	for n := 0; len(rest) > 0; {
		var one []byte
		one, rest, _ = bytes.Cut(rest, []byte{'&'})
		if len(one) == 0 {
			continue
		}
		if n++; n > PairsMax {
			return ErrTooLarge
		}
		raw, value, _ := bytes.Cut(one, []byte{'='})
		name, ok := appendDecoded(e.name[:0], raw, len(e.name))
		if !ok {
			return ErrMalformed
		}
		if len(name) == len(e.name) || !utf8.Valid(name) {
			continue
		}
		if err := pair(name, value); err != nil {
			return err
		}
	}
	return nil
}

// decode decodes a value into the memory of the post.
func (e *encoded) decode(value []byte) ([]byte, bool) {
	start := len(e.plain)
	var ok bool
	e.plain, ok = appendDecoded(e.plain, value, cap(e.plain))
	plain := e.plain[start:len(e.plain):len(e.plain)]
	return plain, ok && utf8.Valid(plain)
}

// appendDecoded appends decoded text as long as dst is shorter than most; ok is
// false for a percent sign that encodes nothing.
func appendDecoded(dst, text []byte, most int) (out []byte, ok bool) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(text) && isHex(text[i+1]) && isHex(text[i+2]):
			c = unhex(text[i+1])<<4 | unhex(text[i+2])
			i += 2
		case c == '%':
			return dst, false
		}
		if len(dst) < most {
			dst = append(dst, c)
		}
	}
	return dst, true
}

func (e *encoded) clear() {
	clear(e.plain[:cap(e.plain)])
	clear(e.name[:])
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}
