package eventwire

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// slabEvents is how many events' memory is made at once.
const slabEvents = 256

// Enriched is the memory of the events of a batch, used again for the next batch. It
// must not be copied, and belongs to one goroutine at a time.
type Enriched struct {
	texts texts
	slabs [][]enriched
	used  int
}

// enriched is the memory of one event.
type enriched struct {
	event        metivav1.EnrichedEvent
	campaign     metivav1.Campaign
	resolution   metivav1.Resolution
	source       metivav1.SourceRef
	engagement   metivav1.Engagement
	click        metivav1.Click
	form         metivav1.FormAction
	ofEngagement metivav1.EnrichedEvent_Engagement
	ofClick      metivav1.EnrichedEvent_Click
	ofForm       metivav1.EnrichedEvent_FormAction
}

// Reset gives the memory of all events back; what Decode returned before must not be
// used any more. Of more than keep events the memory is let go.
func (m *Enriched) Reset(keep int) {
	m.used = 0
	if slabs := (keep + slabEvents - 1) / slabEvents; len(m.slabs) > slabs {
		clear(m.slabs[slabs:])
		m.slabs = m.slabs[:slabs]
	}
}

// next is the memory of the next event.
func (m *Enriched) next() *enriched {
	if m.used == len(m.slabs)*slabEvents {
		m.slabs = append(m.slabs, make([]enriched, slabEvents))
	}
	e := &m.slabs[m.used/slabEvents][m.used%slabEvents]
	m.used++
	return e
}

// Decode reads the value of a record on events.enriched as proto.Unmarshal would:
// an event, a drop, or neither. The event is valid until Reset; its byte fields share
// the memory of value. The error's text may quote what was read.
func (m *Enriched) Decode(value []byte) (*metivav1.EnrichedEvent, *metivav1.Drop, error) {
	e := m.next()
	if e.isPlain(value, &m.texts) {
		return &e.event, nil, nil
	}
	m.used--
	var record metivav1.EnrichedRecord
	if err := proto.Unmarshal(value, &record); err != nil {
		return nil, nil, fmt.Errorf("decoding a record of events.enriched: %w", err)
	}
	return record.GetEvent(), record.GetDrop(), nil
}

// enrichedOneof are the bits of the fields that exclude each other.
const enrichedOneof = 1<<27 | 1<<28 | 1<<29 | 1<<30

// isPlain reads the plain form, and reports whether value has it: one event and
// nothing beside it.
func (x *enriched) isPlain(value []byte, t *texts) bool {
	outer := reader{b: value, texts: t}
	if outer.tag() != 1<<3|delimited {
		return false
	}
	r := outer.message()
	if outer.bad || outer.more() {
		return false
	}
	// Not Reset, which also stores the type of the message, as whatever needs it does.
	x.event = metivav1.EnrichedEvent{}
	e := &x.event
	for r.more() {
		switch tag := r.tag(); tag {
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
			e.EnrichedAtMs = int64(r.varint())
		case 9<<3 | varint:
			e.Consent = metivav1.ConsentState(r.varint())
		case 10<<3 | varint:
			e.ConsentSeq = r.varint()
		case 11<<3 | delimited:
			e.VisitKey = r.bytes()
		case 12<<3 | delimited:
			e.VisitorId = r.bytes()
		case 13<<3 | delimited:
			e.Host = r.name()
		case 14<<3 | delimited:
			e.Path = r.string()
		default:
			if !x.readFurther(tag, &r) {
				return false
			}
		}
		if detail := r.seen & enrichedOneof; detail&(detail-1) != 0 {
			return false // two that exclude each other
		}
	}
	return !r.bad
}

// readFurther reads the fields after the fourteenth.
func (x *enriched) readFurther(tag uint64, r *reader) bool {
	e := &x.event
	switch tag {
	case 15<<3 | delimited:
		e.ReferrerHost = r.name()
	case 16<<3 | delimited:
		e.Campaign = readEnrichedCampaign(&x.campaign, r)
	case 17<<3 | varint:
		e.Device = metivav1.DeviceClass(r.varint())
	case 18<<3 | delimited:
		e.BrowserFamily = r.name()
	case 19<<3 | delimited:
		e.SystemFamily = r.name()
	case 20<<3 | varint:
		e.Bot = metivav1.BotClass(r.varint())
	case 21<<3 | delimited:
		e.Country = r.name()
	case 22<<3 | delimited:
		e.Resolution = readResolution(&x.resolution, r)
	case 23<<3 | delimited:
		e.SealedAddress = r.bytes()
	case 24<<3 | delimited:
		e.Source = readSource(&x.source, r)
	case 25<<3 | delimited:
		e.WriterId = r.name()
	case 26<<3 | varint:
		e.RetentionDays = uint32(r.varint())
	case 27<<3 | delimited:
		x.ofEngagement.Engagement = readEngagement(&x.engagement, r)
		e.Detail = &x.ofEngagement
	case 28<<3 | delimited:
		x.ofClick.Click = readClick(&x.click, r)
		e.Detail = &x.ofClick
	case 29<<3 | delimited:
		x.ofForm.FormAction = readForm(&x.form, r)
		e.Detail = &x.ofForm
	case 31<<3 | varint:
		e.Replayed = r.varint() != 0
	case 32<<3 | delimited:
		e.AcceptanceId = r.bytes()
	case 33<<3 | varint:
		e.Channel = metivav1.Channel(r.varint())
	case 34<<3 | delimited:
		e.TrafficSource = r.name()
	case 35<<3 | delimited:
		e.Region = r.name()
	default:
		return false // unknown, or a map behind it
	}
	return true
}

func readEnrichedCampaign(m *metivav1.Campaign, outer *reader) *metivav1.Campaign {
	*m = metivav1.Campaign{}
	r := outer.message()
	for r.more() {
		switch r.tag() {
		case 1<<3 | delimited:
			m.Source = r.name()
		case 2<<3 | delimited:
			m.Medium = r.name()
		case 3<<3 | delimited:
			m.Name = r.name()
		default:
			r.bad = true
		}
	}
	outer.bad = outer.bad || r.bad
	return m
}

func readResolution(m *metivav1.Resolution, outer *reader) *metivav1.Resolution {
	*m = metivav1.Resolution{}
	r := outer.message()
	for r.more() {
		switch r.tag() {
		case 1<<3 | varint:
			m.Verdict = metivav1.Verdict(r.varint())
		case 2<<3 | delimited:
			m.AccountId = r.name()
		case 3<<3 | delimited:
			m.Name = r.name()
		case 4<<3 | delimited:
			m.Domain = r.name()
		case 5<<3 | fixed32:
			m.Confidence = r.float()
		case 6<<3 | delimited:
			m.Source = r.name()
		case 7<<3 | varint:
			m.Asn = uint32(r.varint())
		case 8<<3 | varint:
			m.PrefixBits = uint32(r.varint())
		case 9<<3 | varint:
			m.DatabaseBuildMs = int64(r.varint())
		case 10<<3 | varint:
			m.Confirmation = metivav1.Confirmation(r.varint())
		default:
			r.bad = true
		}
	}
	outer.bad = outer.bad || r.bad
	return m
}

func readSource(m *metivav1.SourceRef, outer *reader) *metivav1.SourceRef {
	*m = metivav1.SourceRef{}
	r := outer.message()
	for r.more() {
		switch r.tag() {
		case 1<<3 | varint:
			m.Partition = int32(r.varint())
		case 2<<3 | varint:
			m.Offset = int64(r.varint())
		default:
			r.bad = true
		}
	}
	outer.bad = outer.bad || r.bad
	return m
}
