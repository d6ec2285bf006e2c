package score

import (
	"math"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// ConfidenceMin is from where on an account is shown (package company), and only a
// shown account has a score.
const ConfidenceMin = 0.6

// humanMs is how long a page has to have been seen, or to have stood before the next
// one, for a human to be behind it.
const humanMs = 1000

// Visit is what a score needs of one version of a visit.
type Visit struct {
	ID      [schemas.IDBytes]byte
	Version uint64
	Removed bool
	// Day is as AccountDay.day.
	Day          int32
	StartedAtMs  int64
	Human        bool
	PageViews    uint32
	EngagedMs    uint32
	Interactions uint32
	// As the resolution has them.
	Name, Domain, Country string
	Confidence            float32
	KeyPages              []*metivav1.KeyPage
	RetentionDays         uint32
}

// Shown reports whether the visit belongs to an account that is shown, and has
// what a score needs: the ids and a time. Others are left out.
func Shown(v *metivav1.Visit) bool {
	r := v.GetResolution()
	return r.GetVerdict() == metivav1.Verdict_VERDICT_COMPANY && r.GetConfidence() >= ConfidenceMin && r.GetAccountId() != ""
}

// HasHumanSign reports whether the visit shows more than that a page was loaded: a
// page was seen for a second, something was done on one, or another page followed
// after a second or more. The last is the only sign there is without consent.
func HasHumanSign(v *metivav1.Visit) bool {
	if v.GetEngagedMs() >= humanMs || v.GetCaptured() || interactions(v) > 0 {
		return true
	}
	pages := v.GetPages()
	for i := 1; i < len(pages); i++ {
		if pages[i].GetFirstAtMs()-pages[0].GetFirstAtMs() >= humanMs {
			return true
		}
	}
	return false
}

// interactions counts what was done besides reading.
func interactions(v *metivav1.Visit) uint32 {
	n := uint64(v.GetFormsStarted()) + uint64(v.GetFormsSubmitted()) + uint64(v.GetOutboundClicks()) + uint64(v.GetDownloads())
	for _, c := range v.GetCustomEvents() {
		n += uint64(c.GetCount())
	}
	return bounded(n)
}

func bounded(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

// DayOf is the date of a moment in a zone, in days since 1970-01-01.
func DayOf(ms int64, zone *time.Location) int32 {
	year, month, day := time.UnixMilli(ms).In(zone).Date()
	return int32(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / int64(24*time.Hour/time.Second))
}

// Read fills dst from a visit that is Shown. Its key pages go by the rules of now.
func Read(dst *Visit, v *metivav1.Visit, rules *Rules, zone *time.Location) {
	pages := dst.KeyPages[:0]
	r := v.GetResolution()
	*dst = Visit{
		ID: [schemas.IDBytes]byte(v.GetVisitId()), Version: v.GetVersion(), Removed: v.GetRemoved(),
		Day: DayOf(v.GetStartedAtMs(), zone), StartedAtMs: v.GetStartedAtMs(),
		Human: HasHumanSign(v), PageViews: v.GetPageViews(), EngagedMs: bounded(v.GetEngagedMs()), Interactions: interactions(v),
		Name: r.GetName(), Domain: r.GetDomain(), Country: v.GetCountry(), Confidence: r.GetConfidence(),
		RetentionDays: v.GetRetentionDays(),
	}
	for _, p := range v.GetPages() {
		pages = rules.Match(pages, p.GetPath())
	}
	dst.KeyPages = pages
}
