package seal

import (
	"bytes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Opener opens sealed values with the resolver's private key and the data keys
// of control.keys. It is safe for concurrent use.
type Opener struct {
	resolver PrivateKey

	mu      sync.RWMutex
	keys    map[uint64]*openingKey
	buffers sync.Pool
}

// openingKey is a data key as it stands on control.keys. It is unwrapped when
// it is first needed: a start reads many keys and uses few.
type openingKey struct {
	record   *metivav1.DataKey // nil once destroyed
	unwrap   sync.Once
	aead     cipher.AEAD
	shredded bool
}

// NewOpener returns an Opener that knows no data key yet; feed it with ApplyKey.
func NewOpener(resolver PrivateKey) *Opener {
	return &Opener{
		resolver: resolver,
		keys:     make(map[uint64]*openingKey),
		buffers:  sync.Pool{New: newAADBuffer},
	}
}

// ApplyKey takes one record of control.keys. An empty value destroys the key,
// for good. Records that are not data keys are ignored.
func (o *Opener) ApplyKey(recordKey, value []byte) error {
	id, ok := ParseDataKeyRecordKey(recordKey)
	if !ok {
		return nil
	}
	if len(value) == 0 {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.keys[id] = &openingKey{shredded: true}
		return nil
	}
	var rec metivav1.KeyRecord
	if err := proto.Unmarshal(value, &rec); err != nil {
		return fmt.Errorf("decoding key record %s: %w", recordKey, err)
	}
	data := rec.GetDataKey()
	if data == nil || data.GetKeyId() != id {
		return fmt.Errorf("key record %s does not hold that data key", recordKey)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if known := o.keys[id]; known != nil {
		if known.shredded || bytes.Equal(known.record.GetWrapped(), data.GetWrapped()) {
			return nil
		}
	}
	o.keys[id] = &openingKey{record: data}
	return nil
}

// OpenAddress opens a sealed address. The error is ErrUnknownKey, ErrShredded
// or ErrTampered.
func (o *Opener) OpenAddress(b Binding, blob []byte) (Truncated, error) {
	if b.Field != FieldAddress {
		return Truncated{}, ErrField
	}
	var plain [addressBytes]byte
	out, err := o.open(plain[:0], &b, blob)
	defer clear(plain[:])
	if err != nil {
		return Truncated{}, err
	}
	return truncatedFrom(out)
}

// OpenBytes appends the opened value to dst. The error is ErrUnknownKey,
// ErrShredded or ErrTampered. Dst must not overlap blob.
func (o *Opener) OpenBytes(dst []byte, b Binding, blob []byte) ([]byte, error) {
	if b.Field == FieldAddress || b.Field == "" {
		return dst, ErrField
	}
	return o.open(dst, &b, blob)
}

func (o *Opener) open(dst []byte, b *Binding, blob []byte) ([]byte, error) {
	if len(blob) < Overhead || blob[0] != blobVersion {
		return dst, ErrTampered
	}
	o.mu.RLock()
	key := o.keys[binary.BigEndian.Uint64(blob[1:headerBytes])]
	o.mu.RUnlock()
	switch {
	case key == nil:
		return dst, ErrUnknownKey
	case key.shredded:
		return dst, ErrShredded
	case key.record.GetCompanyId() != b.CompanyID:
		return dst, ErrTampered
	}
	key.unwrap.Do(func() { key.aead = o.unwrapKey(key.record) })
	if key.aead == nil {
		return dst, ErrUnknownKey
	}
	buf := o.buffers.Get().(*aadBuffer)
	defer o.buffers.Put(buf)
	buf.bytes = b.appendTo(buf.bytes[:0])
	out, err := key.aead.Open(dst, nil, blob[headerBytes:], buf.bytes)
	if err != nil {
		return dst, ErrTampered
	}
	return out, nil
}

// unwrapKey returns nil when the record is not for this resolver or was
// changed: its key is then unknown to us.
func (o *Opener) unwrapKey(rec *metivav1.DataKey) cipher.AEAD {
	if id := o.resolver.Public().ID(); string(rec.GetRecipientId()) != string(id[:]) {
		return nil
	}
	raw, err := o.resolver.unwrap(dataKeyInfo(rec), rec.GetWrapped())
	if err != nil || len(raw) != keyBytes {
		return nil
	}
	defer clear(raw)
	aead, err := newAEAD(raw)
	if err != nil {
		return nil
	}
	return aead
}
