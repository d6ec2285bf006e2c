package company

import (
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/orgname"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Confidence of a verdict, 0 to 1. Those of companies are design decisions
// (DESIGN §6, ADR 0026); the others say how sure the table or database is.
const (
	confidenceCertain    = 1.0
	confidenceOverride   = 0.95
	confidenceTable      = 0.9
	confidenceRecord     = 0.85
	confidenceOperator   = 0.8
	confidenceAS         = 0.75
	confidenceReverseDNS = 0.6
	confidenceUntyped    = 0.5

	// ShowAtDefault is the least confidence at which a company is shown.
	ShowAtDefault = 0.6
)

// Sources of a verdict, as they stand in Resolution.source. Where a database
// spoke the source is its layout (geo.Layout): "enterprise", "ipinfo_company",
// "isp", "anonymous_ip", "ipinfo_privacy", "connection_type", "asn", ….
const (
	SourceReserved   = "reserved"
	SourceTenant     = "suppression_tenant"
	SourceOptOut     = "suppression_opt_out"
	SourceSuppressed = "suppression_operator"
	// SourceAnonymizers is the table of networks that hide their users.
	SourceAnonymizers = "anonymizers"
	SourceOverride    = "override"
	SourceASType      = "as_type"
	SourceOperator    = "operator"
	// SourceReverseDNS is a row that the operator found by reverse DNS, or what the
	// operator's resolver says of the network (ReverseNames).
	SourceReverseDNS = "reverse_dns"
)

// Query is one network to resolve and what the databases know of it.
type Query struct {
	// CompanyID is the tenant, for its own suppressed prefixes.
	CompanyID string
	// Network is the truncated address, or a whole one (/32, /128).
	// IPv4-mapped networks must be unmapped by the caller (geo.Unmap).
	Network netip.Prefix
	// Answer is what geo.View.Lookup says of Network.
	Answer geo.Answer
	// Registered is the suppressions that tenants have registered; nil is none.
	Registered *Registered
	// Reverse is asked where nothing else is known of Network; nil, the default, is
	// nobody.
	Reverse ReverseNames
}

// Chain is the decision chain with its tables. It is immutable and safe for
// concurrent use.
type Chain struct {
	showAt      float32
	reserved    *bart.Lite
	anonymizers *bart.Lite
	suppressed  suppressions
	overrides   *bart.Table[override]
	systems     map[uint32]*system
	unlisted    system // of every number that is not in systems
	providers   providers
	domains     domainTable
	operator    operatorTable
	operatorSet bool
}

// Resolve decides about q and writes the verdict into dst, which it resets. It
// does not allocate, except for the account of a company whose domain is only
// known from a Domain database.
func (c *Chain) Resolve(dst *metivav1.Resolution, q Query) {
	*dst = metivav1.Resolution{} // as Reset, but for what reflection sees to itself
	if !q.Network.IsValid() || c.reserved.OverlapsPrefix(q.Network) {
		verdict(dst, metivav1.Verdict_VERDICT_RESERVED, SourceReserved, confidenceCertain)
		return
	}
	source := q.Registered.by(q.CompanyID, q.Network)
	if source == "" {
		source = c.suppressed.by(q)
	}
	if source != "" {
		verdict(dst, metivav1.Verdict_VERDICT_SUPPRESSED, source, confidenceCertain)
		return
	}
	s := step{c: c, dst: dst, q: &q, a: &q.Answer, known: &c.unlisted}
	if c.operatorSet {
		s.row = c.operator.lookup(q.Network)
	}
	if s.a.Outcome == geo.OutcomeFound {
		dst.Asn = s.a.ASN
		if known := c.systems[s.a.ASN]; known != nil {
			s.known = known
		}
	}
	_ = s.anonymizer() || s.override() || s.hosting() || s.mobile() || s.unknown() || s.record() || s.operator() || s.system()
}

// Prefixes are the networks of the tables that are not a tenant's: within none of
// them, and between them, does the chain tell addresses apart that the databases
// do not.
func (c *Chain) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for p := range c.overrides.All() {
		out = append(out, p)
	}
	for p := range c.operator.uses.All() {
		out = append(out, p)
	}
	for _, table := range []*bart.Lite{c.reserved, c.anonymizers, c.suppressed.optOut, c.suppressed.operator, &c.operator.hide} {
		for p := range table.All() {
			out = append(out, p)
		}
	}
	return out
}

// step is one decision under way. Its methods report whether they ended it. It
// holds what has strings behind pointers: what flows from it into the verdict
// would otherwise take the query to the heap with it.
type step struct {
	c     *Chain
	dst   *metivav1.Resolution
	q     *Query
	a     *geo.Answer
	known *system
	row   operatorAnswer
}

func (s *step) end(v metivav1.Verdict, source string, confidence float32) bool {
	verdict(s.dst, v, source, confidence)
	return true
}

func (s *step) anonymizer() bool {
	switch {
	case s.row.hidden:
		s.dst.PrefixBits = uint32(s.row.hiddenBits)
		return s.end(metivav1.Verdict_VERDICT_ANONYMIZER, SourceOperator, confidenceTable)
	case s.c.anonymizers.LookupPrefix(s.q.Network):
		s.dst.DatabaseBuildMs = s.a.Build.UnixMilli()
		return s.end(metivav1.Verdict_VERDICT_ANONYMIZER, SourceAnonymizers, confidenceTable)
	case s.a.Anonymous:
		return s.by(metivav1.Verdict_VERDICT_ANONYMIZER, s.a.AnonymousFrom)
	case s.known.kind == kindAnonymizer:
		return s.byTable(metivav1.Verdict_VERDICT_ANONYMIZER)
	}
	return false
}

// override names the organisation behind a shared network, while the network
// that shares it announces the address.
func (s *step) override() bool {
	if s.a.Outcome != geo.OutcomeFound {
		return false
	}
	covering, o, ok := s.c.overrides.LookupPrefixLPM(s.q.Network)
	if !ok || o.asn != s.a.ASN {
		return false
	}
	s.evidence(s.a.System)
	s.dst.PrefixBits = uint32(covering.Bits())
	return s.company(o.organization, SourceOverride, confidenceOverride)
}

func (s *step) hosting() bool {
	switch {
	case s.row.found && s.row.kind == kindHosting:
		return s.byRow(metivav1.Verdict_VERDICT_HOSTING)
	case s.a.Hosting:
		return s.by(metivav1.Verdict_VERDICT_HOSTING, s.a.HostingFrom)
	case s.known.kind == kindHosting:
		return s.byTable(metivav1.Verdict_VERDICT_HOSTING)
	case s.known.kind == kindUnknown && s.a.SystemKind == geo.KindHosting:
		return s.by(metivav1.Verdict_VERDICT_HOSTING, s.a.System)
	}
	return false
}

func (s *step) mobile() bool {
	switch {
	case s.row.found && s.row.kind == kindMobile:
		return s.byRow(metivav1.Verdict_VERDICT_MOBILE)
	case s.a.Mobile:
		return s.by(metivav1.Verdict_VERDICT_MOBILE, s.a.MobileFrom)
	case s.known.kind == kindMobile:
		return s.byTable(metivav1.Verdict_VERDICT_MOBILE)
	}
	return false
}

// unknown ends what cannot be decided: the network is shared by several records,
// or nobody knows it.
func (s *step) unknown() bool {
	switch {
	case s.a.Split, s.row.split:
		return s.ambiguous()
	case s.a.Outcome == geo.OutcomeNotFound && s.a.Company == nil && !s.row.found:
		s.dst.DatabaseBuildMs = s.a.Build.UnixMilli()
		return s.end(metivav1.Verdict_VERDICT_NOT_FOUND, geo.LayoutASN.String(), confidenceCertain)
	}
	return false
}

// record is a commercial database's word on who uses the network.
func (s *step) record() bool {
	company := s.a.Company
	if company == nil {
		return false
	}
	s.evidence(s.a.CompanyFrom)
	source := s.a.CompanyFrom.Layout.String()
	switch {
	case company.Kind == geo.KindGuests:
		return s.end(metivav1.Verdict_VERDICT_ISP, source, confidenceRecord)
	case company.Kind == geo.KindAccess:
		// An access provider's network within an organisation's is not the
		// organisation. Where they are the same, the number decides.
		if s.known.kind.isOrganization() && company.Key != "" && company.Key != s.known.key && company.Domain != s.known.organization.domain {
			return s.end(metivav1.Verdict_VERDICT_ISP, source, confidenceRecord)
		}
		return false
	case !company.Kind.IsOrganization() || company.Name == "":
		return false
	case company.Person:
		return s.end(metivav1.Verdict_VERDICT_SOLE_TRADER, source, confidenceRecord)
	case s.known.kind == kindResearch && (s.c.providers.hasResearch(company.Key) || s.c.providers.has(company.Key, company.Domain)):
		// The network is the research network's own; its users are others'.
		return s.end(metivav1.Verdict_VERDICT_EDUCATION_NETWORK, source, confidenceRecord)
	case company.Provider || s.c.providers.has(company.Key, company.Domain):
		return s.end(metivav1.Verdict_VERDICT_ISP, source, confidenceRecord)
	}
	return s.company(s.identity(company), source, confidenceRecord)
}

// identity is the account of a record's company. Databases have several domains
// for one organisation; the table's counts where it is the same one.
func (s *step) identity(company *geo.Company) organization {
	if s.known.kind.isOrganization() && (company.Key == s.known.key || company.Domain != "" && company.Domain == s.known.organization.domain) {
		return s.known.organization
	}
	o := organization{name: company.Name, domain: company.Domain, account: company.Key}
	if o.domain == "" {
		o.domain = s.c.providers.ownDomain(s.a.Domain, company.Name)
	}
	if o.domain != "" {
		o.account = o.domain
	}
	return o
}

// operator is the operator's own word.
func (s *step) operator() bool {
	if !s.row.found {
		return false
	}
	s.dst.PrefixBits = uint32(s.row.bits)
	s.dst.DatabaseBuildMs = s.a.Build.UnixMilli()
	switch {
	case s.row.kind == kindAccess:
		return s.end(metivav1.Verdict_VERDICT_ISP, SourceOperator, confidenceTable)
	case s.row.kind == kindResearch:
		return s.end(metivav1.Verdict_VERDICT_EDUCATION_NETWORK, SourceOperator, confidenceTable)
	case s.row.person:
		return s.end(metivav1.Verdict_VERDICT_SOLE_TRADER, SourceOperator, confidenceTable)
	case s.row.provider:
		return s.end(metivav1.Verdict_VERDICT_ISP, SourceOperator, confidenceTable)
	case s.row.reverseDNS:
		return s.company(s.row.organization, SourceReverseDNS, confidenceReverseDNS)
	case s.row.kind.isOrganization():
		return s.company(s.row.organization, SourceOperator, confidenceOperator)
	case s.c.showAt <= confidenceUntyped:
		return s.company(s.row.organization, SourceOperator, confidenceUntyped)
	case s.known.kind.isOrganization() && s.row.organization.account != s.known.organization.account && s.row.key != s.known.key:
		// Not sure enough to be shown, but enough to doubt that the network is the
		// organisation's around it.
		return s.end(metivav1.Verdict_VERDICT_UNCLASSIFIED, SourceOperator, confidenceUntyped)
	}
	return false
}

// system ends the chain: the kind of the AS decides.
func (s *step) system() bool {
	s.evidence(s.a.System)
	switch s.known.kind {
	case kindAccess:
		return s.byTable(metivav1.Verdict_VERDICT_ISP)
	case kindResearch:
		return s.byTable(metivav1.Verdict_VERDICT_EDUCATION_NETWORK)
	case kindBusiness, kindGovernment, kindEducation:
		if s.changedHands() {
			return s.byTable(metivav1.Verdict_VERDICT_UNCLASSIFIED)
		}
		return s.company(s.known.organization, SourceASType, confidenceAS)
	case kindMixed:
		if s.reverse() {
			return true
		}
		return s.byTable(metivav1.Verdict_VERDICT_UNCLASSIFIED)
	default:
	}
	source := s.a.System.Layout.String()
	switch {
	case s.a.SystemKind == geo.KindAccess:
		return s.end(metivav1.Verdict_VERDICT_ISP, source, confidenceRecord)
	case s.a.Person:
		return s.end(metivav1.Verdict_VERDICT_SOLE_TRADER, source, confidenceTable)
	case s.reverse():
		return true
	}
	return s.end(metivav1.Verdict_VERDICT_UNCLASSIFIED, source, 0)
}

// changedHands reports whether the database announces the number under a name that
// has nothing in common with the table's: it may be somebody else's by now. Another
// spelling is none.
func (s *step) changedHands() bool {
	now := s.a.OrganizationKey
	return now != "" && !orgname.Related(now, strings.TrimPrefix(s.known.key, geo.AccountPrefix)) && !orgname.Related(now, s.known.nameKey)
}

// company is the only place that names one. It names none for a network of which
// a part is something else.
func (s *step) company(o organization, source string, confidence float32) bool {
	switch {
	case s.a.Split, s.a.Partial, s.row.split, s.row.partial:
		return s.ambiguous()
	case confidence < s.c.showAt:
		return s.end(metivav1.Verdict_VERDICT_UNCLASSIFIED, source, confidence)
	}
	if list := s.c.suppressed.byDomain(s.q.CompanyID, o.domain); list != "" {
		s.dst.Asn, s.dst.PrefixBits, s.dst.DatabaseBuildMs = 0, 0, 0
		return s.end(metivav1.Verdict_VERDICT_SUPPRESSED, list, confidenceCertain)
	}
	s.dst.Name, s.dst.Domain, s.dst.AccountId = o.name, o.domain, o.account
	return s.end(metivav1.Verdict_VERDICT_COMPANY, source, confidence)
}

// ambiguous: nothing that was found out counts.
func (s *step) ambiguous() bool {
	// Field by field: Reset would make the query escape to the heap.
	s.dst.Asn, s.dst.PrefixBits, s.dst.DatabaseBuildMs = 0, 0, s.a.Build.UnixMilli()
	return s.end(metivav1.Verdict_VERDICT_AMBIGUOUS_TRUNCATION, geo.LayoutASN.String(), confidenceCertain)
}

// by is a verdict of a database.
func (s *step) by(v metivav1.Verdict, from geo.Evidence) bool {
	s.evidence(from)
	return s.end(v, from.Layout.String(), confidenceTable)
}

// byTable is a verdict by the number of the AS.
func (s *step) byTable(v metivav1.Verdict) bool {
	s.evidence(s.a.System)
	return s.end(v, SourceASType, confidenceTable)
}

// byRow is a verdict of the operator's.
func (s *step) byRow(v metivav1.Verdict) bool {
	s.dst.PrefixBits = uint32(s.row.bits)
	s.dst.DatabaseBuildMs = s.a.Build.UnixMilli()
	return s.end(v, SourceOperator, confidenceTable)
}

func (s *step) evidence(from geo.Evidence) {
	s.dst.PrefixBits, s.dst.DatabaseBuildMs = uint32(from.Bits), from.BuildMs
}

func verdict(dst *metivav1.Resolution, v metivav1.Verdict, source string, confidence float32) {
	dst.Verdict, dst.Source, dst.Confidence = v, source, confidence
}
