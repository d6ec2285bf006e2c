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

	"golang.org/x/sync/errgroup"

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

	// spent is far over every limit, and far from the counter's end.
	spent = 1 << 62

	// aheadOfDay is how long before a day its keys are made: Kafka may be away
	// that long around midnight. A stolen process opens that much more.
	aheadOfDay = time.Hour
	// keysAtOnce bounds how many keys wait for Kafka together.
	keysAtOnce = 32
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

	tenants   sync.Map // company id -> *tenantKey
	destroyed sync.Map // record keys of data keys with a tombstone
	buffers   sync.Pool
}

// tenantKey is the current key of one tenant, the one that follows it, and the
// right to make them.
type tenantKey struct {
	current atomic.Pointer[dataKey]
	next    atomic.Pointer[dataKey]
	making  chan struct{} // holds one token
}

type dataKey struct {
	id          uint64
	aead        cipher.AEAD
	notBeforeMs int64 // of a next key; a current one seals whatever the clock does
	notAfterMs  int64
	used        atomic.Uint64
}

// aadBuffer holds additional data while a value is sealed or opened, an address
// while it is opened, and the nonces
// of what is sealed together: one call to the system's randomness for all of them,
// which costs more than the bytes. No nonce stays for a later message: a copy of the
// process, such as a machine restored from a snapshot, would use it too.
type aadBuffer struct {
	bytes   []byte
	address [addressBytes]byte
	nonces  [2 * nonceBytes]byte
}

// drawNonces makes n fresh nonces.
func (b *aadBuffer) drawNonces(n int) {
	_, _ = rand.Read(b.nonces[:n*nonceBytes]) // crypto/rand never returns an error
}

// nonce is the i-th of those drawn.
func (b *aadBuffer) nonce(i int) []byte { return b.nonces[i*nonceBytes : (i+1)*nonceBytes] }

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
	return s.usableKey(companyID) != nil
}

// HasKeyAt is HasKey for a moment the caller knows: the tenant's current key may
// seal then, or HasKey.
func (s *Sealer) HasKeyAt(companyID string, at time.Time) bool {
	if value, ok := s.tenants.Load(companyID); ok {
		if key := value.(*tenantKey).current.Load(); key != nil && at.UnixMilli() < key.notAfterMs && key.used.Load() < s.limit {
			return true
		}
	}
	return s.HasKey(companyID)
}

// Prepare makes sure the tenant has a key for now: when there is none, or its
// day or its messages are over, it makes, wraps and publishes one, and installs
// it once publish has returned. Concurrent calls for a tenant make one key.
func (s *Sealer) Prepare(ctx context.Context, companyID string) error {
	if s.HasKey(companyID) {
		return nil
	}
	slot := s.slot(companyID)
	if err := slot.lock(ctx); err != nil {
		return err
	}
	defer slot.unlock()
	if s.usable(s.keyOf(slot)) {
		return nil
	}
	now := s.now().UTC()
	return s.install(ctx, &slot.current, companyID, now, dayAfter(now))
}

// PrepareAhead makes the next key of every tenant whose current one nears its
// end: from an hour before midnight for the day that comes, and when three
// quarters of the messages are used. A tenant that sealed nothing gets none.
// Call it every minute or so. The error says how many keys were not published
// and wraps the first fault; the next call tries again.
func (s *Sealer) PrepareAhead(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(keysAtOnce)
	var mu sync.Mutex
	var first error
	unpublished := 0
	s.tenants.Range(func(companyID, value any) bool {
		slot := value.(*tenantKey)
		if begin, _ := s.nextDue(slot); begin.IsZero() {
			return true
		}
		group.Go(func() error {
			if err := s.prepareNext(ctx, companyID.(string), slot); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if unpublished++; first == nil {
					first = err
				}
			}
			return nil
		})
		return true
	})
	_ = group.Wait() // the faults are counted above
	if first != nil {
		return fmt.Errorf("making %d data keys ahead: %w", unpublished, first)
	}
	return nil
}

func (s *Sealer) prepareNext(ctx context.Context, companyID string, slot *tenantKey) error {
	if err := slot.lock(ctx); err != nil {
		return err
	}
	defer slot.unlock()
	begin, end := s.nextDue(slot)
	if begin.IsZero() {
		return nil
	}
	return s.install(ctx, &slot.next, companyID, begin, end)
}

// nextDue is when the next key is to begin and to end; zero when none is due.
func (s *Sealer) nextDue(slot *tenantKey) (begin, end time.Time) {
	key := s.keyOf(slot)
	if !s.usable(key) || key.used.Load() == 0 || slot.next.Load() != nil {
		return time.Time{}, time.Time{}
	}
	now := s.now().UTC()
	midnight := dayAfter(now)
	switch {
	case key.used.Load() >= s.limit/4*3:
		return now, midnight
	case now.Add(aheadOfDay).Before(midnight):
		return time.Time{}, time.Time{}
	}
	return midnight, dayAfter(midnight)
}

// dayAfter is the UTC midnight that ends the day of t.
func dayAfter(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, time.UTC)
}

// install makes a key, publishes it and puts it in place.
func (s *Sealer) install(ctx context.Context, place *atomic.Pointer[dataKey], companyID string, begin, end time.Time) error {
	key, rec, err := s.newKey(companyID, nil, begin, end)
	if err != nil {
		return err
	}
	if err := s.publish(ctx, rec); err != nil {
		return fmt.Errorf("publishing data key: %w", err)
	}
	place.Store(key)
	return nil
}

func (k *tenantKey) lock(ctx context.Context) error {
	select {
	case k.making <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for a data key: %w", ctx.Err())
	}
}

func (k *tenantKey) unlock() { <-k.making }

// ApplyKey takes one record of control.keys: a key that was destroyed there
// seals nothing more here. Other records change nothing.
func (s *Sealer) ApplyKey(recordKey, value []byte) {
	id, ok := ParseDataKeyRecordKey(recordKey)
	if _, _, _, ofSubject := ParseSubjectKeyRecordKey(recordKey); len(value) > 0 || !ok && !ofSubject {
		return
	}
	s.destroyed.Store(string(recordKey), struct{}{})
	if !ok {
		return // the key of a subject is dropped with its capture
	}
	s.tenants.Range(func(_, value any) bool {
		slot := value.(*tenantKey)
		for _, place := range []*atomic.Pointer[dataKey]{&slot.current, &slot.next} {
			if key := place.Load(); key != nil && key.id == id {
				key.used.Store(spent) // whoever holds it at this moment seals no more
				place.CompareAndSwap(key, nil)
			}
		}
		return true
	})
}

// Destroyed reports whether ApplyKey has seen the record's tombstone. Such a
// record must not be written again, from a spool for instance: it would bring
// the key back.
func (s *Sealer) Destroyed(recordKey []byte) bool {
	_, ok := s.destroyed.Load(string(recordKey))
	return ok
}

// Forget drops the keys whose day is over, also those of tenants that send
// nothing any more. Call it every minute or so.
func (s *Sealer) Forget() {
	nowMs := s.now().UnixMilli()
	s.tenants.Range(func(_, value any) bool {
		slot := value.(*tenantKey)
		for _, place := range []*atomic.Pointer[dataKey]{&slot.current, &slot.next} {
			if key := place.Load(); key != nil && nowMs >= key.notAfterMs {
				place.CompareAndSwap(key, nil)
			}
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
	return s.seal(dst, &b, a.v.get().plain[:])
}

// SealBytes appends plaintext, sealed, to dst: Overhead more bytes. ErrNoKey
// asks for Prepare. Plaintext must not overlap dst. A form's values are not for
// it, but for a SubjectKey.
func (s *Sealer) SealBytes(dst []byte, b Binding, plaintext []byte) ([]byte, error) {
	// A free value must never open as an address.
	if b.Field == FieldAddress || b.Field == "" || b.ofSubject() {
		return dst, ErrField
	}
	if err := b.check(); err != nil {
		return dst, err
	}
	return s.seal(dst, &b, plaintext)
}

// SealVisitor appends a visitor's sealed address to address, and to agent the
// sealed user agent, unless that is empty: what SealAddress and SealBytes do
// with the same event's binding, whose Field says nothing here, at the cost of
// one look for the key. Both are sealed under the same key or neither is.
func (s *Sealer) SealVisitor(address, agent []byte, b Binding, a Address, userAgent []byte) (sealedAddress, sealedAgent []byte, err error) {
	b.Field = FieldAddress
	if err := b.check(); err != nil {
		return address, agent, err
	}
	if !a.IsValid() {
		return address, agent, ErrInvalidAddress
	}
	messages := uint64(1)
	if len(userAgent) > 0 {
		messages++
	}
	key := s.usableKey(b.CompanyID)
	if key == nil || key.used.Add(messages) > s.limit {
		return address, agent, ErrNoKey
	}
	buf := s.buffers.Get().(*aadBuffer)
	buf.drawNonces(int(messages))
	address = key.seal(address, &b, a.v.get().plain[:], buf, buf.nonce(0))
	if len(userAgent) > 0 {
		b.Field = FieldUserAgent
		agent = key.seal(agent, &b, userAgent, buf, buf.nonce(1))
	}
	s.buffers.Put(buf)
	return address, agent, nil
}

func (s *Sealer) seal(dst []byte, b *Binding, plaintext []byte) ([]byte, error) {
	return s.sealUnder(s.usableKey(b.CompanyID), dst, b, plaintext)
}

// sealUnder seals under a key that was usable a moment ago; nil: there is none.
func (s *Sealer) sealUnder(key *dataKey, dst []byte, b *Binding, plaintext []byte) ([]byte, error) {
	if key == nil || key.used.Add(1) > s.limit {
		return dst, ErrNoKey
	}
	buf := s.buffers.Get().(*aadBuffer)
	buf.drawNonces(1)
	dst = key.seal(dst, b, plaintext, buf, buf.nonce(0))
	s.buffers.Put(buf)
	return dst, nil
}

// seal appends one blob. Its message is counted already, and its nonce fresh.
func (k *dataKey) seal(dst []byte, b *Binding, plaintext []byte, buf *aadBuffer, nonce []byte) []byte {
	dst = append(dst, blobVersion)
	dst = binary.BigEndian.AppendUint64(dst, k.id)
	dst = append(dst, nonce...)
	buf.bytes = b.appendTo(buf.bytes[:0])
	return k.aead.Seal(dst, nonce, plaintext, buf.bytes)
}

// usableKey is the tenant's key if it may seal now, else nil. It looks at the
// clock once where the current key does.
func (s *Sealer) usableKey(companyID string) *dataKey {
	value, ok := s.tenants.Load(companyID)
	if !ok {
		return nil
	}
	slot := value.(*tenantKey)
	if key := slot.current.Load(); s.usable(key) {
		return key
	}
	if key := s.keyOf(slot); s.usable(key) {
		return key
	}
	return nil
}

// keyOf is the current key, or the next one where its time has come.
func (s *Sealer) keyOf(slot *tenantKey) *dataKey {
	key := slot.current.Load()
	if s.usable(key) {
		return key
	}
	next := slot.next.Load()
	if next == nil || s.now().UnixMilli() < next.notBeforeMs {
		return key
	}
	slot.current.CompareAndSwap(key, next)
	slot.next.CompareAndSwap(next, nil)
	return slot.current.Load()
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
	block, err := aes.NewCipher(raw[:])
	if err != nil {
		return nil, nil, fmt.Errorf("making data key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
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
	return &dataKey{id: rec.KeyId, aead: aead, notBeforeMs: rec.NotBeforeMs, notAfterMs: rec.NotAfterMs}, rec, nil
}
