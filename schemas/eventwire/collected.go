package eventwire

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Collected is the memory of one collected event, reused from event to event. It
// must not be copied, and belongs to one goroutine.
type Collected struct {
	// Event is what the last Decode read.
	Event metivav1.CollectedEvent

	texts texts
	// head is the fields 1 to 7 as they stood, in memory of the value; nil when they
	// were not there or not in the form that the generated code writes. isValid: every
	// text of Event is UTF-8.
	head    []byte
	isValid bool

	campaign     metivav1.Campaign
	engagement   metivav1.Engagement
	click        metivav1.Click
	form         metivav1.FormAction
	ofEngagement metivav1.CollectedEvent_Engagement
	ofClick      metivav1.CollectedEvent_Click
	ofForm       metivav1.CollectedEvent_FormAction
}

// Decode reads the value of a record into Event as proto.Unmarshal would. Strings
// are copied, in pieces of 2 KiB, and may be kept; byte fields share the memory of
// value, and messages are overwritten by the next Decode. After an error Event holds what could be
// read. The error's text may quote what was read.
func (c *Collected) Decode(value []byte) error {
	c.forget()
	if c.isPlain(value) {
		c.isValid = true
		return nil
	}
	c.forget()
	if err := proto.Unmarshal(value, &c.Event); err != nil {
		return fmt.Errorf("decoding a collected event: %w", err)
	}
	c.isValid = true
	return nil
}

// forget is the event's Reset, but for what reflection needs, which sees to that itself.
func (c *Collected) forget() {
	c.Event = metivav1.CollectedEvent{}
	c.head, c.isValid = nil, false
}

// Wire types of protobuf, in the low bits of a tag.
const (
	varint    = 0
	delimited = 2
	fixed32   = 5
)

// fieldsMax: the plain form has fields up to here, which fit a word of bits.
const fieldsMax = 63

// reader goes through the fields of one message.
type reader struct {
	b     []byte
	at    int
	seen  uint64
	bad   bool
	texts *texts
}

// tag is the next field's number and wire type as they stand on the wire. It is
// bad when the field was there before.
func (r *reader) tag() uint64 {
	t := r.varint()
	number := t >> 3
	if number == 0 || number > fieldsMax || r.seen&(1<<number) != 0 {
		r.bad = true
		return 0
	}
	r.seen |= 1 << number
	return t
}

func (r *reader) varint() uint64 {
	if r.at < len(r.b) && r.b[r.at] < 0x80 {
		v := uint64(r.b[r.at])
		r.at++
		return v
	}
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.at += n
	return v
}

// span is the range of the next delimited field.
func (r *reader) span() (from, to int) {
	n := r.varint()
	if r.bad || n > uint64(len(r.b)-r.at) {
		r.bad = true
		return r.at, r.at
	}
	from = r.at
	r.at += int(n)
	return from, r.at
}

// string copies a text.
func (r *reader) string() string {
	from, to := r.span()
	b := r.b[from:to]
	if !utf8.Valid(b) {
		r.bad = true
		return ""
	}
	return r.texts.copied(b)
}

// name is a text that many events have: one copy of it does for them all.
func (r *reader) name() string {
	from, to := r.span()
	b := r.b[from:to]
	if s, known := r.texts.shared(b); known {
		return s
	}
	if !utf8.Valid(b) {
		r.bad = true
		return ""
	}
	return r.texts.share(b)
}

func (r *reader) float() float32 {
	if len(r.b)-r.at < 4 {
		r.bad = true
		return 0
	}
	v := binary.LittleEndian.Uint32(r.b[r.at:])
	r.at += 4
	return math.Float32frombits(v)
}

// bytes of no length are nil, as the generated code has them.
func (r *reader) bytes() []byte {
	from, to := r.span()
	if from == to {
		return nil
	}
	return r.b[from:to:to]
}

// message is a reader of the next delimited field.
func (r *reader) message() reader {
	from, to := r.span()
	return reader{b: r.b[from:to], texts: r.texts}
}

func (r *reader) more() bool { return r.at < len(r.b) && !r.bad }

// oneof are the bits of the fields that exclude each other.
const oneof = 1<<23 | 1<<24 | 1<<25 | 1<<26 | 1<<27

// isPlain reads the plain form, and reports whether value has it.
func (c *Collected) isPlain(value []byte) bool {
	e := &c.Event
	r := reader{b: value, texts: &c.texts}
	if !c.readHead(&r) {
		r = reader{b: value, texts: &c.texts} // from the beginning, whatever there is
	}
	for r.more() {
		switch r.tag() {
		case 1<<3 | delimited:
			e.EventId = r.bytes()
		case 2<<3 | delimited:
			e.CompanyId = r.name()
		case 3<<3 | delimited:
			e.BrandId = r.name()
		case 4<<3 | delimited:
			e.SiteId = r.name()
		case 5<<3 | varint:
			e.Type = metivav1.EventType(r.varint())
		case 6<<3 | varint:
			e.ReceivedAtMs = int64(r.varint())
		case 7<<3 | varint:
			e.OccurredAtMs = int64(r.varint())
		case 8<<3 | varint:
			e.ClientAtMs = int64(r.varint())
		case 9<<3 | varint:
			e.Consent = metivav1.ConsentState(r.varint())
		case 10<<3 | varint:
			e.ConsentSeq = r.varint()
		case 11<<3 | delimited:
			e.ConsentTextVersion = r.name()
		case 12<<3 | delimited:
			e.VisitKey = r.bytes()
		case 13<<3 | delimited:
			e.VisitorId = r.bytes()
		case 14<<3 | delimited:
			e.Host = r.name()
		case 15<<3 | delimited:
			e.Path = r.string()
		case 16<<3 | delimited:
			e.ReferrerHost = r.string()
		case 17<<3 | delimited:
			c.readCampaign(&r)
		case 18<<3 | delimited:
			e.SealedAddress = r.bytes()
		case 19<<3 | delimited:
			e.SealedUserAgent = r.bytes()
		case 20<<3 | delimited:
			e.WriterId = r.name()
		case 21<<3 | varint:
			e.RetentionDays = uint32(r.varint())
		case 22<<3 | varint:
			e.Replayed = r.varint() != 0
		case 23<<3 | delimited:
			c.ofEngagement.Engagement = readEngagement(&c.engagement, &r)
			e.Detail = &c.ofEngagement
		case 24<<3 | delimited:
			c.ofClick.Click = readClick(&c.click, &r)
			e.Detail = &c.ofClick
		case 25<<3 | delimited:
			c.ofForm.FormAction = readForm(&c.form, &r)
			e.Detail = &c.ofForm
		case 28<<3 | varint:
			e.Automated = r.varint() != 0
		default:
			return false // unknown, or a map behind it
		}
		if detail := r.seen & oneof; detail&(detail-1) != 0 {
			return false // two that exclude each other
		}
	}
	return !r.bad
}

// headFields are the bits of the fields of the head.
const headFields = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7

// readHead reads the fields 1 to 7, which have the same numbers in an enriched event,
// where all are there, in their order and as the generated code writes them.
func (c *Collected) readHead(r *reader) bool {
	e := &c.Event
	for number := byte(1); number <= 4; number++ {
		// An empty text would not have been written; none is as long as 128 bytes.
		if r.at+1 >= len(r.b) || r.b[r.at] != number<<3|delimited || r.b[r.at+1] == 0 || r.b[r.at+1] >= 0x80 {
			return false
		}
		r.at++
		switch number {
		case 1:
			e.EventId = r.bytes()
		case 2:
			e.CompanyId = r.name()
		case 3:
			e.BrandId = r.name()
		case 4:
			e.SiteId = r.name()
		}
		if r.bad {
			return false
		}
	}
	kind, received, occurred := r.shortest(5), r.shortest(6), r.shortest(7)
	if r.bad || kind >= 0x80 { // a type is of 32 bits: what is above them would be lost
		return false
	}
	e.Type, e.ReceivedAtMs, e.OccurredAtMs = metivav1.EventType(kind), int64(received), int64(occurred)
	r.seen = headFields
	c.head = r.b[:r.at:r.at]
	return true
}

// shortest is the number of the next field, which must be that one, not zero, and in as
// few bytes as it can be.
func (r *reader) shortest(field byte) uint64 {
	if r.bad || r.at >= len(r.b) || r.b[r.at] != field<<3|varint {
		r.bad = true
		return 0
	}
	r.at++
	v := r.varint()
	if r.bad || r.b[r.at-1] == 0 { // zero, or zeros on top
		r.bad = true
	}
	return v
}

func (c *Collected) readCampaign(outer *reader) {
	m := &c.campaign
	*m = metivav1.Campaign{}
	c.Event.Campaign = m
	r := outer.message()
	for r.more() {
		switch r.tag() {
		case 1<<3 | delimited:
			m.Source = r.string()
		case 2<<3 | delimited:
			m.Medium = r.string()
		case 3<<3 | delimited:
			m.Name = r.string()
		default:
			r.bad = true
		}
	}
	outer.bad = outer.bad || r.bad
}

func readEngagement(m *metivav1.Engagement, outer *reader) *metivav1.Engagement {
	*m = metivav1.Engagement{}
	r := outer.message()
	for r.more() {
		switch r.tag() {
		case 1<<3 | varint:
			m.VisibleMs = uint32(r.varint())
		case 2<<3 | varint:
			m.ScrollPercent = uint32(r.varint())
		default:
			r.bad = true
		}
	}
	outer.bad = outer.bad || r.bad
	return m
}

func readClick(m *metivav1.Click, outer *reader) *metivav1.Click {
	*m = metivav1.Click{}
	r := outer.message()
	for r.more() {
		switch r.tag() {
		case 1<<3 | varint:
			m.Kind = metivav1.ClickKind(r.varint())
		case 2<<3 | delimited:
			m.TargetHost = r.string()
		case 3<<3 | delimited:
			m.TargetPath = r.string()
		default:
			r.bad = true
		}
	}
	outer.bad = outer.bad || r.bad
	return m
}

func readForm(m *metivav1.FormAction, outer *reader) *metivav1.FormAction {
	*m = metivav1.FormAction{}
	r := outer.message()
	for r.more() {
		switch r.tag() {
		case 1<<3 | varint:
			m.Kind = metivav1.FormActionKind(r.varint())
		case 2<<3 | delimited:
			m.FormId = r.string()
		default:
			r.bad = true
		}
	}
	outer.bad = outer.bad || r.bad
	return m
}
