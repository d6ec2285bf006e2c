package seal

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	dataKeyPrefix    = "data/"
	subjectKeyPrefix = "subject/"
	saltPrefix       = "salt/"

	keyIDDigits   = 16
	subjectDigits = 32
)

// RecordKeyOf is the key of rec on control.keys: SubjectKeyRecordKey for a key
// of one subject, DataKeyRecordKey for a key of one day.
func RecordKeyOf(rec *metivav1.DataKey) []byte {
	if subject := rec.GetSubjectId(); len(subject) > 0 {
		return subjectRecordKey(rec.GetCompanyId(), subject, rec.GetKeyId())
	}
	return DataKeyRecordKey(rec.GetKeyId())
}

// DataKeyRecordKey is the key of a day key's record on control.keys: "data/"
// and the key id in 16 hex digits.
func DataKeyRecordKey(id uint64) []byte {
	return appendKeyID([]byte(dataKeyPrefix), id)
}

// SubjectKeyRecordKey is the key of a subject key's record on control.keys:
// "subject/<company>/<subject, 32 hex digits>/<key id, 16 hex digits>".
func SubjectKeyRecordKey(companyID string, subjectID [16]byte, id uint64) []byte {
	return subjectRecordKey(companyID, subjectID[:], id)
}

func subjectRecordKey(companyID string, subject []byte, id uint64) []byte {
	out := append([]byte(subjectKeyPrefix), companyID...)
	out = hex.AppendEncode(append(out, '/'), subject)
	return appendKeyID(append(out, '/'), id)
}

func appendKeyID(dst []byte, id uint64) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], id)
	return hex.AppendEncode(dst, raw[:])
}

// SaltRecordKey is the key of a visit salt's record on control.keys:
// "salt/<company>/<day>".
func SaltRecordKey(companyID, day string) []byte {
	return []byte(saltPrefix + companyID + "/" + day)
}

// ParseDataKeyRecordKey reads the key id out of a record key; ok is false for
// records that are not day keys.
func ParseDataKeyRecordKey(key []byte) (id uint64, ok bool) {
	text, found := strings.CutPrefix(string(key), dataKeyPrefix)
	if !found {
		return 0, false
	}
	return parseKeyID(text)
}

// ParseSubjectKeyRecordKey reads tenant, subject and key id out of a record
// key; ok is false for records that are not subject keys.
func ParseSubjectKeyRecordKey(key []byte) (companyID string, subjectID [16]byte, id uint64, ok bool) {
	text, found := strings.CutPrefix(string(key), subjectKeyPrefix)
	parts := strings.Split(text, "/")
	if !found || len(parts) != 3 || parts[0] == "" || len(parts[1]) != subjectDigits || !isLowerHex(parts[1]) {
		return "", [16]byte{}, 0, false
	}
	if id, ok = parseKeyID(parts[2]); !ok {
		return "", [16]byte{}, 0, false
	}
	raw, err := hex.DecodeString(parts[1])
	if err != nil {
		return "", [16]byte{}, 0, false
	}
	return parts[0], [16]byte(raw), id, true
}

// parseKeyID takes the one spelling appendKeyID writes.
func parseKeyID(text string) (uint64, bool) {
	if len(text) != keyIDDigits || !isLowerHex(text) {
		return 0, false
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return 0, false
	}
	return binary.BigEndian.Uint64(raw), true
}

func isLowerHex(text string) bool {
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ParseSaltRecordKey reads company and day out of a record key; ok is false for
// records that are not salts.
func ParseSaltRecordKey(key []byte) (companyID, day string, ok bool) {
	text, found := strings.CutPrefix(string(key), saltPrefix)
	if !found {
		return "", "", false
	}
	companyID, day, ok = strings.Cut(text, "/")
	if !ok || companyID == "" || len(day) != len("2006-01-02") {
		return "", "", false
	}
	return companyID, day, true
}
