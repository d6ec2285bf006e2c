package collector

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// site is one registration of control.sites. It is never changed, only replaced.
type site struct {
	companyID, brandID, siteID string
	// owner is the three of them as an event's record has them, and bucket the
	// tenant's.
	owner  []byte
	bucket uint8

	keys          []string
	origins       []string
	answers       []*usualAnswer // by origin
	policy        consent.Policy
	texts         map[string]siteText
	forms         map[string]*siteForm
	retentionDays uint32
	properties    propertyNames // of custom events
	version       uint64
	active        bool
	// networkPrecision: its visitors' addresses may be sealed as their business
	// network.
	networkPrecision bool

	salts *tenantSalts
}

// allows reports whether pages of this origin may send.
func (s *site) allows(origin []byte) bool {
	for _, o := range s.origins {
		if o == string(origin) {
			return true
		}
	}
	return false
}

// answerTo is the usual answer to pages of this origin, or nil where they may not
// send.
func (s *site) answerTo(origin []byte) *usualAnswer {
	for i, o := range s.origins {
		if o == string(origin) {
			return s.answers[i]
		}
	}
	return nil
}

// sites is the registrations by site key.
type sites struct {
	mu   sync.Mutex
	byID map[string]*site
	// byKey holds every active site that claims a key. The registry keeps keys
	// unique; should it fail, a key with two claims is nobody's. Which came first
	// does not count: collectors that started at different times must agree.
	byKey   map[string][]*site
	origins map[string]int // how many active sites allow it

	// What requests look at without the lock: the site of each key that is
	// somebody's, and the origins that are allowed.
	active  sync.Map // of string, to *site
	allowed sync.Map // of string

	salts *salts
}

var errKeyClaimedTwice = errors.New("a site key is claimed by two sites and works for neither")

func newSites(salts *salts) *sites {
	return &sites{salts: salts, byID: map[string]*site{}, byKey: map[string][]*site{}, origins: map[string]int{}}
}

// lookup is the active site of a key, or nil.
func (s *sites) lookup(key []byte) *site {
	if found, ok := s.active.Load(viewOf(key)); ok {
		return found.(*site)
	}
	return nil
}

// known reports whether any active site allows the origin: what a preflight,
// which has no body, can be checked against.
func (s *sites) known(origin []byte) bool {
	_, ok := s.allowed.Load(viewOf(origin))
	return ok
}

func (s *sites) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// apply takes one record of control.sites. An older version than the known one
// changes nothing.
func (s *sites) apply(recordKey, value []byte) error {
	id := string(recordKey)
	if len(value) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		known := s.byID[id]
		s.remove(known)
		s.publish(known, nil)
		return nil
	}
	var rec metivav1.SiteRecord
	if err := proto.Unmarshal(value, &rec); err != nil {
		return fmt.Errorf("decoding site record: %w", err)
	}
	if rec.GetSiteId() == "" || rec.GetSiteId() != id || rec.GetCompanyId() == "" {
		return errors.New("the site record's key does not name its site and tenant")
	}
	next := &site{
		companyID: rec.GetCompanyId(), brandID: rec.GetBrandId(), siteID: id,
		owner: ownerFields(rec.GetCompanyId(), rec.GetBrandId(), id), bucket: schemas.TenantBucket(rec.GetCompanyId()),
		keys: rec.GetSiteKeys(), origins: normalOrigins(rec.GetAllowedOrigins()),
		retentionDays: rec.GetRetentionDays(), version: rec.GetVersion(), active: rec.GetActive(),
		properties:       newPropertyNames(rec.GetCustomProperties()),
		networkPrecision: rec.GetNetworkPrecision(),
		salts:            s.salts.of(rec.GetCompanyId()),
	}
	for _, origin := range next.origins {
		next.answers = append(next.answers, newUsualAnswer(origin))
	}
	ignored := errors.Join(next.readConsent(&rec), next.readForms(&rec))
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.byID[id]
	if known != nil && known.version > next.version {
		return nil
	}
	defer func() { s.publish(known, next) }()
	s.remove(known)
	s.byID[id] = next
	if !next.active {
		return ignored
	}
	for _, origin := range next.origins {
		s.origins[origin]++
	}
	return errors.Join(ignored, s.claim(next))
}

// claim enters a site under its keys.
func (s *sites) claim(next *site) (err error) {
	for _, key := range next.keys {
		claims := s.byKey[key]
		if key == "" || slices.Contains(claims, next) {
			continue
		}
		if s.byKey[key] = append(claims, next); len(claims) > 0 {
			err = errKeyClaimedTwice
		}
	}
	return err
}

// publish shows requests what became of the keys and origins of two versions of a
// site, either of which may be nil. What both have does not vanish in between.
func (s *sites) publish(old, next *site) {
	for _, changed := range [...]*site{old, next} {
		if changed == nil {
			continue
		}
		for _, key := range changed.keys {
			if claims := s.byKey[key]; len(claims) == 1 {
				s.active.Store(key, claims[0])
			} else {
				s.active.Delete(key)
			}
		}
		for _, origin := range changed.origins {
			if s.origins[origin] > 0 {
				s.allowed.Store(origin, nil)
			} else {
				s.allowed.Delete(origin)
			}
		}
	}
}

// normalOrigins writes each origin as requests are compared with it. One that
// is none allows nothing and does not cost the site its others.
func normalOrigins(registered []string) []string {
	out := make([]string, 0, len(registered))
	for _, text := range registered {
		if origin, ok := mask.AppendOrigin(nil, []byte(text)); ok {
			out = append(out, string(origin))
		}
	}
	return out
}

func (s *sites) remove(old *site) {
	if old == nil {
		return
	}
	delete(s.byID, old.siteID)
	if !old.active {
		return
	}
	for _, key := range old.keys {
		claims := slices.DeleteFunc(s.byKey[key], func(c *site) bool { return c == old })
		if s.byKey[key] = claims; len(claims) == 0 {
			delete(s.byKey, key)
		}
	}
	for _, origin := range old.origins {
		if s.origins[origin]--; s.origins[origin] <= 0 {
			delete(s.origins, origin)
		}
	}
}
