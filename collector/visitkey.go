package collector

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// salts holds the visit salts of today and tomorrow, by tenant and UTC day.
type salts struct {
	edge seal.PrivateKey
	now  func() time.Time

	mu       sync.Mutex
	byTenant map[string]*tenantSalts
}

// tenantSalts are those of one tenant; its sites hold on to it, so that a request
// finds its salt without looking for the tenant. The list is replaced, never
// changed.
type tenantSalts struct {
	days atomic.Pointer[[]daySalt]
}

type daySalt struct {
	day    int64 // since 1970
	hasher *visitHasher
}

func newSalts(edge seal.PrivateKey, now func() time.Time) *salts {
	return &salts{edge: edge, now: now, byTenant: map[string]*tenantSalts{}}
}

// of is the tenant's salts, of which there may be none yet.
func (s *salts) of(companyID string) *tenantSalts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slot(companyID)
}

func (s *salts) slot(companyID string) *tenantSalts {
	t := s.byTenant[companyID]
	if t == nil {
		t = &tenantSalts{}
		t.days.Store(&[]daySalt{})
		s.byTenant[companyID] = t
	}
	return t
}

// at is the hasher of a moment's day, or nil.
func (t *tenantSalts) at(moment time.Time) *visitHasher {
	day := dayOf(moment)
	for _, known := range *t.days.Load() {
		if known.day == day {
			return known.hasher
		}
	}
	return nil
}

// replace drops the days that are told so, and adds one if it is given. The
// caller holds the lock of the salts.
func (t *tenantSalts) replace(drop func(day int64) bool, add ...daySalt) {
	next := slices.DeleteFunc(slices.Clone(*t.days.Load()), func(d daySalt) bool { return drop(d.day) })
	next = append(next, add...)
	t.days.Store(&next)
}

func dayOf(t time.Time) int64 { return t.Unix() / int64(24*time.Hour/time.Second) }

// apply takes one record of control.keys; those that are not salts are not for
// the collector, and salts of past days are not opened at all.
func (s *salts) apply(recordKey, value []byte) error {
	companyID, day, ok := seal.ParseSaltRecordKey(recordKey)
	if !ok {
		return nil
	}
	date, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return errors.New("a salt's key does not name a day")
	}
	key := dayOf(date)
	isKey := func(day int64) bool { return day == key }
	if len(value) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.slot(companyID).replace(isKey)
		return nil
	}
	if key < dayOf(s.now()) {
		return nil
	}
	var rec metivav1.KeyRecord
	if err := proto.Unmarshal(value, &rec); err != nil {
		return fmt.Errorf("decoding key record: %w", err)
	}
	salt := rec.GetVisitSalt()
	if salt.GetCompanyId() != companyID || salt.GetDay() != day {
		return errors.New("the salt record's key does not name its tenant and day")
	}
	plain, err := seal.OpenSalt(s.edge, salt)
	if err != nil {
		return fmt.Errorf("opening visit salt: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slot(companyID).replace(isKey, daySalt{day: key, hasher: newVisitHasher(plain)})
	return nil
}

// forget drops the salts of past days: from then on nobody here can link them.
func (s *salts) forget() {
	today := dayOf(s.now())
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.byTenant {
		if slices.ContainsFunc(*t.days.Load(), func(d daySalt) bool { return d.day < today }) {
			t.replace(func(day int64) bool { return day < today })
		}
	}
}

func (s *salts) lookup(companyID string, at time.Time) *visitHasher { return s.of(companyID).at(at) }

// visitKey is the anonymous key that groups the events of one visit.
type visitKey [schemas.IDBytes]byte

// randomVisitKey is for a tenant without a salt: each event is its own visit.
func randomVisitKey() (k visitKey) {
	_, _ = rand.Read(k[:]) // crypto/rand never returns an error
	return k
}

// visitHasher makes visit keys under one salt.
type visitHasher struct{ pool sync.Pool }

type visitMAC struct {
	hash  hash.Hash
	input []byte
	sum   [sha256.Size]byte
}

func newVisitHasher(salt [32]byte) *visitHasher {
	return &visitHasher{pool: sync.Pool{New: func() any {
		return &visitMAC{hash: hmac.New(sha256.New, salt[:]), input: make([]byte, 0, 64)}
	}}}
}

// What a visit key is made from. A consented visitor's key is made from the
// visitor id, not from the network: it must not equal the key of that visitor's
// events from before the consent.
const (
	visitOfNetwork = 'n'
	visitOfVisitor = 'v'
)

// key is the first 16 bytes of HMAC-SHA256 over the site and the network with
// the browser's family, or the visitor id.
func (h *visitHasher) key(siteID string, d consent.Decision, address seal.Address, family browserFamily) visitKey {
	m := h.pool.Get().(*visitMAC)
	defer h.pool.Put(m)
	m.hash.Reset()
	visitor, known := d.VisitorID()
	if known {
		m.input = append(m.input[:0], visitOfVisitor)
	} else {
		m.input = append(m.input[:0], visitOfNetwork)
	}
	m.input = binary.BigEndian.AppendUint32(m.input, uint32(len(siteID)))
	m.input = append(m.input, siteID...)
	if known {
		m.input = append(m.input, visitor[:]...)
	} else {
		m.input = append(m.input, byte(family))
	}
	m.hash.Write(m.input)
	if !known {
		address.WriteNetworkTo(m.hash)
	}
	return visitKey(m.hash.Sum(m.sum[:0])[:schemas.IDBytes])
}
