package person

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

var errUndecodable = errors.New("not a valid record")

// Sites is what the sites' registrations say of forms and texts: the table control.sites
// in memory. It is safe for concurrent use.
type Sites struct {
	mu    sync.RWMutex
	sites map[string]*site // by site id
}

// site is never changed.
type site struct {
	companyID string
	version   uint64
	forms     map[string]*form
	texts     map[string]text
}

type form struct {
	fields       map[string]field
	textVersions []string
}

type field struct {
	kind  metivav1.FieldKind
	place int // in the form
}

type text struct {
	linksVisits bool
	region      string
}

// NewSites returns a table that knows no site; feed it with Apply.
func NewSites() *Sites { return &Sites{sites: make(map[string]*site)} }

// Apply takes one record of control.sites. An older version than the known one changes
// nothing.
func (s *Sites) Apply(key, value []byte) error {
	id := string(key)
	if len(value) == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sites, id)
		return nil
	}
	var record metivav1.SiteRecord
	if err := proto.Unmarshal(value, &record); err != nil || record.GetSiteId() != id || record.GetCompanyId() == "" {
		return fmt.Errorf("decoding a site: %w", errUndecodable)
	}
	next := readSite(&record)
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.sites[id]; known == nil || known.version <= next.version {
		s.sites[id] = next
	}
	return nil
}

func readSite(record *metivav1.SiteRecord) *site {
	out := &site{
		companyID: record.GetCompanyId(), version: record.GetVersion(),
		forms: make(map[string]*form, len(record.GetForms())), texts: make(map[string]text, len(record.GetTexts())),
	}
	for _, p := range record.GetForms() {
		f := &form{fields: make(map[string]field, len(p.GetFields())), textVersions: p.GetTextVersions()}
		for place, x := range p.GetFields() {
			f.fields[x.GetName()] = field{kind: x.GetKind(), place: place}
		}
		out.forms[p.GetFormId()] = f
	}
	for _, t := range record.GetTexts() {
		out.texts[t.GetVersion()] = text{linksVisits: t.GetLinksVisits(), region: regionOf(t.GetLanguage())}
	}
	return out
}

// regionOf is the region of a BCP 47 tag, "BE" of "nl-BE"; empty for none.
func regionOf(language string) string {
	for i, part := range strings.Split(language, "-") {
		if i > 0 && len(part) == 2 {
			return strings.ToUpper(part)
		}
		if i > 0 && len(part) == 1 {
			break // what follows is an extension's
		}
	}
	return ""
}

// rules is what the registration says about one capture. Of a form or text that is no
// longer registered it says nothing: no field has a kind, and no visit is linked.
type rules struct {
	form *form
	text text
}

func (s *Sites) rules(companyID, siteID, formID, textVersion string) rules {
	s.mu.RLock()
	known := s.sites[siteID]
	s.mu.RUnlock()
	if known == nil || known.companyID != companyID {
		return rules{}
	}
	out := rules{form: known.forms[formID]}
	if out.form != nil && slices.Contains(out.form.textVersions, textVersion) {
		out.text = known.texts[textVersion]
	}
	return out
}

func (r rules) field(name string) field {
	if r.form == nil {
		return field{}
	}
	return r.form.fields[name]
}
