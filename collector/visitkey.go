package collector

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"
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

	mu    sync.RWMutex
	byDay map[saltKey]*visitHasher
}

type saltKey struct {
	companyID string
	day       int64 // days since 1970
}

func newSalts(edge seal.PrivateKey, now func() time.Time) *salts {
	return &salts{edge: edge, now: now, byDay: map[saltKey]*visitHasher{}}
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
	key := saltKey{companyID: companyID, day: dayOf(date)}
	if len(value) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byDay, key)
		return nil
	}
	if key.day < dayOf(s.now()) {
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
	s.byDay[key] = newVisitHasher(plain)
	return nil
}

// forget drops the salts of past days: from then on nobody here can link them.
func (s *salts) forget() {
	today := dayOf(s.now())
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.byDay {
		if key.day < today {
			delete(s.byDay, key)
		}
	}
}

func (s *salts) lookup(companyID string, at time.Time) *visitHasher {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byDay[saltKey{companyID: companyID, day: dayOf(at)}]
}

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
