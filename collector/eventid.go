package collector

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/metiva-io/metiva/schemas"
)

const idTextBytes = 36

// parseID reads a UUID of version 7 (RFC 9562) in its text form.
func parseID(text []byte) (id [schemas.IDBytes]byte, ok bool) {
	if len(text) != idTextBytes || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return id, false
	}
	var digits [2 * schemas.IDBytes]byte
	n := copy(digits[:], text[:8])
	n += copy(digits[n:], text[9:13])
	n += copy(digits[n:], text[14:18])
	n += copy(digits[n:], text[19:23])
	copy(digits[n:], text[24:])
	if _, err := hex.Decode(id[:], digits[:]); err != nil {
		return [schemas.IDBytes]byte{}, false
	}
	if id[6]>>4 != 7 || id[8]>>6 != 0b10 {
		return [schemas.IDBytes]byte{}, false
	}
	return id, true
}

// newID makes a UUID of version 7 for an event whose client has no script.
func newID(now time.Time) (id [schemas.IDBytes]byte) {
	_, _ = rand.Read(id[6:]) // crypto/rand never returns an error
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}
