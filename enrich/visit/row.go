package visit

import (
	"bytes"
	"slices"
	"unsafe"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Places of an entry's texts in a row, in the order of Entry.texts.
const (
	textHost = iota
	textPath
	textReferrer
	textSource
	textCampaignSource
	textCampaignMedium
	textCampaignName
	textName
	textBrowser
	textSystem
	textCountry
	textRegion
	textFields
)

// row is an entry as a journal holds it. It has no pointers: texts and resolution are
// numbers of those of the journal, from 1 on, and 0 is none. So a journal is a few
// pieces of memory that the collector of garbage need not look into.
type row struct {
	id, visitKey                            ID
	atMs, receivedMs, offset                int64
	kind                                    metivav1.EventType
	consent                                 metivav1.ConsentState
	channel                                 metivav1.Channel
	click                                   metivav1.ClickKind
	form                                    metivav1.FormActionKind
	device                                  metivav1.DeviceClass
	visibleMs, scrollPercent, retentionDays uint32
	texts                                   [textFields]uint16
	resolution                              uint16
}

// rowBytes is what a row takes.
const rowBytes = int64(unsafe.Sizeof(row{}))

// numbersMax is how many texts or resolutions a journal may have: its bounds keep it
// far below (fold).
const numbersMax = 1<<16 - 1

// textScan is how many of the last texts a new one is compared with. A text that is
// there twice costs its bytes, and is counted.
const textScan = 64

// rows are the entries of an open journal, in order, with what they refer to.
type rows struct {
	entries     []row
	texts       []byte   // one behind the other
	ends        []uint32 // of each text
	resolutions []*metivav1.Resolution
}

// text is the n-th text, from 1 on.
func (r *rows) text(n uint16) []byte {
	from := uint32(0)
	if n > 1 {
		from = r.ends[n-2]
	}
	return r.texts[from:r.ends[n-1]]
}

// number finds a text or adds it. near is the number that the text had in the entry
// before, most likely again.
func (r *rows) number(text string, near uint16) uint16 {
	if text == "" {
		return 0
	}
	if near != 0 && string(r.text(near)) == text {
		return near
	}
	for n := len(r.ends); n > max(len(r.ends)-textScan, 0); n-- {
		if known := r.text(uint16(n)); string(known) == text {
			return uint16(n)
		}
	}
	if r.ends == nil {
		r.texts, r.ends = make([]byte, 0, 192), make([]uint32, 0, 16)
	}
	r.texts = append(r.texts, text...)
	r.ends = append(r.ends, uint32(len(r.texts)))
	return uint16(len(r.ends))
}

// resolution finds an equal resolution or adds it.
func (r *rows) resolution(of *metivav1.Resolution, near uint16) uint16 {
	if of == nil {
		return 0
	}
	if near != 0 && sameResolution(r.resolutions[near-1], of) {
		return near
	}
	for i, known := range r.resolutions {
		if known == of || sameResolution(known, of) {
			return uint16(i + 1)
		}
	}
	r.resolutions = append(r.resolutions, of)
	return uint16(len(r.resolutions))
}

// rowOf is the entry as a row; its texts and its resolution are numbered.
func (r *rows) rowOf(e *Entry) row {
	var near *row
	if n := len(r.entries); n > 0 {
		near = &r.entries[n-1]
	} else {
		near = &row{}
	}
	out := row{
		id: e.ID, visitKey: e.VisitKey, atMs: e.AtMs, receivedMs: e.ReceivedMs, offset: e.Offset,
		kind: e.Type, consent: e.Consent, channel: e.Channel, click: e.Click, form: e.Form, device: e.Device,
		visibleMs: e.VisibleMs, scrollPercent: e.ScrollPercent, retentionDays: e.RetentionDays,
		resolution: r.resolution(e.Resolution, near.resolution),
	}
	for i, text := range e.texts() {
		if *text != "" {
			out.texts[i] = r.number(*text, near.texts[i])
		}
	}
	return out
}

// reading makes entries of rows. Their texts are parts of one copy.
type reading struct {
	*rows
	copied string
}

func (r *rows) read() reading { return reading{rows: r, copied: string(r.texts)} }

func (r *reading) string(n uint16) string {
	if n == 0 {
		return ""
	}
	from := uint32(0)
	if n > 1 {
		from = r.ends[n-2]
	}
	return r.copied[from:r.ends[n-1]]
}

// entry writes the entry of a row.
func (r *reading) entry(e *Entry, from *row) {
	*e = Entry{
		ID: from.id, VisitKey: from.visitKey, AtMs: from.atMs, ReceivedMs: from.receivedMs, Offset: from.offset,
		Type: from.kind, Consent: from.consent, Channel: from.channel, Click: from.click, Form: from.form, Device: from.device,
		VisibleMs: from.visibleMs, ScrollPercent: from.scrollPercent, RetentionDays: from.retentionDays,
	}
	for i, text := range e.texts() {
		*text = r.string(from.texts[i])
	}
	if from.resolution != 0 {
		e.Resolution = r.resolutions[from.resolution-1]
	}
}

// all are the entries of all rows.
func (r *rows) all() []Entry {
	read := r.read()
	out := make([]Entry, len(r.entries))
	for i := range out {
		read.entry(&out[i], &r.entries[i])
	}
	return out
}

// add puts a row at the end.
func (r *rows) add(e *Entry) {
	if r.entries == nil {
		r.entries = make([]row, 0, 4)
	}
	r.entries = append(r.entries, r.rowOf(e))
}

// insert puts a row at a place.
func (r *rows) insert(at int, e *Entry) { r.entries = slices.Insert(r.entries, at, r.rowOf(e)) }

// remove takes rows away, and the texts and resolutions that no other has.
func (r *rows) remove(from, to int) {
	r.entries = slices.Delete(r.entries, from, to)
	kept := r.all()
	*r = rows{entries: make([]row, 0, max(len(kept), 4))}
	for i := range kept {
		r.add(&kept[i])
	}
}

// textBytes is about what texts and resolutions take in a record.
func (r *rows) textBytes() int { return len(r.texts) + resolutionBytes*len(r.resolutions) }

// bytes is about what the rows take.
func (r *rows) bytes() int64 {
	return int64(cap(r.entries))*rowBytes + int64(cap(r.texts)) + 4*int64(cap(r.ends)) + resolutionBytes*int64(len(r.resolutions))
}

// find is the place of the row with an id, or -1.
func (r *rows) find(id *ID) int {
	for i := len(r.entries) - 1; i >= 0; i-- {
		if r.entries[i].id == *id {
			return i
		}
	}
	return -1
}

// position is the row's place in the order of entries.
func (r *row) position() position { return position{atMs: r.atMs, id: r.id} }

// before orders positions by time, then by id.
func (p position) before(other position) bool {
	if p.atMs != other.atMs {
		return p.atMs < other.atMs
	}
	return bytes.Compare(p.id[:], other.id[:]) < 0
}
