package mask

import "unicode/utf8"

// Text masks what the site's own script says about an event. It holds the memory
// for it.
type Text struct{ decoder decoder }

// maskedName stands for a name that holds something personal, within the letters
// names are made of.
const maskedName = "masked"

// Holds reports whether something personal stands anywhere in a text.
func (t *Text) Holds(text []byte) bool { return t.decoder.look(text) != nothing }

// Append appends a plain text, such as a property's value, without the
// characters nobody sees, cut at bytesMax bytes; or a placeholder, when something
// personal stands anywhere in it.
func (t *Text) Append(dst, text []byte, bytesMax int) []byte {
	if what := t.decoder.look(text); what != nothing {
		return append(dst, what...)
	}
	if !utf8.Valid(text) {
		return dst
	}
	start := len(dst)
	dst = appendSeen(dst, text)
	return cut(dst, start+bytesMax)
}

// AppendName appends a name the site gave something, or "masked" when something
// personal stands in it: a form or an event may be named after an order or a
// session.
func (t *Text) AppendName(dst, name []byte) []byte {
	if t.decoder.look(name) != nothing {
		return append(dst, maskedName...)
	}
	return append(dst, name...)
}

// Target is a reduced link. Its slices are its own memory and valid until the
// next Reduce.
type Target struct {
	Host []byte // lower case, "masked" for one that is an address
	Path []byte // empty unless asked for

	decoder decoder
}

// Reduce reads the absolute http or https URL a link leads to. Other schemes
// are no target: they hold e-mail addresses, numbers and scripts.
func (t *Target) Reduce(raw []byte, withPath bool) error {
	u, ok := split(raw)
	if !ok || !u.web() {
		return ErrURL
	}
	if t.Host = appendHost(t.Host[:0], u.host); len(t.Host) == 0 {
		t.Host = append(t.Host, maskedName...)
	}
	if t.Path = t.Path[:0]; withPath {
		t.Path = t.decoder.appendPath(t.Path, u.path)
	}
	return nil
}
