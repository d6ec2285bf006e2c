package tcf

import (
	"errors"
	"strings"
	"time"
)

// Limits of a text that is looked at.
const (
	// StringBytesMax is the longest text. A string of 2,000 vendors in three bit
	// fields has 1,000 characters; restrictions are what makes one longer.
	StringBytesMax = 8 << 10
	// SegmentsMax is the most segments: the type has three bits, and none may
	// come twice. The specification knows four.
	SegmentsMax = 8
	// VendorIDMax is the highest vendor id. The Global Vendor List stands at
	// about 1,500 and gains about a hundred a year.
	VendorIDMax VendorID = 1<<14 - 1
	// PurposeMax is the highest purpose a string has room for.
	PurposeMax = 24
)

// Faults of a text. Decode returns exactly one of them.
var (
	ErrTooLong   = errors.New("tcf: the string is longer than the limit")
	ErrAlphabet  = errors.New("tcf: the string is not unpadded base64url in segments")
	ErrVersion   = errors.New("tcf: the string is not of version 2")
	ErrTruncated = errors.New("tcf: the string ends inside a field")
	ErrSegments  = errors.New("tcf: the string has too many segments, or one twice")
	ErrLetters   = errors.New("tcf: a language or country is not two letters")
	ErrVendorID  = errors.New("tcf: a vendor id or range is outside its bounds")
)

// VendorID is a number of the Global Vendor List. Zero is no vendor.
type VendorID uint16

// RestrictionType is what a publisher asks of vendors for a purpose.
type RestrictionType uint8

// The restriction types of the specification. 3 is undefined there.
const (
	RestrictionNotAllowed RestrictionType = iota
	RestrictionRequireConsent
	RestrictionRequireLegitimateInterest
	RestrictionUndefined
)

// String is a decoded TC string. The zero String grants nothing.
type String struct {
	Created, LastUpdated time.Time // UTC, to the tenth of a second
	CMPID, CMPVersion    uint16
	ConsentScreen        uint8
	ConsentLanguage      [2]byte // upper-case letters, ISO 639-1
	VendorListVersion    uint16
	PolicyVersion        uint8
	ServiceSpecific      bool
	NonStandardTexts     bool
	SpecialFeatures      uint16 // special feature 1 is the highest of 12 bits
	PurposeOneTreatment  bool   // purpose 1 was not disclosed
	PublisherCountry     [2]byte
	// DisclosureIncluded says whether there is a segment of disclosed vendors.
	DisclosureIncluded bool

	purposes, purposesLI uint32 // purpose 1 is the highest of 24 bits
	consents, interests  vendorSet
	disclosed            vendorSet
	restrictions         restrictionList
}

// restrictionList is the publisher's restrictions as they stand in the text.
type restrictionList struct {
	text  string
	bit   int
	count int
}

// Segment types. The core has none: it comes first and begins with its version.
const (
	segmentDisclosed = 1
	segmentTypeBits  = 3
)

// Decode reads a TC string.
func Decode(text string) (String, error) {
	if len(text) > StringBytesMax {
		return String{}, ErrTooLong
	}
	core, rest, more := strings.Cut(text, ".")
	if !isAlphabet(core) {
		return String{}, ErrAlphabet
	}
	s, err := decodeCore(core)
	if err != nil {
		return String{}, err
	}
	seen := uint8(1) // of the segment types; type 0 is the core
	for more {
		var segment string
		segment, rest, more = strings.Cut(rest, ".")
		if !isAlphabet(segment) {
			return String{}, ErrAlphabet
		}
		r := reader{text: segment}
		kind := r.take(segmentTypeBits)
		if seen&(1<<kind) != 0 {
			return String{}, ErrSegments
		}
		seen |= 1 << kind
		if kind != segmentDisclosed {
			continue
		}
		s.disclosed = r.vendors()
		s.DisclosureIncluded = true
		if r.err != nil {
			return String{}, r.err
		}
	}
	return s, nil
}

// isAlphabet reports whether a segment is there and of base64url.
func isAlphabet(segment string) bool {
	for i := range len(segment) {
		if _, ok := sextet(segment[i]); !ok {
			return false
		}
	}
	return segment != ""
}

func decodeCore(text string) (String, error) {
	r := reader{text: text}
	if version := r.take(6); version != 2 {
		return String{}, ErrVersion
	}
	var s String
	s.Created = deciseconds(r.take(36))
	s.LastUpdated = deciseconds(r.take(36))
	s.CMPID = uint16(r.take(12))
	s.CMPVersion = uint16(r.take(12))
	s.ConsentScreen = uint8(r.take(6))
	s.ConsentLanguage = r.letters()
	s.VendorListVersion = uint16(r.take(12))
	s.PolicyVersion = uint8(r.take(6))
	s.ServiceSpecific = r.flag()
	s.NonStandardTexts = r.flag()
	s.SpecialFeatures = uint16(r.take(12))
	s.purposes = uint32(r.take(PurposeMax))
	s.purposesLI = uint32(r.take(PurposeMax))
	s.PurposeOneTreatment = r.flag()
	s.PublisherCountry = r.letters()
	s.consents = r.vendors()
	s.interests = r.vendors()
	s.restrictions = r.restrictions()
	if r.err != nil {
		return String{}, r.err
	}
	return s, nil
}

func deciseconds(n uint64) time.Time { return time.UnixMilli(int64(n) * 100).UTC() }

// restrictions walks over the publisher's restrictions and checks them.
func (r *reader) restrictions() restrictionList {
	list := restrictionList{text: r.text, count: int(r.take(12)), bit: r.bit}
	for i := 0; i < list.count && r.err == nil; i++ {
		_, _ = r.restriction()
		r.spansHave(int(r.take(12)), 0)
	}
	return list
}

func (r *reader) restriction() (purpose int, kind RestrictionType) {
	purpose = int(r.take(6))
	return purpose, RestrictionType(r.take(2))
}

// PurposeConsent reports whether the visitor consented to a purpose, from 1.
func (s *String) PurposeConsent(purpose int) bool { return hasPurpose(s.purposes, purpose) }

// PurposeLegitimateInterest reports whether legitimate interest stands for a
// purpose. It never grants anything here; it is kept for the record.
func (s *String) PurposeLegitimateInterest(purpose int) bool {
	return hasPurpose(s.purposesLI, purpose)
}

func hasPurpose(bits uint32, purpose int) bool {
	return purpose >= 1 && purpose <= PurposeMax && bits>>(PurposeMax-purpose)&1 == 1
}

// VendorConsent reports whether the visitor consented to a vendor.
func (s *String) VendorConsent(id VendorID) bool { return s.consents.has(id) }

// VendorLegitimateInterest reports whether legitimate interest stands for a
// vendor.
func (s *String) VendorLegitimateInterest(id VendorID) bool { return s.interests.has(id) }

// VendorDisclosed reports whether the vendor was shown to the visitor; false
// without the segment.
func (s *String) VendorDisclosed(id VendorID) bool { return s.disclosed.has(id) }

// Restricted reports whether the publisher put this restriction on a vendor for
// a purpose.
func (s *String) Restricted(purpose int, kind RestrictionType, id VendorID) bool {
	r := reader{text: s.restrictions.text, bit: s.restrictions.bit}
	found := false
	for range s.restrictions.count {
		p, k := r.restriction()
		if r.spansHave(int(r.take(12)), id) && p == purpose && k == kind {
			found = true
		}
	}
	return found
}
