package sink

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// visitKey names a row of visits.
type visitKey struct {
	company, site string
	id            [schemas.IDBytes]byte
	startedAtMs   int64
}

// visits are the records of visits.enriched.
func (w *Worker) visits() latest[visitKey, *metivav1.Visit] {
	return latest[visitKey, *metivav1.Visit]{
		table: store.TableVisits,
		read: func(value []byte) (*metivav1.Visit, error) {
			v := new(metivav1.Visit)
			if err := proto.Unmarshal(value, v); err != nil {
				return v, fmt.Errorf("reading a visit: %w", err)
			}
			return v, checkVisit(v)
		},
		key: func(v *metivav1.Visit) visitKey {
			return visitKey{v.GetCompanyId(), v.GetSiteId(), [schemas.IDBytes]byte(v.GetVisitId()), v.GetStartedAtMs()}
		},
		version: (*metivav1.Visit).GetVersion,
		expires: func(v *metivav1.Visit) time.Time { return w.expiryOf(v.GetStartedAtMs(), v.GetRetentionDays()) },
		owner:   func(v *metivav1.Visit) (string, []byte) { return v.GetCompanyId(), v.GetVisitorId() },
		insert:  w.deps.Store.InsertVisits,
		missing: w.deps.Store.MissingVisits,
	}
}

// The lists of a visit end somewhere (visit.proto).
const (
	visitPagesMax        = 50
	visitFormsMax        = 16
	visitCustomEventsMax = 32
)

// checkVisit holds a visit to its rules. An error names the field, never its value.
func checkVisit(v *metivav1.Visit) error {
	person := v.GetConsent() == metivav1.ConsentState_CONSENT_STATE_ANALYTICS || v.GetConsent() == metivav1.ConsentState_CONSENT_STATE_IDENTIFIED
	for _, rule := range []struct {
		field string
		ok    bool
	}{
		{"visit_id", len(v.GetVisitId()) == schemas.IDBytes},
		{"company_id", isID(v.GetCompanyId())},
		{"brand_id", v.GetBrandId() == "" || isID(v.GetBrandId())},
		{"site_id", isID(v.GetSiteId())},
		{"visit_key", len(v.GetVisitKey()) == schemas.IDBytes},
		{"visitor_id", len(v.GetVisitorId()) == 0 || len(v.GetVisitorId()) == schemas.IDBytes && person},
		{"version", v.GetVersion() > 0},
		{"started_at_ms", isTime(v.GetStartedAtMs()) && v.GetStartedAtMs() > 0},
		{"times", isTime(v.GetEndedAtMs()) && isTime(v.GetLastReceivedAtMs())},
		{"hosts", fits(schemas.HostBytesMax, v.GetEntryHost(), v.GetExitHost())},
		{"paths", fits(schemas.PathBytesMax, v.GetEntryPath(), v.GetExitPath())},
		{"touches", touchFits(v.GetFirstTouch()) && touchFits(v.GetLastTouch())},
		{"families", fits(labelBytesMax, v.GetBrowserFamily(), v.GetSystemFamily())},
		{"country", len(v.GetCountry()) == 0 || len(v.GetCountry()) == 2},
		{"region", v.GetRegion() == "" || len(v.GetRegion()) <= regionBytesMax && person},
		{"resolution", checkResolution(v.GetResolution()) == nil},
		{"pages", pagesFit(v.GetPages())},
		{"lists", len(v.GetSubmittedFormIds()) <= visitFormsMax && len(v.GetCustomEvents()) <= visitCustomEventsMax},
		{"names", namesFit(v)},
		{"scroll_percent_max", v.GetScrollPercentMax() <= 100},
		{"retention_days", v.GetRetentionDays() <= retentionDays},
	} {
		if !rule.ok {
			return fmt.Errorf("%w: %s", errEnvelope, rule.field)
		}
	}
	return nil
}

func touchFits(t *metivav1.VisitTouch) bool {
	c := t.GetCampaign()
	return isTime(t.GetAtMs()) && fits(schemas.HostBytesMax, t.GetTrafficSource(), t.GetReferrerHost()) &&
		fits(schemas.CampaignFieldBytesMax, c.GetSource(), c.GetMedium(), c.GetName())
}

func pagesFit(pages []*metivav1.VisitPage) bool {
	for _, p := range pages {
		if len(p.GetHost()) > schemas.HostBytesMax || len(p.GetPath()) > schemas.PathBytesMax || p.GetScrollPercentMax() > 100 || !isTime(p.GetFirstAtMs()) {
			return false
		}
	}
	return len(pages) <= visitPagesMax
}

func namesFit(v *metivav1.Visit) bool {
	for _, c := range v.GetCustomEvents() {
		if len(c.GetName()) > nameBytesMax {
			return false
		}
	}
	return fits(nameBytesMax, v.GetSubmittedFormIds()...)
}
