package seal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	// tombstonesAtOnce bounds how many tombstones wait for Kafka together.
	tombstonesAtOnce = 64
	// destroyRounds is how often Destroy reads the topic: to learn the keys, to see
	// their tombstones there, and again for keys published meanwhile.
	destroyRounds = 5
	// shredPause is between two tries of Run.
	shredPause = time.Second
)

// ShredderConfig is what a Shredder needs; every part must be set.
type ShredderConfig struct {
	// Tombstone writes a record of control.keys without a value, to the partition
	// of its key, and returns when it is acknowledged. It may be called twice for
	// one key and from several goroutines.
	Tombstone func(ctx context.Context, recordKey []byte) error
	// CatchUp returns once everything that is on control.keys now has been given
	// to ApplyKey (kafka.Table.CatchUp).
	CatchUp func(ctx context.Context) error
	Log     *slog.Logger
}

// Validate reports every part that is missing.
func (c ShredderConfig) Validate() error {
	var faults []error
	for name, missing := range map[string]bool{"Tombstone": c.Tombstone == nil, "CatchUp": c.CatchUp == nil, "Log": c.Log == nil} {
		if missing {
			faults = append(faults, fmt.Errorf("seal: a shredder needs %s", name))
		}
	}
	return errors.Join(faults...)
}

// owner is whose key it is. A zero subject stands for the tenant itself.
type owner struct {
	companyID string
	subjectID [16]byte
}

func (o owner) tenant() owner { return owner{companyID: o.companyID} }

// liveKey is a record of control.keys that has a value.
type liveKey struct {
	owner owner
	// destroyed is set once the tombstone is acknowledged. The key is forgotten
	// when the tombstone is read back.
	destroyed atomic.Bool
}

// Shredder destroys the keys of a subject or of a tenant: every data key,
// subject key and visit salt that names it on control.keys. It needs no private
// key. It is safe for concurrent use.
//
// What is erased stays erased: feed it control.erasures (ApplyErasure), and Run
// destroys the keys that appear later, such as one a collector published while
// the erasure was on its way, and whatever an interrupted call left. So a caller
// first writes the erasure to control.erasures, then calls Destroy; whichever
// process runs a Shredder next finishes the work.
type Shredder struct {
	cfg ShredderConfig

	mu       sync.Mutex
	live     map[string]*liveKey            // by record key
	byTenant map[string]map[string]struct{} // company id -> record keys
	erased   map[owner]struct{}

	appeared chan struct{} // holds one token when an erased owner has a key
}

// NewShredder returns a Shredder that knows no key yet.
func NewShredder(cfg ShredderConfig) (*Shredder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Shredder{
		cfg: cfg, live: map[string]*liveKey{}, byTenant: map[string]map[string]struct{}{},
		erased: map[owner]struct{}{}, appeared: make(chan struct{}, 1),
	}, nil
}

// ApplyKey takes one record of control.keys. A record whose key names its owner
// is known even when its value cannot be read; a day key's owner stands in the
// value alone, and an error says that it cannot be read.
func (s *Shredder) ApplyKey(recordKey, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(value) == 0 {
		s.forget(string(recordKey))
		return nil
	}
	who, err := ownerOf(recordKey, value)
	if err != nil || who.companyID == "" {
		return err
	}
	name := string(recordKey)
	s.forget(name)
	s.live[name] = &liveKey{owner: who}
	if s.byTenant[who.companyID] == nil {
		s.byTenant[who.companyID] = map[string]struct{}{}
	}
	s.byTenant[who.companyID][name] = struct{}{}
	if s.isErased(who) {
		s.wake()
	}
	return nil
}

func (s *Shredder) forget(name string) {
	known := s.live[name]
	if known == nil {
		return
	}
	delete(s.live, name)
	keys := s.byTenant[known.owner.companyID]
	if delete(keys, name); len(keys) == 0 {
		delete(s.byTenant, known.owner.companyID)
	}
}

// ownerOf reads whose record it is; the zero owner for records of other kinds.
func ownerOf(recordKey, value []byte) (owner, error) {
	if companyID, subjectID, _, ok := ParseSubjectKeyRecordKey(recordKey); ok {
		return owner{companyID, subjectID}, nil
	}
	if companyID, _, ok := ParseSaltRecordKey(recordKey); ok {
		return owner{companyID: companyID}, nil
	}
	id, ok := ParseDataKeyRecordKey(recordKey)
	if !ok {
		return owner{}, nil
	}
	var rec metivav1.KeyRecord
	if err := proto.Unmarshal(value, &rec); err != nil {
		return owner{}, fmt.Errorf("decoding the record of data key %016x: %w", id, err)
	}
	if rec.GetDataKey().GetKeyId() != id || rec.GetDataKey().GetCompanyId() == "" {
		return owner{}, fmt.Errorf("the record of data key %016x does not hold that key", id)
	}
	return owner{companyID: rec.GetDataKey().GetCompanyId()}, nil
}

// OwnsKey reports whether a record of control.keys with a value is a key of the tenant
// or one of its subjects, or, with a subject that is not zero, of that subject.
func OwnsKey(companyID string, subjectID [16]byte, recordKey, value []byte) bool {
	who, err := ownerOf(recordKey, value)
	return err == nil && who.companyID == companyID && (subjectID == [16]byte{} || who.subjectID == subjectID)
}

// ApplyErasure takes one record of control.erasures. The tenant or the subject
// counts as erased from then on; an empty value does not take that back.
func (s *Shredder) ApplyErasure(_, value []byte) error {
	if len(value) == 0 {
		return nil
	}
	var e metivav1.Erasure
	if err := proto.Unmarshal(value, &e); err != nil {
		return fmt.Errorf("decoding an erasure: %w", err)
	}
	who := owner{companyID: e.GetCompanyId()}
	if raw := e.GetSubjectId(); len(raw) == len(who.subjectID) {
		if who.subjectID = [16]byte(raw); who == who.tenant() {
			return errors.New("an erasure's subject is zero, which would be the whole tenant")
		}
	} else if len(raw) > 0 {
		return errors.New("an erasure's subject has the wrong length")
	}
	if who.companyID == "" {
		return errors.New("an erasure names no tenant")
	}
	s.erase(who)
	return nil
}

// erase remembers that the owner is gone.
func (s *Shredder) erase(who owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erased[who] = struct{}{}
	s.wake()
}

func (s *Shredder) isErased(who owner) bool {
	_, tenant := s.erased[who.tenant()]
	_, itself := s.erased[who]
	return tenant || itself
}

func (s *Shredder) wake() {
	select {
	case s.appeared <- struct{}{}:
	default:
	}
}

// DestroyTenant destroys every key of the tenant and every key of its subjects,
// and returns how many tombstones it wrote. When it returns without an error it
// has read control.keys again and found no key of the tenant. After an error it
// may be called again, here or in another process. ErrKeysAppear means that
// somebody keeps publishing keys of the tenant: stop that first.
func (s *Shredder) DestroyTenant(ctx context.Context, companyID string) (int, error) {
	return s.destroy(ctx, owner{companyID: companyID})
}

// DestroySubject is DestroyTenant for one subject of the tenant.
func (s *Shredder) DestroySubject(ctx context.Context, companyID string, subjectID [16]byte) (int, error) {
	if subjectID == [16]byte{} {
		return 0, ErrBinding // would be the whole tenant
	}
	return s.destroy(ctx, owner{companyID, subjectID})
}

func (s *Shredder) destroy(ctx context.Context, who owner) (int, error) {
	if who.companyID == "" || strings.Contains(who.companyID, "/") {
		return 0, ErrBinding
	}
	s.erase(who)
	count := 0
	for range destroyRounds {
		if err := s.cfg.CatchUp(ctx); err != nil {
			return count, fmt.Errorf("reading control.keys before destroying keys: %w", err)
		}
		if s.isGone(who) {
			return count, nil
		}
		n, err := s.shred(ctx, who)
		if count += n; err != nil {
			return count, err
		}
	}
	return count, ErrKeysAppear
}

// isGone reports whether control.keys, as far as it is read, has no key of the
// owner.
func (s *Shredder) isGone(who owner) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.byTenant[who.companyID] {
		if who == who.tenant() || who == s.live[name].owner {
			return false
		}
	}
	return true
}

// Sweep destroys the keys of everybody erased, and returns how many.
func (s *Shredder) Sweep(ctx context.Context) (int, error) {
	s.mu.Lock()
	var all []owner
	for who := range s.erased {
		if _, any := s.byTenant[who.companyID]; any {
			all = append(all, who)
		}
	}
	s.mu.Unlock()
	count := 0
	for _, who := range all {
		n, err := s.shred(ctx, who)
		if count += n; err != nil {
			return count, err
		}
	}
	return count, nil
}

// Run sweeps whenever a key of somebody erased appears, until ctx ends. It
// tries again for as long as Kafka does not take a tombstone.
func (s *Shredder) Run(ctx context.Context) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.appeared:
		case <-retry.C:
		}
		count, err := s.Sweep(ctx)
		if count > 0 {
			s.cfg.Log.Info("keys of erased tenants or subjects destroyed", slog.Int("keys", count))
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("keys of erased tenants or subjects are not destroyed yet, trying again", slog.Any("error", err))
			retry.Reset(shredPause)
		}
	}
}

// shred writes a tombstone for each key of the owner.
func (s *Shredder) shred(ctx context.Context, who owner) (int, error) {
	keys := s.keysOf(who)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(tombstonesAtOnce)
	var count atomic.Int64
	for name, key := range keys {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.cfg.Tombstone(ctx, []byte(name)); err != nil {
				return fmt.Errorf("destroying a key: %w", err)
			}
			key.destroyed.Store(true)
			count.Add(1)
			return nil
		})
	}
	err := group.Wait()
	return int(count.Load()), err
}

// keysOf is the owner's keys by record key, without those whose tombstone is
// acknowledged.
func (s *Shredder) keysOf(who owner) map[string]*liveKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]*liveKey{}
	for name := range s.byTenant[who.companyID] {
		key := s.live[name]
		if !key.destroyed.Load() && (who == who.tenant() || who == key.owner) {
			out[name] = key
		}
	}
	return out
}
