package scorer

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/enrich/score"
	"github.com/metiva-io/metiva/enrich/visit"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

var errUndecodable = errors.New("not a valid record")

// machineZone is the name under which package time knows the zone of the machine it runs
// on, which is no site's: two scorers would have two days.
const machineZone = "Local"

// site is what a score needs of a site's registration. It is never changed.
type site struct {
	companyID string
	version   uint64
	rules     *score.Rules
	zone      *time.Location
}

// sites is the table control.sites in memory. It is safe for concurrent use.
type sites struct {
	mu     sync.RWMutex
	byID   map[string]*site
	others *site // of a site that is not known: the defaults
}

func newSites() (*sites, error) {
	zone, err := time.LoadLocation(visit.TimeZoneDefault)
	if err != nil {
		return nil, fmt.Errorf("loading the default time zone: %w", err)
	}
	return &sites{byID: make(map[string]*site), others: &site{rules: new(score.Rules), zone: zone}}, nil
}

// Apply takes one record of control.sites. An older version than the known one
// changes nothing. Rules or a time zone that are not valid give way to the defaults,
// and the error says so.
func (s *sites) Apply(key, value []byte) error {
	id := string(key)
	if len(value) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.byID, id)
		return nil
	}
	var record metivav1.SiteRecord
	if err := proto.Unmarshal(value, &record); err != nil || record.GetSiteId() != id || record.GetCompanyId() == "" {
		return fmt.Errorf("decoding a site: %w", errUndecodable)
	}
	next := &site{companyID: record.GetCompanyId(), version: record.GetVersion(), rules: s.others.rules, zone: s.others.zone}
	rules, fault := score.NewRules(record.GetScoreRules())
	if fault == nil {
		next.rules = rules
	}
	if name := record.GetVisitRules().GetTimeZone(); name != "" {
		if zone, err := time.LoadLocation(name); err == nil && name != machineZone {
			next.zone = zone
		} else {
			fault = errors.Join(fault, errors.New("the time zone is not known"))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.byID[id]; !ok || known.version <= next.version {
		s.byID[id] = next
	}
	return fault
}

// of is a tenant's site; the defaults when it is not known.
func (s *sites) of(companyID, siteID string) *site {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if known := s.byID[siteID]; known != nil && known.companyID == companyID {
		return known
	}
	return s.others
}

// erasures is the tenants of control.erasures. It is safe for concurrent use.
type erasures struct {
	mu       sync.RWMutex
	tenants  map[string]struct{}
	revision uint64 // rises with each tenant
}

// Apply takes one record of control.erasures. Those of a subject are of no account: a
// state holds nothing of a person.
func (e *erasures) Apply(key, value []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(value) == 0 {
		delete(e.tenants, string(key))
		return nil
	}
	var record metivav1.Erasure
	if err := proto.Unmarshal(value, &record); err != nil || record.GetCompanyId() == "" {
		return fmt.Errorf("decoding an erasure: %w", errUndecodable)
	}
	if len(record.GetSubjectId()) == 0 {
		e.tenants[record.GetCompanyId()] = struct{}{}
		e.revision++
	}
	return nil
}

func (e *erasures) has(companyID string) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	_, erased := e.tenants[companyID]
	return erased
}

func (e *erasures) at() uint64 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.revision
}
