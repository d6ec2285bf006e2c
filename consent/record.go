package consent

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	// RecordSchemaVersion is the version of the record and of its encoding. A
	// field that is added to the record is added to the encoding under the next.
	RecordSchemaVersion = 1

	// LawfulBasisConsent is the lawful basis of every record.
	LawfulBasisConsent = "consent"
	// PurposeAnalytics is the purpose a token grants.
	PurposeAnalytics = "analytics"
	// PurposeIdentification is the purpose of a consented form.
	PurposeIdentification = "identification"
	// ChannelPage is a withdrawal by the visitor on the site.
	ChannelPage = "page"

	recordDomain = "metiva consent record v1"
)

// Hash is a SHA-256.
type Hash [sha256.Size]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// RecordKey is the key of a record on consent.records: "<company>/<subject in
// hex>".
func RecordKey(companyID string, subject []byte) []byte {
	return hex.AppendEncode([]byte(companyID+"/"), subject)
}

// RecordHash is the SHA-256 of a record in the encoding doc.go describes. It
// covers every field but record_sha256, and does not depend on how protobuf
// writes the record.
func RecordHash(rec *metivav1.ConsentRecord) Hash {
	w := recordWriter{hash: sha256.New()}
	w.text(recordDomain)
	w.bytes(rec.GetRecordId())
	w.number(uint64(rec.GetSchemaVersion()))
	w.text(rec.GetCompanyId())
	w.text(rec.GetSiteId())
	w.bytes(rec.GetSubjectId())
	w.number(rec.GetSequence())
	w.number(uint64(rec.GetState()))
	w.length(len(rec.GetPurposes()))
	for _, purpose := range rec.GetPurposes() {
		w.text(purpose)
	}
	w.text(rec.GetTextVersion())
	w.bytes(rec.GetTextSha256())
	w.text(rec.GetLanguage())
	w.text(rec.GetSource())
	w.text(rec.GetRawSignal())
	w.number(uint64(rec.GetGivenAtMs()))
	w.number(uint64(rec.GetExpiresAtMs()))
	w.bytes(rec.GetPreviousSha256())
	w.text(rec.GetLawfulBasis())
	w.number(uint64(rec.GetKind()))
	w.text(rec.GetUiVariant())
	w.text(rec.GetCmpId())
	w.text(rec.GetCmpVersion())
	w.number(rec.GetPolicyVersion())
	w.bytes(rec.GetEvidenceEventId())
	w.text(rec.GetWithdrawalChannel())
	w.text(rec.GetChainId())
	w.number(rec.GetChainPosition())
	return Hash(w.hash.Sum(nil))
}

// recordWriter writes the canonical encoding into a hash, which takes every
// write.
type recordWriter struct{ hash hash.Hash }

func (w recordWriter) length(n int) {
	_, _ = w.hash.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
}

func (w recordWriter) bytes(b []byte) {
	w.length(len(b))
	_, _ = w.hash.Write(b)
}

func (w recordWriter) text(s string) { w.bytes([]byte(s)) }

func (w recordWriter) number(n uint64) {
	_, _ = w.hash.Write(binary.BigEndian.AppendUint64(nil, n))
}

// Why a record cannot be read. The errors hold nothing of the record.
var (
	ErrRecordEncoding = errors.New("consent: the record cannot be decoded")
	ErrRecordVersion  = errors.New("consent: the record is of another schema version or has unknown fields")
	ErrRecordField    = errors.New("consent: a field every record has is missing or not of its length")
)

// ReadRecord decodes the value of a record on consent.records.
func ReadRecord(value []byte) (*metivav1.ConsentRecord, error) {
	rec := &metivav1.ConsentRecord{}
	if err := proto.Unmarshal(value, rec); err != nil {
		return nil, ErrRecordEncoding // the library's error quotes the input
	}
	return rec, checkRecord(rec)
}

// ReadRecordJSON decodes a record as WriteRecordJSON writes it.
func ReadRecordJSON(line []byte) (*metivav1.ConsentRecord, error) {
	rec := &metivav1.ConsentRecord{}
	if err := protojson.Unmarshal(line, rec); err != nil {
		return nil, ErrRecordEncoding
	}
	return rec, checkRecord(rec)
}

// WriteRecordJSON writes a record as one line of JSON in protobuf's mapping, for
// people and other programs; the hash of what is read back is the same.
func WriteRecordJSON(rec *metivav1.ConsentRecord) ([]byte, error) {
	out, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("writing a consent record: %w", err)
	}
	return out, nil
}

func checkRecord(rec *metivav1.ConsentRecord) error {
	switch {
	case rec.GetSchemaVersion() != RecordSchemaVersion, len(rec.ProtoReflect().GetUnknown()) > 0:
		return ErrRecordVersion
	case rec.GetCompanyId() == "", rec.GetChainId() == "", rec.GetChainPosition() == 0,
		len(rec.GetRecordId()) != IDBytes, len(rec.GetSubjectId()) != IDBytes, len(rec.GetRecordSha256()) != len(Hash{}),
		rec.GetChainPosition() == 1 != (len(rec.GetPreviousSha256()) == 0),
		len(rec.GetPreviousSha256()) != 0 && len(rec.GetPreviousSha256()) != len(Hash{}):
		return ErrRecordField
	}
	return nil
}

// IsLanguage reports whether a language tag has the form of BCP 47: letters and
// digits in parts of one to eight, the first of two or three letters.
func IsLanguage(tag string) bool {
	const tagBytesMax, partBytesMax, primaryMin, primaryMax = 35, 8, 2, 3
	if len(tag) > tagBytesMax {
		return false
	}
	part, parts := 0, 0
	for i := 0; i <= len(tag); i++ {
		if i < len(tag) && tag[i] != '-' {
			if !isLetter(tag[i]) && (parts == 0 || !isDigit(tag[i])) {
				return false
			}
			part++
			continue
		}
		if part == 0 || part > partBytesMax || parts == 0 && (part < primaryMin || part > primaryMax) {
			return false
		}
		part, parts = 0, parts+1
	}
	return true
}
