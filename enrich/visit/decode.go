package visit

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// fields goes through the fields of a message.
type fields struct {
	b      []byte
	number protowire.Number
	kind   protowire.Type
	value  uint64 // of a varint or a fixed64
	bytes  []byte // of a delimited field
	bad    bool
}

// next reads one field; false at the end or where there is none.
func (f *fields) next() bool {
	if len(f.b) == 0 || f.bad {
		return false
	}
	var n int
	f.number, f.kind, n = protowire.ConsumeTag(f.b)
	if n < 0 {
		f.bad = true
		return false
	}
	f.b = f.b[n:]
	switch f.kind {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(f.b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(f.b)
	case protowire.Fixed64Type:
		f.value, n = protowire.ConsumeFixed64(f.b)
	default:
		n = protowire.ConsumeFieldValue(f.number, f.kind, f.b)
	}
	if n < 0 {
		f.bad = true
		return false
	}
	f.b = f.b[n:]
	return true
}

// is reports whether the field has that number and wire type. One with another type is
// not known, as the generated code has it.
func (f *fields) is(number protowire.Number, kind protowire.Type) bool {
	return f.number == number && f.kind == kind
}

// id is a field of 16 bytes.
func (f *fields) id() ID {
	if len(f.bytes) != schemas.IDBytes {
		f.bad = true
		return ID{}
	}
	return ID(f.bytes)
}

func (f *fields) string() string {
	if !utf8.Valid(f.bytes) {
		f.bad = true
		return ""
	}
	return string(f.bytes)
}

// state is a record of visits.state as far as it has been read: a journal, or a
// checkpoint.
type state struct {
	epoch               uint64
	journal, checkpoint []byte
}

func readState(value []byte) (state, error) {
	var s state
	f := fields{b: value}
	for f.next() {
		switch {
		case f.is(stateEpoch, protowire.VarintType):
			s.epoch = f.value
		case f.is(stateJournal, protowire.BytesType):
			f.bad = s.journal != nil // nobody writes two
			s.journal = f.bytes
		case f.is(stateCheckpoint, protowire.BytesType):
			f.bad = s.checkpoint != nil
			s.checkpoint = f.bytes
		}
	}
	if f.bad || (s.journal == nil) == (s.checkpoint == nil) {
		return state{}, errJournal
	}
	return s, nil
}

// unpack reads the value of a journal's record. Nothing that it holds is trusted
// beyond its own length.
func unpack(value []byte) (*journal, error) {
	s, err := readState(value)
	if err != nil || s.journal == nil {
		return nil, errJournal
	}
	return journalOf(s.journal)
}

// folding is what a record says of what was folded away.
type folding struct {
	visit, campaign []byte
	toMs, visibleMs int64
	toID            []byte
}

func journalOf(b []byte) (*journal, error) {
	j := &journal{}
	var folded folding
	var hasKey bool
	var visitor []byte
	f := fields{b: b}
	var spans, count int
	for f.next() {
		switch {
		case f.is(journalEntry, protowire.BytesType):
			count++
		case f.is(journalSpan, protowire.BytesType):
			spans++
		case f.is(journalKey, protowire.BytesType):
			j.who.Key, hasKey = f.id(), true
		}
	}
	if f.bad || !hasKey {
		return nil, errJournal
	}
	j.entries, j.spans = make([]row, 0, count), make([]span, 0, spans)
	for f = (fields{b: b}); f.next(); {
		switch {
		case f.is(journalCompany, protowire.BytesType):
			j.who.CompanyID = f.string()
		case f.is(journalBrand, protowire.BytesType):
			j.who.BrandID = f.string()
		case f.is(journalSite, protowire.BytesType):
			j.who.SiteID = f.string()
		case f.is(journalVisitor, protowire.BytesType):
			visitor = f.bytes
		case f.is(journalConsentSeq, protowire.VarintType):
			j.consentSeq = f.value
		case f.is(journalApplied, protowire.VarintType):
			j.applied = int64(f.value)
		case f.is(journalReceived, protowire.VarintType):
			j.lastReceivedMs = int64(f.value)
		case f.is(journalRules, protowire.Fixed64Type):
			j.rules = f.value
		default:
			if !j.readPart(&f) && !folded.read(&f) {
				continue // a field of later versions
			}
		}
	}
	if f.bad || len(visitor) != 0 && string(visitor) != string(j.who.Key[:]) {
		return nil, errJournal
	}
	j.who.IsVisitor = len(visitor) > 0
	if !j.setFolded(&folded) || !j.isWhole() {
		return nil, errJournal
	}
	j.id = j.who.journalID()
	return j, nil
}

// readPart reads one of the parts of which there are many; false for another field.
func (j *journal) readPart(f *fields) bool {
	switch {
	case f.is(journalText, protowire.BytesType):
		f.bad = f.bad || len(j.ends) == numbersMax || !utf8.Valid(f.bytes)
		j.texts = append(j.texts, f.bytes...)
		j.ends = append(j.ends, uint32(len(j.texts)))
	case f.is(journalResolution, protowire.BytesType):
		r := &metivav1.Resolution{}
		f.bad = f.bad || len(j.resolutions) == numbersMax || proto.Unmarshal(f.bytes, r) != nil
		j.resolutions = append(j.resolutions, r)
	case f.is(journalEntry, protowire.BytesType):
		var r row
		f.bad = f.bad || !readEntry(&r, f.bytes, &j.who.Key)
		j.entries = append(j.entries, r)
	case f.is(journalSpan, protowire.BytesType):
		var sp span
		in := fields{b: f.bytes}
		for in.next() {
			switch {
			case in.is(spanEntries, protowire.VarintType):
				sp.n = int(uint32(in.value))
			case in.is(spanOffset, protowire.VarintType):
				sp.offset = int64(in.value)
			}
		}
		f.bad = f.bad || in.bad
		j.spans = append(j.spans, sp)
	default:
		return false
	}
	return true
}

func (d *folding) read(f *fields) bool {
	switch {
	case f.is(journalFolded, protowire.BytesType):
		f.bad = f.bad || d.visit != nil // nobody writes two
		d.visit = f.bytes
	case f.is(journalFoldedToMs, protowire.VarintType):
		d.toMs = int64(f.value)
	case f.is(journalFoldedToID, protowire.BytesType):
		d.toID = f.bytes
	case f.is(journalVisibleTo, protowire.VarintType):
		d.visibleMs = int64(f.value)
	case f.is(journalFoldedCampaign, protowire.BytesType):
		f.bad = f.bad || d.campaign != nil
		d.campaign = f.bytes
	default:
		return false
	}
	return true
}

// readEntry reads a row, whose numbers are looked at later (isWhole).
func readEntry(r *row, b []byte, key *ID) bool {
	r.visitKey = *key
	after, hasID := int64(0), false
	f := fields{b: b}
	for f.next() {
		switch f.kind {
		case protowire.VarintType:
			if f.number == entryReceivedAfter {
				after = protowire.DecodeZigZag(f.value)
				continue
			}
			if !r.set(f.number, f.value) {
				return false
			}
		case protowire.BytesType:
			switch f.number {
			case entryID:
				r.id, hasID = f.id(), true
			case entryVisitKey:
				if len(f.bytes) > 0 {
					r.visitKey = f.id()
				}
			}
		}
	}
	r.receivedMs = r.atMs + after
	return !f.bad && hasID && r.offset >= 0
}

// set sets a number of the row; false for one that is beyond all bounds.
func (r *row) set(number protowire.Number, v uint64) bool {
	switch number {
	case entryAt:
		r.atMs = int64(v)
	case entryOffset:
		r.offset = int64(v)
	case entryType:
		r.kind = metivav1.EventType(v)
	case entryConsent:
		r.consent = metivav1.ConsentState(v)
	case entryChannel:
		r.channel = metivav1.Channel(v)
	case entryVisibleMs:
		r.visibleMs = uint32(v)
	case entryScroll:
		r.scrollPercent = uint32(v)
	case entryClick:
		r.click = metivav1.ClickKind(v)
	case entryForm:
		r.form = metivav1.FormActionKind(v)
	case entryDevice:
		r.device = metivav1.DeviceClass(v)
	case entryRetention:
		r.retentionDays = uint32(v)
	case entryResolution:
		r.resolution = uint16(v)
		return v <= numbersMax
	default:
		if at := textOf(number); at >= 0 {
			r.texts[at] = uint16(v)
			return v <= numbersMax
		}
	}
	return true
}

// textOf is the place of the text of a field in a row, or -1.
func textOf(number protowire.Number) int {
	switch number {
	case entryHost:
		return textHost
	case entryPath:
		return textPath
	case entryReferrer:
		return textReferrer
	case entrySource:
		return textSource
	case entryCampaignSource:
		return textCampaignSource
	case entryCampaignMedium:
		return textCampaignMedium
	case entryCampaignName:
		return textCampaignName
	case entryName:
		return textName
	case entryBrowser:
		return textBrowser
	case entrySystem:
		return textSystem
	case entryCountry:
		return textCountry
	case entryRegion:
		return textRegion
	}
	return -1
}

// isWhole reports whether the parts of a journal that was read fit each other.
func (j *journal) isWhole() bool {
	if j.who.CompanyID == "" || j.who.SiteID == "" || j.applied < 0 {
		return false
	}
	for i := range j.entries {
		r := &j.entries[i]
		for _, n := range r.texts {
			if int(n) > len(j.ends) {
				return false
			}
		}
		if int(r.resolution) > len(j.resolutions) || i > 0 && !j.entries[i-1].position().before(r.position()) {
			return false
		}
	}
	left := len(j.entries)
	for i, sp := range j.spans {
		if sp.n > left || sp.n == 0 && (i > 0 || j.folded == nil) || sp.offset < 0 {
			return false
		}
		left -= sp.n
	}
	return left == 0 && (j.folded == nil || len(j.spans) > 0)
}

// setFolded makes the visit so far of what a record says; false when it is not whole.
func (j *journal) setFolded(d *folding) bool {
	if len(d.toID) == 0 {
		return d.visit == nil
	}
	if len(d.toID) != schemas.IDBytes {
		return false
	}
	j.foldedTo = &position{atMs: d.toMs, id: ID(d.toID)}
	if d.visit == nil {
		return true
	}
	v, c := &metivav1.Visit{}, &metivav1.Campaign{}
	if proto.Unmarshal(d.visit, v) != nil || proto.Unmarshal(d.campaign, c) != nil ||
		len(v.GetVisitId()) != schemas.IDBytes || len(v.GetVisitKey()) != schemas.IDBytes {
		return false
	}
	j.folded = &base{
		tail: tail{
			visibleToMs: d.visibleMs, viewed: v.GetPageViews() > 0,
			campaign: Campaign{c.GetSource(), c.GetMedium(), c.GetName()},
		},
		sum: sum{v: v, touches: source.Touches{First: touchOf(v.GetFirstTouch()), Last: touchOf(v.GetLastTouch())}},
	}
	v.FirstTouch, v.LastTouch = nil, nil
	return true
}

// open makes the entries of a packed journal usable under the site's rules.
func (j *journal) open(r *Rules) error {
	if j.packed == nil {
		return nil
	}
	full, err := unpack(j.packed)
	if err != nil {
		return err
	}
	j.packed = nil
	j.rows, j.spans, j.rules = full.rows, full.spans, full.rules
	j.folded, j.foldedTo = full.folded, full.foldedTo
	j.retail(r)
	return nil
}

// retail computes the tail anew, from the last span.
func (j *journal) retail(r *Rules) {
	if len(j.spans) == 0 {
		return
	}
	last := len(j.spans) - 1
	rows, read := j.entries[len(j.entries)-j.spans[last].n:], j.read()
	from := j.baseOf(last)
	j.tail = tail{}
	if from != nil {
		j.tail = from.tail
		j.tail.midnightMs = r.midnightAfter(from.sum.startedMs())
	}
	var e Entry
	for i := range rows {
		read.entry(&e, &rows[i])
		if i == 0 && from == nil {
			j.tail.first(r, &e)
		}
		j.tail.next(&e)
	}
	j.tail.campaign = j.tail.campaign.clone()
}

// close forgets what a packed journal does not need.
func (j *journal) close(packed []byte) {
	j.packed = packed
	j.rows, j.spans, j.only, j.tail, j.folded, j.foldedTo = rows{}, nil, [1]span{}, tail{}, nil, nil
}
