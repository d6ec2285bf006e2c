package eventwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// errText: protobuf has no strings but UTF-8. It does not quote what it is about.
var errText = errors.New("a text of the event is not UTF-8")

// AppendEnriched appends the value of a record on events.enriched that holds the
// event (schemas.EnrichedOf): the bytes of schemas.Encode. It does not allocate
// when dst has the room, but for custom events. The error is about a text that is
// not UTF-8, and quotes none of it.
func AppendEnriched(dst []byte, e *metivav1.EnrichedEvent) ([]byte, error) {
	w := writer{b: dst}
	return w.enriched(e)
}

// AppendEnrichedFrom is AppendEnriched for an event made of the one that c holds: what
// is the same in both is not looked at again. Neither what c last decoded nor its Event
// may have been changed since.
func AppendEnrichedFrom(dst []byte, e *metivav1.EnrichedEvent, c *Collected) ([]byte, error) {
	w := writer{b: dst, from: c}
	if !c.isValid {
		w.from = nil
	}
	return w.enriched(e)
}

type writer struct {
	b   []byte
	err error
	// from is what the event was made of; nil: not known.
	from *Collected
}

// enriched appends the record of an event, or nothing.
func (w *writer) enriched(e *metivav1.EnrichedEvent) ([]byte, error) {
	before := w.b
	record := w.begin(1)
	w.event(e)
	w.end(record)
	if w.err != nil {
		return before, w.err
	}
	return w.b, nil
}

// of is what the event was made of.
func (w *writer) of() *metivav1.CollectedEvent {
	if w.from == nil {
		return nil
	}
	return &w.from.Event
}

// head7 writes the fields 1 to 7.
func (w *writer) head7(e *metivav1.EnrichedEvent) {
	if c := w.from; c != nil && c.head != nil && c.isHeadOf(e) {
		w.b = append(w.b, c.head...)
		return
	}
	w.bytes(1, e.GetEventId())
	w.string(2, e.GetCompanyId())
	w.string(3, e.GetBrandId())
	w.string(4, e.GetSiteId())
	w.varint(5, uint64(e.GetType()))
	w.varint(6, uint64(e.GetReceivedAtMs()))
	w.varint(7, uint64(e.GetOccurredAtMs()))
}

// isHeadOf compares the fields that head holds. Where they were carried over, which is
// always but for a test, each comparison is one of two pointers.
func (c *Collected) isHeadOf(e *metivav1.EnrichedEvent) bool {
	own := &c.Event
	return own.GetType() == e.GetType() && own.GetReceivedAtMs() == e.GetReceivedAtMs() && own.GetOccurredAtMs() == e.GetOccurredAtMs() &&
		bytes.Equal(own.GetEventId(), e.GetEventId()) &&
		own.GetCompanyId() == e.GetCompanyId() && own.GetBrandId() == e.GetBrandId() && own.GetSiteId() == e.GetSiteId()
}

// text writes a text that is known to be UTF-8 when it is the same as valid.
func (w *writer) text(number int, v, valid string) {
	if v == "" || v != valid {
		w.string(number, v)
		return
	}
	w.head(number, len(v))
	w.b = append(w.b, v...)
}

func (w *writer) tag(number, wireType int) {
	if number < 16 {
		w.b = append(w.b, byte(number<<3|wireType))
		return
	}
	w.b = append(w.b, byte(number<<3&0x7f|wireType|0x80), byte(number>>4))
}

func (w *writer) varint(number int, v uint64) {
	if v == 0 {
		return
	}
	w.tag(number, varint)
	for v >= 0x80 {
		w.b = append(w.b, byte(v)|0x80)
		v >>= 7
	}
	w.b = append(w.b, byte(v))
}

func (w *writer) bytes(number int, v []byte) {
	if len(v) == 0 {
		return
	}
	w.head(number, len(v))
	w.b = append(w.b, v...)
}

func (w *writer) string(number int, v string) {
	if v == "" {
		return
	}
	if !utf8.ValidString(v) {
		w.err = errText
	}
	w.head(number, len(v))
	w.b = append(w.b, v...)
}

// head is what stands before a delimited field of n bytes. Most are short. It appends
// to w.b itself, as all do: a slice that is made of another is a pointer written, which
// costs more while garbage is collected.
func (w *writer) head(number, n int) {
	switch {
	case n >= 0x80:
		w.b = binary.AppendUvarint(w.b, uint64(number<<3|delimited))
		w.b = binary.AppendUvarint(w.b, uint64(n))
	case number < 16:
		w.b = append(w.b, byte(number<<3|delimited), byte(n))
	default:
		w.b = append(w.b, byte(number<<3&0x7f|delimited|0x80), byte(number>>4), byte(n))
	}
}

func (w *writer) bool(number int, v bool) {
	if v {
		w.tag(number, varint)
		w.b = append(w.b, 1)
	}
}

func (w *writer) float(number int, v float32) {
	bits := math.Float32bits(v)
	if bits == 0 { // the negative zero is written
		return
	}
	w.tag(number, fixed32)
	w.b = binary.LittleEndian.AppendUint32(w.b, bits)
}

// begin starts a message, with room for the length of a short one; end makes the
// length true.
func (w *writer) begin(number int) (from int) {
	w.tag(number, delimited)
	w.b = append(w.b, 0)
	return len(w.b)
}

func (w *writer) end(from int) {
	n := len(w.b) - from
	if n < 0x80 {
		w.b[from-1] = byte(n)
		return
	}
	var length [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(length[:], uint64(n))
	w.b = append(w.b, length[1:size]...)
	copy(w.b[from-1+size:], w.b[from:from+n])
	copy(w.b[from-1:], length[:size])
}

func (w *writer) event(e *metivav1.EnrichedEvent) {
	of := w.of()
	w.head7(e)
	w.varint(8, uint64(e.GetEnrichedAtMs()))
	w.varint(9, uint64(e.GetConsent()))
	w.varint(10, e.GetConsentSeq())
	w.bytes(11, e.GetVisitKey())
	w.bytes(12, e.GetVisitorId())
	w.text(13, e.GetHost(), of.GetHost())
	w.text(14, e.GetPath(), of.GetPath())
	w.text(15, e.GetReferrerHost(), of.GetReferrerHost())
	w.campaign(16, e.GetCampaign(), of.GetCampaign())
	w.varint(17, uint64(e.GetDevice()))
	w.string(18, e.GetBrowserFamily())
	w.string(19, e.GetSystemFamily())
	w.varint(20, uint64(e.GetBot()))
	w.string(21, e.GetCountry())
	w.resolution(22, e.GetResolution())
	w.bytes(23, e.GetSealedAddress())
	w.source(e.GetSource())
	w.text(25, e.GetWriterId(), of.GetWriterId())
	w.varint(26, uint64(e.GetRetentionDays()))
	w.bool(31, e.GetReplayed())
	w.bytes(32, e.GetAcceptanceId())
	w.varint(33, uint64(e.GetChannel()))
	w.string(34, e.GetTrafficSource())
	w.string(35, e.GetRegion())
	w.detail(e) // the generated code writes a oneof last
}

func (w *writer) campaign(number int, c, of *metivav1.Campaign) {
	if c == nil {
		return
	}
	from := w.begin(number)
	w.text(1, c.GetSource(), of.GetSource())
	w.text(2, c.GetMedium(), of.GetMedium())
	w.text(3, c.GetName(), of.GetName())
	w.end(from)
}

func (w *writer) resolution(number int, r *metivav1.Resolution) {
	if r == nil {
		return
	}
	from := w.begin(number)
	w.varint(1, uint64(r.GetVerdict()))
	w.string(2, r.GetAccountId())
	w.string(3, r.GetName())
	w.string(4, r.GetDomain())
	w.float(5, r.GetConfidence())
	w.string(6, r.GetSource())
	w.varint(7, uint64(r.GetAsn()))
	w.varint(8, uint64(r.GetPrefixBits()))
	w.varint(9, uint64(r.GetDatabaseBuildMs()))
	w.varint(10, uint64(r.GetConfirmation()))
	w.end(from)
}

func (w *writer) source(s *metivav1.SourceRef) {
	if s == nil {
		return
	}
	from := w.begin(24)
	w.varint(1, uint64(s.GetPartition()))
	w.varint(2, uint64(s.GetOffset()))
	w.end(from)
}

func (w *writer) detail(e *metivav1.EnrichedEvent) {
	switch d := e.GetDetail().(type) {
	case *metivav1.EnrichedEvent_Engagement:
		from := w.begin(27)
		w.varint(1, uint64(d.Engagement.GetVisibleMs()))
		w.varint(2, uint64(d.Engagement.GetScrollPercent()))
		w.end(from)
	case *metivav1.EnrichedEvent_Click:
		from := w.begin(28)
		w.varint(1, uint64(d.Click.GetKind()))
		w.string(2, d.Click.GetTargetHost())
		w.string(3, d.Click.GetTargetPath())
		w.end(from)
	case *metivav1.EnrichedEvent_FormAction:
		from := w.begin(29)
		w.varint(1, uint64(d.FormAction.GetKind()))
		w.string(2, d.FormAction.GetFormId())
		w.end(from)
	case *metivav1.EnrichedEvent_Custom:
		w.custom(d.Custom)
	}
}

// custom has a map, whose order is the generated code's business.
func (w *writer) custom(c *metivav1.CustomEvent) {
	from := w.begin(30)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(w.b, c)
	if err != nil {
		w.err = fmt.Errorf("encoding a custom event: %w", errText)
		return
	}
	w.b = b
	w.end(from)
}
