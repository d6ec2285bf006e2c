package beacon

import "unicode/utf8"

// Capture is the JSON body of POST /v1/captures. Its slices point into the body
// or into its own memory, until Clear.
type Capture struct {
	Site, Form, ID, URL, Referrer, Token []byte
	TextVersion, Language                []byte
	AtMs, SentAtMs                       int64
	// Given: the visitor ticked the form's box. Only "given": true says so.
	Given  bool
	OptOut bool
	HasAt  bool

	fieldsAt int // where the object "fields" begins; 0 without one
	scan     scanner
}

// Parse reads everything but the fields, of which it keeps nothing but where
// they are. Unlike in an event, a member of the wrong kind makes the whole body
// malformed: there is nothing else in it. Unknown members are passed over.
func (c *Capture) Parse(body []byte) error {
	if !utf8.Valid(body) {
		return ErrSyntax
	}
	c.scan.reset(body)
	if cap(c.scan.texts) < len(body) {
		c.scan.texts = make([]byte, 0, len(body)) // so that it never moves and Clear reaches all
	}
	if s := &c.scan; !s.object(1, c.member) || s.i != len(s.b) {
		return ErrSyntax
	}
	return nil
}

func (c *Capture) member(key []byte) bool {
	switch string(key) {
	case "site":
		return c.text(&c.Site)
	case "form":
		return c.text(&c.Form)
	case "id":
		return c.text(&c.ID)
	case "url":
		return c.text(&c.URL)
	case "referrer":
		return c.text(&c.Referrer)
	case "token":
		return c.text(&c.Token)
	case "at":
		c.HasAt = c.scan.next() == kindNumber
		return c.milliseconds(&c.AtMs)
	case "sent_at":
		return c.milliseconds(&c.SentAtMs)
	case "opt_out":
		return c.truth(&c.OptOut)
	case "consent":
		if c.scan.next() == kindNull {
			return c.scan.literal("null")
		}
		return c.scan.object(2, c.consentMember)
	case "fields":
		if c.scan.next() != kindObject {
			return false
		}
		c.fieldsAt = c.scan.i
		return c.skip(1)
	}
	return c.skip(1)
}

func (c *Capture) consentMember(key []byte) bool {
	switch string(key) {
	case "given":
		return c.truth(&c.Given)
	case "text_version":
		return c.text(&c.TextVersion)
	case "language":
		return c.text(&c.Language)
	}
	return c.skip(2)
}

// skip passes a value over and keeps no copy of it.
func (c *Capture) skip(depth int) bool {
	s, before := &c.scan, len(c.scan.texts)
	ok := s.skip(depth)
	clear(s.texts[before:])
	s.texts = s.texts[:before]
	return ok
}

// text reads a string; null is as if it were not there.
func (c *Capture) text(to *[]byte) bool {
	s := &c.scan
	if s.next() == kindNull {
		return s.literal("null")
	}
	if s.next() != kindString {
		return false
	}
	text, ok := s.text()
	*to = text
	return ok
}

func (c *Capture) truth(to *bool) bool {
	*to = c.scan.next() == kindTrue
	return *to && c.scan.literal("true") || !*to && (c.scan.literal("false") || c.scan.literal("null"))
}

func (c *Capture) milliseconds(to *int64) bool {
	s := &c.scan
	if s.next() == kindNull {
		return s.literal("null")
	}
	if s.next() != kindNumber {
		return false
	}
	text, ok := s.number()
	if !ok {
		return false
	}
	*to, ok = milliseconds(text)
	return ok
}

// Fields reads the fields: each value goes where slot says for its name, or, for
// nil, nowhere. A value that is asked for must be a string, or null for none.
func (c *Capture) Fields(slot func(name []byte) *[]byte) error {
	if c.fieldsAt == 0 {
		return nil
	}
	c.scan.i = c.fieldsAt
	if !c.scan.object(2, func(name []byte) bool {
		if to := slot(name); to != nil {
			return c.text(to)
		}
		return c.skip(2)
	}) {
		return ErrSyntax
	}
	return nil
}

// Clear overwrites what was unescaped and forgets the body.
func (c *Capture) Clear() {
	clear(c.scan.texts[:cap(c.scan.texts)])
	*c = Capture{}
}
