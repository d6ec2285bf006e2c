package company

import (
	"net/netip"
	"strconv"

	"github.com/gaissmai/bart"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Confidence of a verdict, 0 to 1. Those of companies are design decisions
// (DESIGN §6); the others say how sure the table is.
const (
	confidenceCertain  = 1.0
	confidenceOverride = 0.95
	confidenceTable    = 0.9
	confidenceAS       = 0.75

	// ShowAtDefault is the least confidence at which a company is shown.
	ShowAtDefault = 0.6
)

// Sources of a verdict, as they stand in Resolution.source.
const (
	SourceReserved    = "reserved"
	SourceSuppression = "suppression"
	SourceOverride    = "override"
	SourceASType      = "as_type"
	SourceASN         = "asn"
)

// Query is one network to resolve and what the databases know of it.
type Query struct {
	// CompanyID is the tenant, for its own suppressed prefixes.
	CompanyID string
	// Network is the truncated address, or a whole one (/32, /128).
	// IPv4-mapped networks must be unmapped by the caller (geo.Unmap).
	Network netip.Prefix
	// Found says that one record covers the whole network; Ambiguous, that
	// the matched record is longer than the network.
	Found, Ambiguous bool
	ASN              uint32
	Organization     string
	// MatchedBits is the length of the record's network.
	MatchedBits int
	// DatabaseBuildMs is the build time of the database, Unix milliseconds.
	DatabaseBuildMs int64
}

// Suppression is a prefix that is never resolved: a tenant's own offices, or
// an opt-out for all tenants (CompanyID empty).
type Suppression struct {
	CompanyID string
	Prefix    netip.Prefix
}

// Chain is the decision chain with its tables. It is immutable and safe for
// concurrent use.
type Chain struct {
	showAt     float32
	reserved   *bart.Lite
	suppressed map[string]*bart.Lite // by company id; "" is everyone
	overrides  *bart.Table[override]
	systems    map[uint32]system
}

// Resolve decides about q and writes the verdict into dst, which it resets.
// It does not allocate, except for the account id of a company whose domain is
// not known.
func (c *Chain) Resolve(dst *metivav1.Resolution, q Query) {
	dst.Reset()
	if !q.Network.IsValid() || c.reserved.OverlapsPrefix(q.Network) {
		verdict(dst, metivav1.Verdict_VERDICT_RESERVED, SourceReserved, confidenceCertain)
		return
	}
	if c.isSuppressed(q) {
		verdict(dst, metivav1.Verdict_VERDICT_SUPPRESSED, SourceSuppression, confidenceCertain)
		return
	}
	dst.DatabaseBuildMs = q.DatabaseBuildMs
	switch {
	case q.Ambiguous:
		verdict(dst, metivav1.Verdict_VERDICT_AMBIGUOUS_TRUNCATION, SourceASN, confidenceCertain)
		return
	case !q.Found:
		verdict(dst, metivav1.Verdict_VERDICT_NOT_FOUND, SourceASN, confidenceCertain)
		return
	}
	dst.Asn = q.ASN
	dst.PrefixBits = uint32(q.MatchedBits)
	known := c.systems[q.ASN]
	if known.kind == kindAnonymizer {
		verdict(dst, metivav1.Verdict_VERDICT_ANONYMIZER, SourceASType, confidenceTable)
		return
	}
	if covering, o, ok := c.overrides.LookupPrefixLPM(q.Network); ok && o.asn == q.ASN {
		dst.PrefixBits = uint32(covering.Bits())
		c.company(dst, o.organization, SourceOverride, confidenceOverride)
		return
	}
	c.byKind(dst, known, q)
}

// byKind ends the chain: the kind of the AS decides.
func (c *Chain) byKind(dst *metivav1.Resolution, known system, q Query) {
	switch known.kind {
	case kindHosting:
		verdict(dst, metivav1.Verdict_VERDICT_HOSTING, SourceASType, confidenceTable)
	case kindMobile:
		verdict(dst, metivav1.Verdict_VERDICT_MOBILE, SourceASType, confidenceTable)
	case kindAccess:
		verdict(dst, metivav1.Verdict_VERDICT_ISP, SourceASType, confidenceTable)
	case kindResearch:
		verdict(dst, metivav1.Verdict_VERDICT_EDUCATION_NETWORK, SourceASType, confidenceTable)
	case kindBusiness, kindGovernment, kindEducation:
		c.company(dst, known.organization, SourceASType, confidenceAS)
	case kindMixed:
		verdict(dst, metivav1.Verdict_VERDICT_UNCLASSIFIED, SourceASType, confidenceTable)
	default:
		if looksLikePerson(q.Organization) {
			verdict(dst, metivav1.Verdict_VERDICT_SOLE_TRADER, SourceASN, confidenceTable)
			return
		}
		verdict(dst, metivav1.Verdict_VERDICT_UNCLASSIFIED, SourceASN, 0)
	}
}

// company is the only place that names one.
func (c *Chain) company(dst *metivav1.Resolution, o organization, source string, confidence float32) {
	if confidence < c.showAt {
		verdict(dst, metivav1.Verdict_VERDICT_UNCLASSIFIED, source, confidence)
		return
	}
	verdict(dst, metivav1.Verdict_VERDICT_COMPANY, source, confidence)
	dst.Name, dst.Domain = o.name, o.domain
	dst.AccountId = o.domain
	if dst.AccountId == "" {
		dst.AccountId = "as" + strconv.FormatUint(uint64(dst.GetAsn()), 10)
	}
}

func verdict(dst *metivav1.Resolution, v metivav1.Verdict, source string, confidence float32) {
	dst.Verdict, dst.Source, dst.Confidence = v, source, confidence
}

// isSuppressed reports whether any address of the network is suppressed, for
// everyone or for the tenant. A truncated address may stand for a suppressed
// one, so a partial overlap counts.
func (c *Chain) isSuppressed(q Query) bool {
	if all := c.suppressed[""]; all != nil && all.OverlapsPrefix(q.Network) {
		return true
	}
	own := c.suppressed[q.CompanyID]
	return q.CompanyID != "" && own != nil && own.OverlapsPrefix(q.Network)
}
