package company

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/gaissmai/bart"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Registered is the suppressions that tenants and the operator have registered: the
// table control.suppressions in memory. It is safe for concurrent use, and what changes
// counts for the next Query.
type Registered struct {
	mu    sync.RWMutex
	lists map[string]*bart.Lite // by company id; never changed once they are here
}

// NewRegistered has none.
func NewRegistered() *Registered { return &Registered{lists: make(map[string]*bart.Lite)} }

// ErrRegistered says nothing of the record.
var ErrRegistered = errors.New("company: not a record of suppressed networks")

// Apply takes one record of control.suppressions: the whole list of one company, or of
// everybody. Of a list with a network that is not valid the others hold, and the error
// says so; a record of another company than its key changes nothing.
func (r *Registered) Apply(key, value []byte) error {
	id := string(key)
	var list *bart.Lite
	var fault error
	if len(value) > 0 {
		var record metivav1.SuppressionRecord
		if proto.Unmarshal(value, &record) != nil || id == "" || record.GetCompanyId() != id {
			return ErrRegistered
		}
		list = new(bart.Lite)
		for i, b := range record.GetPrefixes() {
			p, err := schemas.ParsePrefix(b)
			if err != nil || i >= schemas.SuppressionsEveryoneMax {
				fault = ErrRegistered
				continue
			}
			list.Insert(p)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if list == nil {
		delete(r.lists, id)
	} else {
		r.lists[id] = list
	}
	return fault
}

// by is the source of the suppression of any address of the network, or empty. Nil has
// none.
func (r *Registered) by(companyID string, network netip.Prefix) string {
	if r == nil {
		return ""
	}
	r.mu.RLock()
	own, everyone := r.lists[companyID], r.lists[schemas.Everyone]
	r.mu.RUnlock()
	switch {
	case own != nil && own.OverlapsPrefix(network):
		return SourceTenant
	case everyone != nil && everyone.OverlapsPrefix(network):
		return SourceOptOut
	}
	return ""
}
