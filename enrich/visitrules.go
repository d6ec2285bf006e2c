package enrich

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// siteRules is where the visits of each site end: the table control.sites in
// memory. It is safe for concurrent use.
type siteRules struct {
	standard *visit.Rules
	changes  atomic.Uint64
	mu       sync.RWMutex
	sites    map[string]siteRule // by site id
}

type siteRule struct {
	companyID string
	version   uint64
	rules     *visit.Rules
}

func newSiteRules() (*siteRules, error) {
	standard, err := visit.RulesOf(nil)
	if err != nil {
		return nil, fmt.Errorf("making the standard rules of visits: %w", err)
	}
	return &siteRules{standard: standard, sites: make(map[string]siteRule)}, nil
}

var errVisitRules = errors.New("a site's rules of visits are not valid")

// Apply takes one record of control.sites. An older version than the known one
// changes nothing. Of rules that are not valid the valid ones hold, and the error says
// so.
func (s *siteRules) Apply(key, value []byte) error {
	id := string(key)
	if len(value) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sites, id)
		s.changes.Add(1)
		return nil
	}
	var record metivav1.SiteRecord
	if err := proto.Unmarshal(value, &record); err != nil || record.GetSiteId() != id || record.GetCompanyId() == "" {
		return fmt.Errorf("decoding a site: %w", errUndecodable)
	}
	rules, fault := visit.RulesOf(record.GetVisitRules())
	if rules == nil {
		rules = s.standard
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.sites[id]; !ok || known.version <= record.GetVersion() {
		s.sites[id] = siteRule{companyID: record.GetCompanyId(), version: record.GetVersion(), rules: rules}
		s.changes.Add(1)
	}
	if fault != nil {
		return errVisitRules
	}
	return nil
}

// of is the rules of a tenant's site; the standard ones when it is not known.
func (s *siteRules) of(companyID, siteID string) *visit.Rules {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if known := s.sites[siteID]; known.companyID == companyID && known.rules != nil {
		return known.rules
	}
	return s.standard
}
