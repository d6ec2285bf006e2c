package beacon

// Property is one property of a custom event. Value is a string unescaped, or a
// number or boolean as it was written.
type Property struct {
	Name, Value []byte
}

// detail is what an event says by its type. Whatever the type, all of it is read:
// the type may stand last. A field of the wrong kind matters to the type it
// belongs to, and is as good as an unknown key to the others.
type detail struct {
	visibleMs, scroll int64
	kind, target      []byte
	action, form      []byte
	name              []byte
	properties        []Property

	set, wrong detailFields
}

// detailFields marks fields of a detail.
type detailFields uint8

const (
	hasVisibleMs detailFields = 1 << iota
	hasScroll
	hasKind
	hasTarget
	hasAction
	hasForm
	hasName
	hasProperties
)

// whole reports whether the required fields are there, and none of them or of the
// optional ones is of the wrong kind.
func (d *detail) whole(required, optional detailFields) bool {
	return d.set&required == required && d.wrong&(required|optional) == 0
}

// Engagement is how long the page was visible and how far it was scrolled, in
// percent, as sent; ok is false when one is missing, or is no whole number.
func (e *Event) Engagement() (visibleMs, scroll int64, ok bool) {
	return e.detail.visibleMs, e.detail.scroll, e.detail.whole(hasVisibleMs|hasScroll, 0)
}

// Click is the kind of a click and the address it leads to, as sent; ok is false
// when one is missing, or is no string.
func (e *Event) Click() (kind, target []byte, ok bool) {
	return e.detail.kind, e.detail.target, e.detail.whole(hasKind|hasTarget, 0)
}

// FormAction is what was done with which form, as sent; ok is false when one is
// missing, or is no string.
func (e *Event) FormAction() (action, form []byte, ok bool) {
	return e.detail.action, e.detail.form, e.detail.whole(hasAction|hasForm, 0)
}

// Custom is the name and the properties of a custom event, as sent; ok is false
// when there is no name, or the properties are not a flat object of strings,
// numbers and booleans. A property that is null is left out.
func (e *Event) Custom() (name []byte, properties []Property, ok bool) {
	return e.detail.name, e.detail.properties, e.detail.whole(hasName, hasProperties)
}

// member reads the value of one key of an event that is not every event's.
func (d *detail) member(s *scanner, key []byte, depth int) bool {
	switch string(key) {
	case "visible_ms":
		return d.number(s, depth, &d.visibleMs, hasVisibleMs)
	case "scroll":
		return d.number(s, depth, &d.scroll, hasScroll)
	case "kind":
		return d.text(s, depth, &d.kind, hasKind)
	case "target":
		return d.text(s, depth, &d.target, hasTarget)
	case "action":
		return d.text(s, depth, &d.action, hasAction)
	case "form":
		return d.text(s, depth, &d.form, hasForm)
	case "name":
		return d.text(s, depth, &d.name, hasName)
	case "props":
		return d.props(s, depth)
	}
	return s.skip(depth)
}

// text reads a field that must be a string; null counts as absent.
func (d *detail) text(s *scanner, depth int, field *[]byte, bit detailFields) bool {
	isNull := s.next() == kindNull
	text, isText, ok := s.optionalText(depth)
	switch {
	case isText:
		*field = text
		d.set |= bit
	case !isNull:
		d.wrong |= bit
	}
	return ok
}

// number reads a field that must be a whole number, not negative; null counts as
// absent.
func (d *detail) number(s *scanner, depth int, field *int64, bit detailFields) bool {
	switch s.next() {
	case kindNumber:
	case kindNull:
		return s.skip(depth)
	default:
		d.wrong |= bit
		return s.skip(depth)
	}
	text, ok := s.number()
	if !ok {
		return false
	}
	n, whole := milliseconds(text)
	if !whole {
		d.wrong |= bit
		return true
	}
	*field = n
	d.set |= bit
	return true
}

// props reads the properties of a custom event.
func (d *detail) props(s *scanner, depth int) bool {
	switch s.next() {
	case kindObject:
	case kindNull:
		return s.skip(depth)
	default:
		d.wrong |= hasProperties
		return s.skip(depth)
	}
	from := len(s.properties)
	ok := s.object(depth+1, func(name []byte) bool {
		start := s.i
		switch s.next() {
		case kindString:
			value, ok := s.text()
			s.properties = append(s.properties, Property{Name: name, Value: value})
			return ok
		case kindNumber, kindTrue, kindFalse:
			if !s.skip(depth + 1) {
				return false
			}
			s.properties = append(s.properties, Property{Name: name, Value: s.b[start:s.i]})
			return true
		case kindNull:
		default:
			d.wrong |= hasProperties
		}
		return s.skip(depth + 1)
	})
	d.properties = s.properties[from:len(s.properties):len(s.properties)]
	d.set |= hasProperties
	return ok
}
