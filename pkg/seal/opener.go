package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Opener opens sealed values with the resolver's private keys and the data keys
// of control.keys. It is safe for concurrent use.
type Opener struct {
	resolvers map[[8]byte]PrivateKey // by recipient id

	mu      sync.RWMutex
	keys    map[uint64]*openingKey
	buffers sync.Pool
}

// openingKey is a data key as it stands on control.keys. It is unwrapped when
// it is first needed: a start reads many keys and uses few. It is locked while
// it opens a value, so that nothing opens once its destruction has been applied.
type openingKey struct {
	recordKey string

	mu       sync.RWMutex
	record   *metivav1.DataKey // nil once destroyed
	aead     cipher.AEAD       // nil until unwrapped
	foreign  bool              // cannot be unwrapped here
	shredded bool

	resealed atomic.Uint32 // messages ResealField has sealed here
}

// NewOpener returns an Opener that knows no data key yet; feed it with ApplyKey.
// The resolver's former private keys open what was sealed before it got the
// current one.
func NewOpener(current PrivateKey, former ...PrivateKey) *Opener {
	o := &Opener{
		resolvers: make(map[[8]byte]PrivateKey, 1+len(former)),
		keys:      make(map[uint64]*openingKey),
		buffers:   sync.Pool{New: newAADBuffer},
	}
	for _, k := range append(former, current) {
		o.resolvers[k.Public().ID()] = k
	}
	return o
}

// ApplyKey takes one record of control.keys. An empty value destroys the key,
// for good: once ApplyKey has returned, nothing sealed under it opens. Records
// that are not data keys are ignored.
func (o *Opener) ApplyKey(recordKey, value []byte) error {
	id, ok := ParseDataKeyRecordKey(recordKey)
	if !ok {
		if _, _, id, ok = ParseSubjectKeyRecordKey(recordKey); !ok {
			return nil
		}
	}
	if len(value) == 0 {
		return o.destroy(id, recordKey)
	}
	var rec metivav1.KeyRecord
	if err := proto.Unmarshal(value, &rec); err != nil {
		return fmt.Errorf("decoding the record of data key %016x: %w", id, err)
	}
	data := rec.GetDataKey()
	if data == nil || data.GetKeyId() != id || !bytes.Equal(RecordKeyOf(data), recordKey) {
		return fmt.Errorf("the record of data key %016x does not hold that key", id)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.keys[id]
	if known == nil {
		o.keys[id] = &openingKey{recordKey: string(recordKey), record: data}
		return nil
	}
	if known.recordKey != string(recordKey) {
		return errTaken(id)
	}
	known.replace(data)
	return nil
}

// errTaken is about two records that chose the same random id.
func errTaken(id uint64) error {
	return fmt.Errorf("the id of data key %016x is taken by another record", id)
}

// ApplyDayKey is ApplyKey for a process that opens no form's values: it leaves
// the keys of subjects out, which are many and not its business.
func (o *Opener) ApplyDayKey(recordKey, value []byte) error {
	if _, ok := ParseDataKeyRecordKey(recordKey); !ok {
		return nil
	}
	return o.ApplyKey(recordKey, value)
}

func (o *Opener) destroy(id uint64, recordKey []byte) error {
	o.mu.Lock()
	known := o.keys[id]
	if known == nil {
		o.keys[id] = &openingKey{recordKey: string(recordKey), shredded: true}
	}
	o.mu.Unlock()
	if known == nil {
		return nil
	}
	if known.recordKey != string(recordKey) {
		return errTaken(id)
	}
	known.mu.Lock()
	defer known.mu.Unlock()
	known.record, known.aead, known.shredded = nil, nil, true
	return nil
}

// replace takes a later record of the same key, such as one wrapped anew.
func (k *openingKey) replace(data *metivav1.DataKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shredded || bytes.Equal(k.record.GetWrapped(), data.GetWrapped()) {
		return
	}
	k.record, k.aead, k.foreign = data, nil, false
}

// OpenAddress opens a sealed address. The error is ErrUnknownKey, ErrShredded
// or ErrTampered; ErrField or ErrBinding for a binding that is not an address's.
func (o *Opener) OpenAddress(b Binding, blob []byte) (Truncated, error) {
	if b.Field != FieldAddress {
		return Truncated{}, ErrField
	}
	// What is opened flows into an interface, so a variable here would be an
	// allocation for each address.
	buf := o.buffers.Get().(*aadBuffer)
	defer func() {
		clear(buf.address[:])
		o.buffers.Put(buf)
	}()
	out, err := o.open(buf.address[:0], &b, blob)
	if err != nil {
		return Truncated{}, err
	}
	return truncatedFrom(out)
}

// OpenBytes appends the opened value to dst. The error is ErrUnknownKey,
// ErrShredded or ErrTampered; ErrField for an address or a form's value. Dst
// must not overlap blob.
func (o *Opener) OpenBytes(dst []byte, b Binding, blob []byte) ([]byte, error) {
	if b.Field == FieldAddress || b.Field == "" || b.ofSubject() {
		return dst, ErrField
	}
	return o.open(dst, &b, blob)
}

// OpenField is OpenBytes for a person's value, which names its subject: a form's, or
// one that ResealField sealed.
func (o *Opener) OpenField(dst []byte, b Binding, blob []byte) ([]byte, error) {
	if !b.ofSubject() {
		return dst, ErrField
	}
	return o.open(dst, &b, blob)
}

func (o *Opener) open(dst []byte, b *Binding, blob []byte) ([]byte, error) {
	if err := b.check(); err != nil {
		return dst, err
	}
	key, err := o.lockKey(nil, b, blob)
	if err != nil {
		return dst, err
	}
	buf := o.buffers.Get().(*aadBuffer)
	defer o.buffers.Put(buf)
	return key.openLocked(buf, dst, b, blob)
}

// openLocked opens a value and lets go of the key's read lock.
func (k *openingKey) openLocked(buf *aadBuffer, dst []byte, b *Binding, blob []byte) ([]byte, error) {
	defer k.mu.RUnlock()
	buf.bytes = b.appendTo(buf.bytes[:0])
	out, err := k.aead.Open(dst, nil, blob[headerBytes:], buf.bytes)
	if err != nil {
		return dst, ErrTampered
	}
	return out, nil
}

// find is the key with an id; nil when it is not known.
func (o *Opener) find(id uint64) *openingKey {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.keys[id]
}

// lockKey finds the key that sealed blob, unwrapped, and holds its read lock when
// there is no error. In an opening it is found without a lock if it was lately.
func (o *Opener) lockKey(in *Opening, b *Binding, blob []byte) (*openingKey, error) {
	if len(blob) < Overhead || blob[0] != blobVersion {
		return nil, ErrTampered
	}
	id := binary.BigEndian.Uint64(blob[1:headerBytes])
	var key *openingKey
	if in != nil {
		key = in.find(o, id)
	} else {
		key = o.find(id)
	}
	if key == nil {
		return nil, ErrUnknownKey
	}
	key.mu.RLock()
	for key.isWrapped() && key.isFor(b) {
		key.mu.RUnlock()
		o.unwrap(key)
		key.mu.RLock()
	}
	var err error
	switch {
	case key.shredded:
		err = ErrShredded
	case !key.isFor(b):
		err = ErrTampered
	case key.aead == nil:
		err = ErrUnknownKey
	default:
		return key, nil
	}
	key.mu.RUnlock()
	return nil, err
}

// isFor reports whether a value of the binding may be sealed under the key: a
// person's value under a key of its subject, any other under a day's key.
func (k *openingKey) isFor(b *Binding) bool {
	if k.record.GetCompanyId() != b.CompanyID {
		return false
	}
	subject := k.record.GetSubjectId()
	if b.ofSubject() {
		return bytes.Equal(subject, b.SubjectID[:])
	}
	return len(subject) == 0
}

// isWrapped reports whether the key has yet to be unwrapped. Call it under lock.
func (k *openingKey) isWrapped() bool { return !k.shredded && !k.foreign && k.aead == nil }

// unwrap makes the key ready. A record that is not for this resolver, or was
// changed, leaves it foreign: the key is unknown to us.
func (o *Opener) unwrap(key *openingKey) {
	key.mu.Lock()
	defer key.mu.Unlock()
	if !key.isWrapped() {
		return
	}
	key.foreign = true
	resolver, ok := o.resolvers[recipientOf(key.record)]
	if !ok {
		return
	}
	raw, err := resolver.unwrap(dataKeyInfo(key.record), key.record.GetWrapped())
	if err != nil || len(raw) != keyBytes {
		return
	}
	defer clear(raw)
	if aead, err := newAEAD(raw); err == nil {
		key.aead, key.foreign = aead, false
	}
}

// recipientOf is the id of the resolver key a record is wrapped to; no key has
// the zero id.
func recipientOf(rec *metivav1.DataKey) (id [8]byte) {
	if raw := rec.GetRecipientId(); len(raw) == len(id) {
		id = [8]byte(raw)
	}
	return id
}

// newAEAD is AES-256-GCM that reads the nonce in front of what it opens.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
