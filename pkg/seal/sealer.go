package seal

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	blobVersion = 1
	headerBytes = 1 + 8 // version, key id
	nonceBytes  = 12
	tagBytes    = 16
	// Overhead is how much longer a blob is than what it seals, in bytes.
	Overhead = headerBytes + nonceBytes + tagBytes
	// SealedAddressBytes is the length of every sealed address.
	SealedAddressBytes = addressBytes + Overhead

	// messagesMax keeps random 96-bit nonces far from a collision (NIST
	// SP 800-38D allows 2^32 messages per key).
	messagesMax = 1 << 30
)

// PublishKey makes a wrapped data key durable on control.keys. It returns when
// the record is acknowledged.
type PublishKey func(ctx context.Context, rec *metivav1.DataKey) error

// Sealer seals values under the data key of their tenant and day. It is safe
// for concurrent use.
type Sealer struct {
	resolver PublicKey
	writerID string
	publish  PublishKey
	now      func() time.Time
	limit    uint64 // messages per key

	tenants sync.Map // company id -> *tenantKey
	buffers sync.Pool
}

// tenantKey is the current key of one tenant and the right to make the next.
type tenantKey struct {
	current atomic.Pointer[dataKey]
	making  chan struct{} // holds one token
}

type dataKey struct {
	id         uint64
	aead       cipher.AEAD
	notAfterMs int64
	used       atomic.Uint64
}

// aadBuffer holds additional data while a value is sealed or opened.
type aadBuffer struct{ bytes []byte }

func newAADBuffer() any { return &aadBuffer{bytes: make([]byte, 0, 160)} }

// NewSealer returns a Sealer that wraps its keys to resolver. WriterID names
// the collector process in the key records.
func NewSealer(resolver PublicKey, writerID string, publish PublishKey, now func() time.Time) (*Sealer, error) {
	var faults []error
	if resolver.IsZero() {
		faults = append(faults, errors.New("seal: the resolver's public key is missing"))
	}
	if writerID == "" {
		faults = append(faults, errors.New("seal: the writer id is empty"))
	}
	if publish == nil || now == nil {
		faults = append(faults, errors.New("seal: publish and now must be set"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return &Sealer{
		resolver: resolver, writerID: writerID, publish: publish, now: now, limit: messagesMax,
		buffers: sync.Pool{New: newAADBuffer},
	}, nil
}

// HasKey reports whether the tenant has a key that may seal now.
func (s *Sealer) HasKey(companyID string) bool {
	return s.usable(s.lookup(companyID))
}

// Prepare makes sure the tenant has a key for now: when there is none, or its
// day or its messages are over, it makes, wraps and publishes one, and installs
// it once publish has returned. Concurrent calls for a tenant make one key.
func (s *Sealer) Prepare(ctx context.Context, companyID string) error {
	if s.HasKey(companyID) {
		return nil
	}
	slot := s.slot(companyID)
	select {
	case slot.making <- struct{}{}:
		defer func() { <-slot.making }()
	case <-ctx.Done():
		return fmt.Errorf("waiting for a data key: %w", ctx.Err())
	}
	if s.usable(slot.current.Load()) {
		return nil
	}
	now := s.now().UTC()
	midnight := time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, time.UTC)
	key, rec, err := s.newKey(companyID, nil, now, midnight)
	if err != nil {
		return err
	}
	if err := s.publish(ctx, rec); err != nil {
		return fmt.Errorf("publishing data key: %w", err)
	}
	slot.current.Store(key)
	return nil
}

// Forget drops the keys whose day is over, also those of tenants that send
// nothing any more. Call it every minute or so.
func (s *Sealer) Forget() {
	nowMs := s.now().UnixMilli()
	s.tenants.Range(func(_, value any) bool {
		slot := value.(*tenantKey)
		if key := slot.current.Load(); key != nil && nowMs >= key.notAfterMs {
			slot.current.CompareAndSwap(key, nil)
		}
		return true
	})
}

// SealAddress appends the sealed address to dst: SealedAddressBytes. ErrNoKey
// asks for Prepare. It does not allocate when dst has the capacity.
func (s *Sealer) SealAddress(dst []byte, b Binding, a Address) ([]byte, error) {
	if b.Field != FieldAddress {
		return dst, ErrField
	}
	if err := b.check(); err != nil {
		return dst, err
	}
	if !a.IsValid() {
		return dst, ErrInvalidAddress
	}
	return s.seal(dst, &b, a.v.get().bytes[:])
}

// SealBytes appends plaintext, sealed, to dst: Overhead more bytes. ErrNoKey
// asks for Prepare. Plaintext must not overlap dst. A form's values are not for
// it, but for a SubjectKey.
func (s *Sealer) SealBytes(dst []byte, b Binding, plaintext []byte) ([]byte, error) {
	// A free value must never open as an address.
	if b.Field == FieldAddress || b.Field == "" || b.ofForm() {
		return dst, ErrField
	}
	if err := b.check(); err != nil {
		return dst, err
	}
	return s.seal(dst, &b, plaintext)
}

func (s *Sealer) seal(dst []byte, b *Binding, plaintext []byte) ([]byte, error) {
	return s.sealUnder(s.lookup(b.CompanyID), dst, b, plaintext)
}

func (s *Sealer) sealUnder(key *dataKey, dst []byte, b *Binding, plaintext []byte) ([]byte, error) {
	if !s.usable(key) || key.used.Add(1) > s.limit {
		return dst, ErrNoKey
	}
	dst = append(dst, blobVersion)
	dst = binary.BigEndian.AppendUint64(dst, key.id)
	buf := s.buffers.Get().(*aadBuffer)
	buf.bytes = b.appendTo(buf.bytes[:0])
	dst = key.aead.Seal(dst, nil, plaintext, buf.bytes)
	s.buffers.Put(buf)
	return dst, nil
}

func (s *Sealer) lookup(companyID string) *dataKey {
	value, ok := s.tenants.Load(companyID)
	if !ok {
		return nil
	}
	return value.(*tenantKey).current.Load()
}

func (s *Sealer) slot(companyID string) *tenantKey {
	if value, ok := s.tenants.Load(companyID); ok {
		return value.(*tenantKey)
	}
	value, _ := s.tenants.LoadOrStore(companyID, &tenantKey{making: make(chan struct{}, 1)})
	return value.(*tenantKey)
}

func (s *Sealer) usable(key *dataKey) bool {
	return key != nil && s.now().UnixMilli() < key.notAfterMs && key.used.Load() < s.limit
}

// newKey makes a key that seals from begin until before end, and the record
// to publish before it does. Without a subject it is a day's key.
func (s *Sealer) newKey(companyID string, subject []byte, begin, end time.Time) (*dataKey, *metivav1.DataKey, error) {
	var raw [keyBytes]byte
	defer clear(raw[:])
	var idBytes [8]byte
	_, _ = rand.Read(raw[:]) // crypto/rand never returns an error
	_, _ = rand.Read(idBytes[:])
	aead, err := newAEAD(raw[:])
	if err != nil {
		return nil, nil, fmt.Errorf("making data key: %w", err)
	}
	recipient := s.resolver.ID()
	rec := &metivav1.DataKey{
		KeyId:       binary.BigEndian.Uint64(idBytes[:]),
		CompanyId:   companyID,
		WriterId:    s.writerID,
		RecipientId: recipient[:],
		NotBeforeMs: begin.UnixMilli(),
		NotAfterMs:  end.UnixMilli(),
		SubjectId:   subject,
	}
	rec.Wrapped, err = s.resolver.wrap(dataKeyInfo(rec), raw[:])
	if err != nil {
		return nil, nil, fmt.Errorf("wrapping data key: %w", err)
	}
	return &dataKey{id: rec.KeyId, aead: aead, notAfterMs: rec.NotAfterMs}, rec, nil
}

// newAEAD is AES-256-GCM that makes its own random nonces.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
