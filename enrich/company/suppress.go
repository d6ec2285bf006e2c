package company

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/metiva-io/metiva/enrich/orgname"
)

// SuppressionList says whose wish a suppression is.
type SuppressionList uint8

// The lists. A tenant's own is for that tenant alone, the others for everyone.
const (
	// ListOperator is the zero value: prefixes the operator never resolves, such
	// as a database's list of those who object to the use of their data.
	ListOperator SuppressionList = iota
	// ListOptOut is of organisations that asked not to be named.
	ListOptOut
	// ListTenant is a tenant's own offices. It needs a CompanyID.
	ListTenant
)

// Suppression is a prefix that is never resolved, or a domain under which nobody is
// named, wherever from. Who is known by a name alone has no domain.
type Suppression struct {
	List SuppressionList
	// CompanyID is the tenant, for ListTenant only.
	CompanyID string
	// Prefix or Domain, a registrable one, is set.
	Prefix netip.Prefix
	Domain string
}

func (s Suppression) check() error {
	switch {
	case s.Domain != "" && (s.Prefix.IsValid() || orgname.Registrable(s.Domain) != s.Domain):
		return errors.New("is not a registrable domain")
	case s.Domain == "" && (!s.Prefix.IsValid() || s.Prefix.Addr().Is4In6()):
		// The prefix itself is not repeated: it may be a person's address.
		return errors.New("is not a prefix")
	case s.List > ListTenant:
		return errors.New("is on no list")
	case (s.List == ListTenant) != (s.CompanyID != ""):
		return errors.New("has a tenant and is not on the tenants' list, or has none and is")
	}
	return nil
}

// suppressions are prefix tables, one for each list.
type suppressions struct {
	operator, optOut *bart.Lite
	tenants          map[string]*bart.Lite // by company id
	domains          map[suppressedDomain]SuppressionList
}

// suppressedDomain is a domain that is not named, to one tenant or (empty) to all.
type suppressedDomain struct{ companyID, domain string }

func newSuppressions(all []Suppression) suppressions {
	out := suppressions{operator: new(bart.Lite), optOut: new(bart.Lite), tenants: make(map[string]*bart.Lite), domains: make(map[suppressedDomain]SuppressionList)}
	for _, s := range all {
		if s.Domain != "" {
			k := suppressedDomain{companyID: s.CompanyID, domain: s.Domain}
			out.domains[k] = max(out.domains[k], s.List) // an opt-out before the operator's own wish
			continue
		}
		table := out.operator
		switch s.List {
		case ListOptOut:
			table = out.optOut
		case ListTenant:
			if table = out.tenants[s.CompanyID]; table == nil {
				table = new(bart.Lite)
				out.tenants[s.CompanyID] = table
			}
		default:
		}
		table.Insert(s.Prefix.Masked())
	}
	return out
}

// by is the source of the suppression of any address of the network, or empty. A
// truncated address may stand for a suppressed one, so a partial overlap counts.
func (s *suppressions) by(q Query) string {
	if own := s.tenants[q.CompanyID]; own != nil && own.OverlapsPrefix(q.Network) {
		return SourceTenant
	}
	switch {
	case s.optOut.OverlapsPrefix(q.Network):
		return SourceOptOut
	case s.operator.OverlapsPrefix(q.Network):
		return SourceSuppressed
	}
	return ""
}

// byDomain is the source of the suppression of an organisation, or empty.
func (s *suppressions) byDomain(companyID, domain string) string {
	if len(s.domains) == 0 || domain == "" {
		return ""
	}
	if _, ok := s.domains[suppressedDomain{companyID: companyID, domain: domain}]; ok && companyID != "" {
		return SourceTenant
	}
	list, ok := s.domains[suppressedDomain{domain: domain}]
	switch {
	case !ok:
		return ""
	case list == ListOptOut:
		return SourceOptOut
	}
	return SourceSuppressed
}

// suppressionsMax bounds a file of suppressions.
const suppressionsMax = 5_000_000

// ReadSuppressions reads a file of suppressions: a line for each, with a prefix,
// an address or a registrable domain, and behind spaces or a comma the list: "operator" (also when
// nothing stands there), "opt_out", or the id of a tenant ("cmp_…"). Empty lines
// and what follows "#" are left out. Bits behind a prefix's length are cut off: to
// leave out more is the safe side. Errors name the line, never the prefix.
func ReadSuppressions(r io.Reader) ([]Suppression, error) {
	var out []Suppression
	lines := bufio.NewScanner(withoutMark(r))
	for number := 1; lines.Scan(); number++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '\r' })
		if len(fields) == 0 {
			continue
		}
		s, err := parseSuppression(fields)
		if err != nil {
			return nil, fmt.Errorf("company: suppressions, line %d: %w", number, err)
		}
		if len(out) == suppressionsMax {
			return nil, fmt.Errorf("company: suppressions: more than %d lines", suppressionsMax)
		}
		out = append(out, s)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the suppressions: %w", err)
	}
	return out, nil
}

func parseSuppression(fields []string) (Suppression, error) {
	var s Suppression
	if len(fields) > 2 {
		return s, fmt.Errorf("has %d fields, not one or two", len(fields))
	}
	if s.Domain = orgname.Registrable(fields[0]); s.Domain == "" || !strings.EqualFold(s.Domain, fields[0]) {
		s.Domain = ""
		var err error
		if s.Prefix, err = parseNetwork(fields[0]); err != nil {
			return s, err
		}
	}
	if len(fields) == 2 {
		switch {
		case fields[1] == "operator":
		case fields[1] == "opt_out":
			s.List = ListOptOut
		case strings.HasPrefix(fields[1], "cmp_"):
			s.List, s.CompanyID = ListTenant, fields[1]
		default:
			return s, errors.New(`the list is neither "operator" nor "opt_out" nor a tenant's id`)
		}
	}
	return s, s.check()
}

// parseNetwork reads a prefix or an address; host bits are cut off. The error
// does not repeat the text, which may be a person's address.
func parseNetwork(text string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil && !prefix.Addr().Is4In6() {
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, errors.New("is neither a prefix nor an address")
	}
	addr = addr.Unmap()
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}
