package tombstone

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// ErrUndecodable is returned for a record that is no erasure.
var ErrUndecodable = errors.New("a record of control.erasures cannot be read")

// RecordKey is the key of an erasure's record: the company id for a tenant, company
// id and subject in hexadecimal for one subject of 16 bytes.
func RecordKey(companyID string, subjectID []byte) []byte {
	if len(subjectID) == 0 {
		return []byte(companyID)
	}
	return []byte(companyID + "/" + hex.EncodeToString(subjectID))
}

// owner is who was erased; a zero subject is the tenant.
type owner struct {
	companyID string
	subjectID [schemas.IDBytes]byte
}

// Set is who was erased. It is safe for concurrent use.
type Set struct {
	mu     sync.RWMutex
	erased map[owner]struct{}
}

// NewSet returns a set of nobody.
func NewSet() *Set { return &Set{erased: make(map[owner]struct{})} }

// Apply takes one record of control.erasures.
func (s *Set) Apply(key, value []byte) error {
	who, err := ownerOf(key)
	if len(value) > 0 {
		who, err = read(value)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(value) == 0 {
		delete(s.erased, who)
	} else {
		s.erased[who] = struct{}{}
	}
	return nil
}

func ownerOf(key []byte) (owner, error) {
	company, subject, some := strings.Cut(string(key), "/")
	who := owner{companyID: company}
	if !some {
		return who, nil
	}
	raw, err := hex.DecodeString(subject)
	if err != nil || len(raw) != schemas.IDBytes {
		return owner{}, ErrUndecodable
	}
	who.subjectID = [schemas.IDBytes]byte(raw)
	return who, nil
}

func read(value []byte) (owner, error) {
	var e metivav1.Erasure
	if err := proto.Unmarshal(value, &e); err != nil {
		return owner{}, fmt.Errorf("%w: %w", ErrUndecodable, err)
	}
	who := owner{companyID: e.GetCompanyId()}
	switch subject := e.GetSubjectId(); {
	case who.companyID == "", len(subject) != 0 && len(subject) != schemas.IDBytes:
		return owner{}, ErrUndecodable
	case len(subject) == schemas.IDBytes:
		if who.subjectID = [schemas.IDBytes]byte(subject); who.subjectID == [schemas.IDBytes]byte{} {
			return owner{}, ErrUndecodable // would be the whole tenant
		}
	}
	return who, nil
}

// Tenant reports whether the tenant was erased.
func (s *Set) Tenant(companyID string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, gone := s.erased[owner{companyID: companyID}]
	return gone
}

// Has reports whether the tenant, or this subject of it, was erased. A subject that
// is no id of 16 bytes stands for nobody.
func (s *Set) Has(companyID string, subjectID []byte) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.erased) == 0 {
		return false
	}
	if _, gone := s.erased[owner{companyID: companyID}]; gone {
		return true
	}
	if len(subjectID) != schemas.IDBytes {
		return false
	}
	_, gone := s.erased[owner{companyID, [schemas.IDBytes]byte(subjectID)}]
	return gone
}
