package seal

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

const (
	dataKeyPrefix = "data/"
	saltPrefix    = "salt/"
)

// DataKeyRecordKey is the key of a data key's record on control.keys:
// "data/" and the key id in 16 hex digits.
func DataKeyRecordKey(id uint64) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], id)
	return hex.AppendEncode([]byte(dataKeyPrefix), raw[:])
}

// SaltRecordKey is the key of a visit salt's record on control.keys:
// "salt/<company>/<day>".
func SaltRecordKey(companyID, day string) []byte {
	return []byte(saltPrefix + companyID + "/" + day)
}

// ParseDataKeyRecordKey reads the key id out of a record key; ok is false for
// records that are not data keys.
func ParseDataKeyRecordKey(key []byte) (id uint64, ok bool) {
	text, found := strings.CutPrefix(string(key), dataKeyPrefix)
	if !found || len(text) != 16 {
		return 0, false
	}
	raw, err := hex.DecodeString(text)
	if err != nil {
		return 0, false
	}
	return binary.BigEndian.Uint64(raw), true
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
