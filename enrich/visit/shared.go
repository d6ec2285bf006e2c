package visit

import (
	"math"
	"strings"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// resolutionKey is every field of a resolution.
type resolutionKey struct {
	verdict                       metivav1.Verdict
	account, name, domain, source string
	confidence, asn, prefixBits   uint32
	buildMs                       int64
	confirmation                  metivav1.Confirmation
}

// textsMax is how many texts are shared at a time, resolutionsMax how many resolutions.
const (
	textsMax       = 4096
	resolutionsMax = 1024
)

// textSharedBytesMax bounds each of them: they are not counted in the set's bytes.
const textSharedBytesMax = 256

// entryOf makes an entry for a journal: what the journal keeps of it that is not copied
// has memory of its own.
func (s *Set) entryOf(entry *Entry, e *metivav1.EnrichedEvent, offset int64, j *journal) {
	entry.set(e, offset)
	if !entry.Campaign.isZero() {
		c := &entry.Campaign
		c.Source, c.Medium, c.Name = s.shared(c.Source), s.shared(c.Medium), s.shared(c.Name)
	}
	if r := entry.Resolution; r != nil {
		if n := len(j.resolutions); n > 0 && sameResolution(j.resolutions[n-1], r) {
			entry.Resolution = j.resolutions[n-1]
		} else {
			entry.Resolution = s.sharedResolution(r)
		}
	}
}

// sharedResolution is an equal resolution that is nobody's, and never changed.
func (s *Set) sharedResolution(r *metivav1.Resolution) *metivav1.Resolution {
	key := resolutionKey{
		verdict: r.GetVerdict(), account: r.GetAccountId(), name: r.GetName(), domain: r.GetDomain(), source: r.GetSource(),
		confidence: math.Float32bits(r.GetConfidence()), asn: r.GetAsn(), prefixBits: r.GetPrefixBits(), buildMs: r.GetDatabaseBuildMs(),
		confirmation: r.GetConfirmation(),
	}
	if known, ok := s.resolutions[key]; ok {
		return known
	}
	if len(s.resolutions) >= resolutionsMax {
		clear(s.resolutions)
	}
	key.account, key.name, key.domain, key.source = strings.Clone(key.account), strings.Clone(key.name), strings.Clone(key.domain), strings.Clone(key.source)
	own := &metivav1.Resolution{
		Verdict: key.verdict, AccountId: key.account, Name: key.name, Domain: key.domain, Source: key.source,
		Confidence: r.GetConfidence(), Asn: key.asn, PrefixBits: key.prefixBits, DatabaseBuildMs: key.buildMs, Confirmation: key.confirmation,
	}
	s.resolutions[key] = own
	return own
}

func (s *Set) shared(text string) string {
	if text == "" {
		return ""
	}
	if len(text) > textSharedBytesMax {
		return strings.Clone(text)
	}
	known, ok := s.texts[text]
	if !ok {
		if len(s.texts) >= textsMax {
			clear(s.texts)
		}
		known = strings.Clone(text)
		s.texts[known] = known
	}
	return known
}
