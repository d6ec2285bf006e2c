package beacon

// Batch is one request's body. It may be reused; what a Parse gave is valid
// until the next Parse and as long as the body is.
type Batch struct {
	Site     []byte
	SentAtMs int64 // 0 when the body does not say
	// Consent is the token as sent; nil when there was none.
	Consent []byte
	// OptOut is the visitor's own opt-out.
	OptOut bool
	// Refused is the page's claim that the visitor refuses analytics: its banner,
	// consent platform, TC string or Consent Mode says so. It lowers only.
	Refused bool
	// Automated is what the page's script found: a program drives the browser
	// (navigator.webdriver). enrich counts such events as automated.
	Automated bool
	// Total counts the events of the body; Events holds at most as many as
	// Parse was told to keep.
	Total  int
	Events []Event

	keep   int
	listed bool
	scan   scanner
	single Event
}

// Event is one event of a batch. Texts are unescaped and not yet checked.
type Event struct {
	ID       []byte
	Type     []byte
	URL      []byte
	Referrer []byte
	AtMs     int64
	// Faulty marks an event with a field of the wrong kind, or that is not an
	// object at all. Fields that belong to one type only do not count here.
	Faulty bool

	set    fields
	detail detail
}

// fields marks which fields an event has.
type fields uint8

const (
	hasID fields = 1 << iota
	hasType
	hasAt
	hasURL
	hasReferrer
)

// Complete reports whether every required field is there and none is faulty.
func (e *Event) Complete() bool {
	const required = hasID | hasType | hasAt | hasURL
	return !e.Faulty && e.set&required == required
}

// Parse reads a body and keeps its first events, at most keep of them. Events
// may be a list under "events", or one event may stand at the top level; both
// at once is malformed, as is neither.
func (b *Batch) Parse(body []byte, keep int) error {
	*b = Batch{Events: b.Events[:0], scan: b.scan, keep: keep}
	b.scan.reset(body)
	s := &b.scan
	ok := s.object(1, b.member)
	if !ok || s.i != len(s.b) || !s.isText() {
		return ErrSyntax
	}
	if b.single.set != 0 || b.single.Faulty {
		if b.listed {
			return ErrSyntax
		}
		b.Total = 1
		b.Events = append(b.Events, b.single)
	}
	if b.Total == 0 {
		return ErrSyntax
	}
	return nil
}

// member reads the value of one top-level key. Site, sent_at, opt_out and
// refused of the wrong kind are malformed: they hold for the whole batch.
func (b *Batch) member(key []byte) bool {
	s := &b.scan
	switch string(key) {
	case "site":
		text, isText, ok := s.optionalText(1)
		b.Site = text
		return ok && isText
	case "sent_at":
		if s.next() != kindNumber {
			return s.next() == kindNull && s.literal("null")
		}
		text, ok := s.number()
		if !ok {
			return false
		}
		b.SentAtMs, ok = milliseconds(text)
		return ok
	case "consent":
		// Something that is no text proves nothing: an empty token is denied.
		text, isText, ok := s.optionalText(1)
		if isText {
			b.Consent = text
		}
		return ok
	case "opt_out":
		return b.flag(&b.OptOut)
	case "refused":
		return b.flag(&b.Refused)
	case "automated":
		return b.flag(&b.Automated)
	case "events":
		b.listed = true
		return s.array(2, b.element)
	}
	return b.single.member(s, key, 1)
}

// flag reads true, false or null.
func (b *Batch) flag(into *bool) bool {
	s := &b.scan
	*into = s.next() == kindTrue
	return (*into || s.next() == kindFalse || s.next() == kindNull) && s.skip(1)
}

// element reads one entry of the list.
func (b *Batch) element() bool {
	s := &b.scan
	b.Total++
	if b.Total > b.keep {
		return s.skip(2)
	}
	b.Events = append(b.Events, Event{})
	e := &b.Events[len(b.Events)-1]
	if s.next() != kindObject {
		e.Faulty = true
		return s.skip(2)
	}
	return s.object(3, func(key []byte) bool { return e.member(s, key, 3) })
}

// member reads the value of one key of an event.
func (e *Event) member(s *scanner, key []byte, depth int) bool {
	switch string(key) {
	case "id":
		return e.text(s, depth, &e.ID, hasID)
	case "type":
		return e.text(s, depth, &e.Type, hasType)
	case "url":
		return e.text(s, depth, &e.URL, hasURL)
	case "referrer":
		return e.text(s, depth, &e.Referrer, hasReferrer)
	case "at":
		if s.next() != kindNumber {
			e.Faulty = true
			return s.skip(depth)
		}
		text, ok := s.number()
		if !ok {
			return false
		}
		ms, whole := milliseconds(text)
		e.AtMs, e.Faulty, e.set = ms, e.Faulty || !whole, e.set|hasAt
		return true
	}
	return e.detail.member(s, key, depth)
}

// text reads a field that must be a string; null counts as absent.
func (e *Event) text(s *scanner, depth int, field *[]byte, bit fields) bool {
	if s.next() == kindString {
		text, ok := s.text()
		if ok {
			*field = text
			e.set |= bit
		}
		return ok
	}
	if s.next() != kindNull {
		e.Faulty = true
	}
	return s.skip(depth)
}

// optionalText reads any value and returns it if it is a string.
func (s *scanner) optionalText(depth int) (text []byte, isText, ok bool) {
	if s.next() != kindString {
		return nil, false, s.skip(depth)
	}
	text, ok = s.text()
	return text, ok, ok
}

// Release drops what points into a body and keeps the memory for the next one.
func (b *Batch) Release() {
	clear(b.Events)
	clear(b.scan.keys[:cap(b.scan.keys)])
	clear(b.scan.properties[:cap(b.scan.properties)])
	*b = Batch{Events: b.Events[:0], scan: scanner{keys: b.scan.keys[:0], texts: b.scan.texts[:0], properties: b.scan.properties[:0]}}
}
