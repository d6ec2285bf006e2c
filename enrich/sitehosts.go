package enrich

import (
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// siteHosts is the hosts of each site, from the origins its pages may send from:
// the table control.sites in memory. A referrer among them is internal. It is safe
// for concurrent use.
type siteHosts struct {
	changes atomic.Uint64
	mu      sync.RWMutex
	sites   map[string]ownHosts // by site id
}

type ownHosts struct {
	companyID string
	version   uint64
	hosts     []string
}

func newSiteHosts() *siteHosts { return &siteHosts{sites: make(map[string]ownHosts)} }

// Apply takes one record of control.sites. An older version than the known one
// changes nothing.
func (s *siteHosts) Apply(key, value []byte) error {
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
	next := ownHosts{companyID: record.GetCompanyId(), version: record.GetVersion()}
	for _, origin := range record.GetAllowedOrigins() {
		if u, err := url.Parse(origin); err == nil && u.Hostname() != "" && !slices.Contains(next.hosts, u.Hostname()) {
			next.hosts = append(next.hosts, u.Hostname())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.sites[id]; !ok || known.version <= next.version {
		s.sites[id] = next
		s.changes.Add(1)
	}
	return nil
}

// of is the hosts of a tenant's site; none when it is not known. The slice is never
// changed.
func (s *siteHosts) of(companyID, siteID string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if known := s.sites[siteID]; known.companyID == companyID {
		return known.hosts
	}
	return nil
}
