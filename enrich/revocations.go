package enrich

import (
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// revocations is what visitors and tenants have taken back: the tables
// control.withdrawals and control.erasures in memory. A subject is a visitor
// id. It is safe for concurrent use.
type revocations struct {
	// changes counts the records applied, for those who look again at what they hold.
	changes atomic.Uint64
	// named are the subjects and tenants that were ever revoked, and by chance a few
	// others: for all but those nobody waits for a lock.
	named filter

	mu            sync.RWMutex
	withdrawn     map[subject]uint64 // highest sequence that no longer counts
	erased        map[subject]struct{}
	erasedTenants map[string]struct{}
	// By record key, so that a removed record can be taken out again.
	withdrawalKeys map[string]subject
	erasureKeys    map[string]subject
}

type subject struct {
	companyID string
	id        [schemas.IDBytes]byte
}

func newRevocations() *revocations {
	return &revocations{
		named:          newFilter(),
		withdrawn:      make(map[subject]uint64),
		erased:         make(map[subject]struct{}),
		erasedTenants:  make(map[string]struct{}),
		withdrawalKeys: make(map[string]subject),
		erasureKeys:    make(map[string]subject),
	}
}

// ApplyWithdrawal takes one record of control.withdrawals. The higher sequence
// of a subject wins, in whatever order records come.
func (r *revocations) ApplyWithdrawal(key, value []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(value) == 0 {
		r.changes.Add(1)
		if s, ok := r.withdrawalKeys[string(key)]; ok {
			delete(r.withdrawn, s)
			delete(r.withdrawalKeys, string(key))
		}
		return nil
	}
	var w metivav1.Withdrawal
	if err := proto.Unmarshal(value, &w); err != nil {
		return fmt.Errorf("decoding a withdrawal: %w", errUndecodable)
	}
	if w.GetCompanyId() == "" || len(w.GetSubjectId()) != schemas.IDBytes {
		return fmt.Errorf("decoding a withdrawal: %w", errUndecodable)
	}
	s := subject{companyID: w.GetCompanyId(), id: [schemas.IDBytes]byte(w.GetSubjectId())}
	// Whoever sees the change must find the name: the names come first.
	r.named.addSubject(s.id[:])
	r.changes.Add(1)
	if known, ok := r.withdrawn[s]; !ok || w.GetSequence() > known {
		r.withdrawn[s] = w.GetSequence()
	}
	r.withdrawalKeys[string(key)] = s
	return nil
}

// ApplyErasure takes one record of control.erasures: of a tenant, or of one
// subject.
func (r *revocations) ApplyErasure(key, value []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(value) == 0 {
		r.changes.Add(1)
		if s, ok := r.erasureKeys[string(key)]; ok {
			delete(r.erased, s)
			delete(r.erasureKeys, string(key))
		}
		delete(r.erasedTenants, string(key))
		return nil
	}
	var e metivav1.Erasure
	if err := proto.Unmarshal(value, &e); err != nil {
		return fmt.Errorf("decoding an erasure: %w", errUndecodable)
	}
	switch {
	case e.GetCompanyId() == "":
		return fmt.Errorf("decoding an erasure: %w", errUndecodable)
	case len(e.GetSubjectId()) == 0:
		r.named.addTenant(e.GetCompanyId())
		r.changes.Add(1)
		r.erasedTenants[e.GetCompanyId()] = struct{}{}
	case len(e.GetSubjectId()) == schemas.IDBytes:
		s := subject{companyID: e.GetCompanyId(), id: [schemas.IDBytes]byte(e.GetSubjectId())}
		r.named.addSubject(s.id[:])
		r.changes.Add(1)
		r.erased[s] = struct{}{}
		r.erasureKeys[string(key)] = s
	default:
		return fmt.Errorf("decoding an erasure: %w", errUndecodable)
	}
	return nil
}

// isErased reports whether the tenant, or the visitor if there is one, was
// erased.
func (r *revocations) isErased(companyID string, visitorID []byte) bool {
	if !r.named.hasTenant(companyID) && !r.named.hasSubject(visitorID) {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if _, gone := r.erasedTenants[companyID]; gone {
		return true
	}
	if len(visitorID) != schemas.IDBytes || len(r.erased) == 0 {
		return false
	}
	_, gone := r.erased[subject{companyID: companyID, id: [schemas.IDBytes]byte(visitorID)}]
	return gone
}

// isWithdrawn reports whether the visitor has withdrawn the consent with this
// sequence number. The later sequence wins, ties deny.
func (r *revocations) isWithdrawn(companyID string, visitorID []byte, sequence uint64) bool {
	if len(visitorID) != schemas.IDBytes || !r.named.hasSubject(visitorID) {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	last, ok := r.withdrawn[subject{companyID: companyID, id: [schemas.IDBytes]byte(visitorID)}]
	return ok && sequence <= last
}

// isRevoked reports whether the subject of a journal was erased or has withdrawn.
func (r *revocations) isRevoked(s visit.Subject) bool {
	return r.isErased(s.CompanyID, s.VisitorID) || r.isWithdrawn(s.CompanyID, s.VisitorID, s.ConsentSeq)
}
