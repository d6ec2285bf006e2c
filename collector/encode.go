package collector

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// eventRecord is a CollectedEvent about to be encoded. Its slices are views of the
// request's memory and of the builder's: it is good until the builder is used
// again, and append copies what it holds. A field's zero value is absent, as in
// proto3.
//
// It exists beside the generated type for its texts: those are strings, and a
// string of each would have to be allocated.
type eventRecord struct {
	eventID                        []byte
	owner                          []byte // fields, see ownerFields
	kind                           metivav1.EventType
	receivedAtMs, occurredAtMs     int64
	clientAtMs                     int64
	consent                        metivav1.ConsentState
	consentSeq                     uint64
	consentTextVersion             string
	visitKey, visitorID            []byte
	host, path, referrerHost       []byte
	campaignSource, campaignMedium []byte
	campaignName                   []byte
	sealedAddress, sealedUserAgent []byte
	writer                         []byte // a field
	retentionDays                  uint32
}

// Field numbers of CollectedEvent and Campaign (schemas/proto/metiva/v1).
const (
	fieldEventID            = 1
	fieldCompanyID          = 2
	fieldBrandID            = 3
	fieldSiteID             = 4
	fieldType               = 5
	fieldReceivedAtMs       = 6
	fieldOccurredAtMs       = 7
	fieldClientAtMs         = 8
	fieldConsent            = 9
	fieldConsentSeq         = 10
	fieldConsentTextVersion = 11
	fieldVisitKey           = 12
	fieldVisitorID          = 13
	fieldHost               = 14
	fieldPath               = 15
	fieldReferrerHost       = 16
	fieldCampaign           = 17
	fieldSealedAddress      = 18
	fieldSealedUserAgent    = 19
	fieldWriterID           = 20
	fieldRetentionDays      = 21

	fieldCampaignSource = 1
	fieldCampaignMedium = 2
	fieldCampaignName   = 3
)

var errInvalidText = errors.New("collector: a text of the event is not UTF-8")

// append appends the record to dst: the bytes schemas.Encode makes of the same
// CollectedEvent, in the order of field numbers. Fields of a higher number, such
// as the details of an event type, may be appended behind it. A text that is not
// UTF-8 is an error, as it is there; dst is then of no use.
func (r *eventRecord) append(dst []byte) ([]byte, error) {
	if !r.isText() {
		return dst, errInvalidText
	}
	dst = appendField(dst, fieldEventID, r.eventID)
	dst = append(dst, r.owner...)
	dst = appendNumber(dst, fieldType, uint64(r.kind))
	dst = appendNumber(dst, fieldReceivedAtMs, uint64(r.receivedAtMs))
	dst = appendNumber(dst, fieldOccurredAtMs, uint64(r.occurredAtMs))
	dst = appendNumber(dst, fieldClientAtMs, uint64(r.clientAtMs))
	dst = appendNumber(dst, fieldConsent, uint64(r.consent))
	dst = appendNumber(dst, fieldConsentSeq, r.consentSeq)
	dst = appendField(dst, fieldConsentTextVersion, r.consentTextVersion)
	dst = appendField(dst, fieldVisitKey, r.visitKey)
	dst = appendField(dst, fieldVisitorID, r.visitorID)
	dst = appendField(dst, fieldHost, r.host)
	dst = appendField(dst, fieldPath, r.path)
	dst = appendField(dst, fieldReferrerHost, r.referrerHost)
	dst = r.appendCampaign(dst)
	dst = appendField(dst, fieldSealedAddress, r.sealedAddress)
	dst = appendField(dst, fieldSealedUserAgent, r.sealedUserAgent)
	dst = append(dst, r.writer...)
	return appendNumber(dst, fieldRetentionDays, uint64(r.retentionDays)), nil
}

// appendCampaign leaves a campaign without a value out.
func (r *eventRecord) appendCampaign(dst []byte) []byte {
	size := fieldSize(r.campaignSource) + fieldSize(r.campaignMedium) + fieldSize(r.campaignName)
	if size == 0 {
		return dst
	}
	dst = appendTag(dst, fieldCampaign, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = appendField(dst, fieldCampaignSource, r.campaignSource)
	dst = appendField(dst, fieldCampaignMedium, r.campaignMedium)
	return appendField(dst, fieldCampaignName, r.campaignName)
}

func (r *eventRecord) isText() bool {
	return utf8.Valid(r.host) && utf8.Valid(r.path) && utf8.Valid(r.referrerHost) &&
		utf8.Valid(r.campaignSource) && utf8.Valid(r.campaignMedium) && utf8.Valid(r.campaignName) &&
		utf8.ValidString(r.consentTextVersion)
}

// ownerFields are the fields that say whose an event is, as they stand in its record.
// They are made once for each site: a registration's texts are UTF-8, or it would not
// have been decoded.
func ownerFields(companyID, brandID, siteID string) []byte {
	fields := appendField(nil, fieldCompanyID, companyID)
	fields = appendField(fields, fieldBrandID, brandID)
	return appendField(fields, fieldSiteID, siteID)
}

// fieldSize is how long a field of a number below 16 becomes.
func fieldSize(v []byte) int {
	if len(v) == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(len(v))
}

// appendField appends a field of bytes or text.
func appendField[T string | []byte](dst []byte, number protowire.Number, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	dst = appendTag(dst, number, protowire.BytesType)
	dst = appendVarint(dst, uint64(len(v)))
	return append(dst, v...)
}

// appendNumber appends a field of a varint type.
func appendNumber(dst []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return appendVarint(appendTag(dst, number, protowire.VarintType), v)
}

func appendTag(dst []byte, number protowire.Number, kind protowire.Type) []byte {
	return appendVarint(dst, protowire.EncodeTag(number, kind))
}

// appendVarint has the short case inlined: most tags and lengths are of it.
func appendVarint(dst []byte, v uint64) []byte {
	if v < 0x80 {
		return append(dst, byte(v))
	}
	return protowire.AppendVarint(dst, v)
}
