package seal

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// resealMax bounds how many messages one process seals under a subject's key. A
// capture has some dozens of fields and a replay seals them again, so it is never
// reached; 4,000 processes that reach it are still at 2^32 messages, where NIST
// SP 800-38D ends.
const resealMax = 1 << 20

// ResealField appends plaintext to dst, sealed under the key that sealed blob:
// Overhead more bytes. The binding is a PersonField of the same subject, whose key it
// is: a value that was opened is never kept under another. The error is ErrUnknownKey,
// ErrShredded, ErrTampered where the key is not this subject's, ErrField or
// ErrBinding; ErrNoKey when this process has used the key too often. Once ApplyKey has
// taken the key's destruction, nothing is sealed. Plaintext must not overlap dst.
func (o *Opener) ResealField(dst []byte, b Binding, blob, plaintext []byte) ([]byte, error) {
	if !b.ofPerson() {
		return dst, ErrField
	}
	if err := b.check(); err != nil {
		return dst, err
	}
	key, err := o.lockKey(nil, &b, blob)
	if err != nil {
		return dst, err
	}
	defer key.mu.RUnlock()
	if key.resealed.Add(1) > resealMax {
		return dst, ErrNoKey
	}
	buf := o.buffers.Get().(*aadBuffer)
	defer o.buffers.Put(buf)
	buf.bytes = b.appendTo(buf.bytes[:0])
	dst = append(dst, blob[:headerBytes]...)
	return key.aead.Seal(dst, nil, plaintext, buf.bytes), nil
}

// ApplyKeySince is ApplyKey for a process that opens a capture while it is on its way
// only: it leaves out the keys of subjects that were made before since, of which there
// are many.
func (o *Opener) ApplyKeySince(since time.Time, recordKey, value []byte) error {
	if _, _, _, ofSubject := ParseSubjectKeyRecordKey(recordKey); ofSubject && len(value) > 0 {
		var rec metivav1.KeyRecord
		if proto.Unmarshal(value, &rec) == nil && rec.GetDataKey() != nil && rec.GetDataKey().GetNotBeforeMs() < since.UnixMilli() {
			return nil
		}
	}
	return o.ApplyKey(recordKey, value)
}

// ForgetSubjectKeys drops the keys of subjects that were made before a time, and
// returns how many: what they sealed has the error ErrUnknownKey from then on. Those
// that were destroyed stay, so that the answer stays ErrShredded.
func (o *Opener) ForgetSubjectKeys(before time.Time) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	forgotten := 0
	for id, key := range o.keys {
		key.mu.RLock()
		old := len(key.record.GetSubjectId()) > 0 && key.record.GetNotBeforeMs() < before.UnixMilli()
		key.mu.RUnlock()
		if old {
			delete(o.keys, id)
			forgotten++
		}
	}
	return forgotten
}
