package visit

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// errJournal says nothing of what it read.
var errJournal = errors.New("visit: not a valid journal")

// Numbers of the fields of VisitState, VisitJournal, VisitEntry and VisitSpan that are
// written and read by hand. Each is what its name says in visit.proto; a test compares
// both with the generated code.
const (
	stateJournal, stateCheckpoint, stateEpoch = 1, 2, 3

	journalCompany, journalBrand, journalSite, journalKey, journalVisitor = 1, 2, 3, 4, 5
	journalConsentSeq, journalApplied, journalReceived                    = 6, 7, 8
	journalText, journalResolution, journalEntry, journalSpan             = 9, 10, 11, 12
	journalFolded, journalFoldedToMs, journalFoldedToID, journalVisibleTo = 13, 14, 15, 16
	journalFoldedCampaign, journalRules                                   = 17, 18
	entryID, entryAt, entryReceivedAfter, entryOffset, entryType          = 1, 2, 3, 4, 5
	entryConsent, entryHost, entryPath, entryReferrer, entryChannel       = 6, 7, 8, 9, 10
	entrySource, entryCampaignSource, entryCampaignMedium                 = 11, 12, 13
	entryCampaignName, entryVisibleMs, entryScroll, entryClick, entryForm = 14, 15, 16, 17, 18
	entryName, entryDevice, entryBrowser, entrySystem, entryCountry       = 19, 20, 21, 22, 23
	entryRegion, entryResolution, entryVisitKey, entryRetention           = 24, 25, 26, 27
	spanEntries, spanOffset                                               = 1, 2
)

// pack writes an open journal as the value of its record. Its memory is as large as
// the record; buffer is reused, and given back.
func (j *journal) pack(buffer []byte) (value, reused []byte, err error) {
	w := writer{b: buffer[:0]}
	w.journal(j)
	if w.err != nil {
		return nil, w.b, fmt.Errorf("encoding a journal: %w", errJournal) // a text that is not UTF-8 would be quoted
	}
	value = make([]byte, 0, protowire.SizeTag(stateJournal)+protowire.SizeBytes(len(w.b)))
	return protowire.AppendBytes(protowire.AppendTag(value, stateJournal, protowire.BytesType), w.b), w.b, nil
}

// writer appends fields as the generated code does: none that is zero.
type writer struct {
	b   []byte
	err error
}

// tag is what stands before a field; numbers are below 2,048.
func (w *writer) tag(number protowire.Number, kind protowire.Type) {
	if number < 16 {
		w.b = append(w.b, byte(number)<<3|byte(kind))
		return
	}
	w.b = append(w.b, byte(number<<3)&0x7f|byte(kind)|0x80, byte(number>>4))
}

func (w *writer) varint(number protowire.Number, v uint64) {
	if v == 0 {
		return
	}
	w.tag(number, protowire.VarintType)
	for v >= 0x80 {
		w.b = append(w.b, byte(v)|0x80)
		v >>= 7
	}
	w.b = append(w.b, byte(v))
}

func (w *writer) bytes(number protowire.Number, v []byte) {
	switch n := len(v); {
	case n >= 0x80:
		w.b = protowire.AppendBytes(protowire.AppendTag(w.b, number, protowire.BytesType), v)
	case n > 0:
		w.tag(number, protowire.BytesType)
		w.b = append(w.b, byte(n))
		w.b = append(w.b, v...)
	}
}

func (w *writer) string(number protowire.Number, v string) {
	if v != "" {
		w.b = protowire.AppendString(protowire.AppendTag(w.b, number, protowire.BytesType), v)
	}
}

// begin starts a message, with room for the length of a short one; end makes it true.
func (w *writer) begin(number protowire.Number) int {
	w.tag(number, protowire.BytesType)
	w.b = append(w.b, 0)
	return len(w.b)
}

func (w *writer) end(from int) {
	n := len(w.b) - from
	if n < 0x80 {
		w.b[from-1] = byte(n)
		return
	}
	size := protowire.SizeVarint(uint64(n))
	w.b = append(w.b, make([]byte, size-1)...)
	copy(w.b[from-1+size:], w.b[from:from+n])
	protowire.AppendVarint(w.b[:from-1], uint64(n))
}

func (w *writer) journal(j *journal) {
	w.string(journalCompany, j.who.CompanyID)
	w.string(journalBrand, j.who.BrandID)
	w.string(journalSite, j.who.SiteID)
	w.bytes(journalKey, j.who.Key[:])
	if j.who.IsVisitor {
		w.bytes(journalVisitor, j.who.Key[:])
	}
	w.varint(journalConsentSeq, j.consentSeq)
	w.varint(journalApplied, uint64(j.applied))
	w.varint(journalReceived, uint64(j.lastReceivedMs))
	for n := range j.ends {
		w.bytes(journalText, j.text(uint16(n+1)))
	}
	for _, r := range j.resolutions {
		b, err := eventwire.AppendResolution(w.b, journalResolution, r)
		if err != nil {
			w.err = err
		}
		w.b = b
	}
	for i := range j.entries {
		w.entry(&j.entries[i], &j.who.Key)
	}
	for _, sp := range j.spans {
		from := w.begin(journalSpan)
		w.varint(spanEntries, uint64(sp.n))
		w.varint(spanOffset, uint64(sp.offset))
		w.end(from)
	}
	w.folded(j)
	if j.rules != 0 {
		w.b = protowire.AppendFixed64(protowire.AppendTag(w.b, journalRules, protowire.Fixed64Type), j.rules)
	}
}

func (w *writer) folded(j *journal) {
	if j.folded != nil {
		w.message(journalFolded, j.folded.message())
	}
	if j.foldedTo != nil {
		w.varint(journalFoldedToMs, uint64(j.foldedTo.atMs))
		w.bytes(journalFoldedToID, j.foldedTo.id[:])
	}
	if b := j.folded; b != nil {
		w.varint(journalVisibleTo, uint64(b.tail.visibleToMs))
		w.message(journalFoldedCampaign, &metivav1.Campaign{Source: b.tail.campaign.Source, Medium: b.tail.campaign.Medium, Name: b.tail.campaign.Name})
	}
}

// message is the visit so far, as a journal's record has it.
func (b *base) message() *metivav1.Visit {
	m := proto.CloneOf(b.sum.v)
	m.FirstTouch, m.LastTouch = touchMessage(&b.sum.touches.First), touchMessage(&b.sum.touches.Last)
	return m
}

func (w *writer) message(number protowire.Number, m proto.Message) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		w.err = errJournal
		return
	}
	w.b = protowire.AppendBytes(protowire.AppendTag(w.b, number, protowire.BytesType), b)
}

func (w *writer) entry(r *row, key *ID) {
	from := w.begin(journalEntry)
	w.bytes(entryID, r.id[:])
	w.varint(entryAt, uint64(r.atMs))
	w.varint(entryReceivedAfter, protowire.EncodeZigZag(r.receivedMs-r.atMs))
	w.varint(entryOffset, uint64(r.offset))
	w.varint(entryType, uint64(r.kind))
	w.varint(entryConsent, uint64(r.consent))
	w.varint(entryHost, uint64(r.texts[textHost]))
	w.varint(entryPath, uint64(r.texts[textPath]))
	w.varint(entryReferrer, uint64(r.texts[textReferrer]))
	w.varint(entryChannel, uint64(r.channel))
	w.varint(entrySource, uint64(r.texts[textSource]))
	w.varint(entryCampaignSource, uint64(r.texts[textCampaignSource]))
	w.varint(entryCampaignMedium, uint64(r.texts[textCampaignMedium]))
	w.varint(entryCampaignName, uint64(r.texts[textCampaignName]))
	w.varint(entryVisibleMs, uint64(r.visibleMs))
	w.varint(entryScroll, uint64(r.scrollPercent))
	w.varint(entryClick, uint64(r.click))
	w.varint(entryForm, uint64(r.form))
	w.varint(entryName, uint64(r.texts[textName]))
	w.varint(entryDevice, uint64(r.device))
	w.varint(entryBrowser, uint64(r.texts[textBrowser]))
	w.varint(entrySystem, uint64(r.texts[textSystem]))
	w.varint(entryCountry, uint64(r.texts[textCountry]))
	w.varint(entryRegion, uint64(r.texts[textRegion]))
	w.varint(entryResolution, uint64(r.resolution))
	if r.visitKey != *key {
		w.bytes(entryVisitKey, r.visitKey[:])
	}
	w.varint(entryRetention, uint64(r.retentionDays))
	w.end(from)
}

// sameResolution compares every field; a test holds that it does.
func sameResolution(a, b *metivav1.Resolution) bool {
	return a == b || a.GetVerdict() == b.GetVerdict() && a.GetAccountId() == b.GetAccountId() && a.GetName() == b.GetName() && a.GetDomain() == b.GetDomain() &&
		a.GetConfidence() == b.GetConfidence() && a.GetSource() == b.GetSource() && a.GetAsn() == b.GetAsn() &&
		a.GetPrefixBits() == b.GetPrefixBits() && a.GetDatabaseBuildMs() == b.GetDatabaseBuildMs() && a.GetConfirmation() == b.GetConfirmation()
}
