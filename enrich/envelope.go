package enrich

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"strings"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// errUndecodable replaces the errors of decoders, whose text may quote what
// they read.
var errUndecodable = errors.New("not a valid record")

const companyIDPrefix = "cmp_"

const (
	// idBytesMax bounds the ids that core makes (cmp_…, brd_…, sit_…).
	idBytesMax = 64
	// writerIDBytesMax bounds the names collectors give themselves.
	writerIDBytesMax = 128
)

// decode reads a value of events.collected into c and checks the rules of the
// envelope. It returns false for a record that breaks one; c then holds what
// could be read.
func decode(c *eventwire.Collected, value []byte) bool {
	e := &c.Event
	if len(value) > schemas.CaptureBytesMax {
		e.Reset()
		return false
	}
	if c.Decode(value) != nil || len(value) > schemas.RecordBytesMax && e.GetFormCapture() == nil {
		return false
	}
	return hasIdentity(e) && hasConsent(e) && hasPage(e) && hasSealed(e) && hasDetail(e)
}

func hasIdentity(e *metivav1.CollectedEvent) bool {
	_, known := metivav1.EventType_name[int32(e.GetType())]
	return len(e.GetEventId()) == schemas.IDBytes &&
		isCompanyID(e.GetCompanyId()) &&
		isID(e.GetSiteId()) && len(e.GetBrandId()) <= idBytesMax && len(e.GetWriterId()) <= writerIDBytesMax &&
		e.GetType() != metivav1.EventType_EVENT_TYPE_UNSPECIFIED && known &&
		e.GetReceivedAtMs() > 0 && e.GetOccurredAtMs() > 0
}

// hasConsent: a visitor id exists only under a grant, and an objection makes
// no event. A capture is of a visitor without a grant too: its subject is named by
// a receipt then.
func hasConsent(e *metivav1.CollectedEvent) bool {
	if len(e.GetVisitKey()) != schemas.IDBytes {
		return false
	}
	switch e.GetConsent() {
	case metivav1.ConsentState_CONSENT_STATE_DENIED, metivav1.ConsentState_CONSENT_STATE_WITHDRAWN:
		return len(e.GetVisitorId()) == 0
	case metivav1.ConsentState_CONSENT_STATE_ANALYTICS, metivav1.ConsentState_CONSENT_STATE_IDENTIFIED:
		return len(e.GetVisitorId()) == schemas.IDBytes || len(e.GetVisitorId()) == 0 && e.GetFormCapture() != nil
	default:
		return false
	}
}

// hasPage: the fields have their bounds, and no query string came through.
func hasPage(e *metivav1.CollectedEvent) bool {
	c := e.GetCampaign()
	return len(e.GetHost()) <= schemas.HostBytesMax &&
		len(e.GetPath()) <= schemas.PathBytesMax && !strings.ContainsAny(e.GetPath(), "?#") &&
		len(e.GetReferrerHost()) <= schemas.HostBytesMax &&
		len(c.GetSource()) <= schemas.CampaignFieldBytesMax &&
		len(c.GetMedium()) <= schemas.CampaignFieldBytesMax &&
		len(c.GetName()) <= schemas.CampaignFieldBytesMax
}

func hasSealed(e *metivav1.CollectedEvent) bool {
	return len(e.GetSealedAddress()) > 0 && len(e.GetSealedAddress()) <= schemas.SealedAddressBytesMax &&
		len(e.GetSealedUserAgent()) <= schemas.SealedUserAgentBytesMax
}

func isID(s string) bool { return s != "" && len(s) <= idBytesMax }

func isCompanyID(s string) bool { return isID(s) && strings.HasPrefix(s, companyIDPrefix) }

// sourceEventID is the event id of a drop whose record holds none: the
// record's partition and offset, which no UUIDv7 looks like.
func sourceEventID(source *metivav1.SourceRef) []byte {
	id := make([]byte, 0, schemas.IDBytes)
	partition, offset := uint64(source.GetPartition()), uint64(source.GetOffset())
	for shift := 56; shift >= 0; shift -= 8 {
		id = append(id, byte(partition>>shift))
	}
	for shift := 56; shift >= 0; shift -= 8 {
		id = append(id, byte(offset>>shift))
	}
	return id
}

// dropOf carries what the ledger needs of a record that ends here. What the
// record does not tell in its right form is left empty.
func dropOf(e *metivav1.CollectedEvent, source *metivav1.SourceRef, reason metivav1.Reason) *metivav1.Drop {
	d := &metivav1.Drop{
		Stage:        metivav1.Stage_STAGE_ENRICH,
		Reason:       reason,
		Source:       source,
		Replayed:     e.GetReplayed(),
		AcceptanceId: acceptanceID(e, new([sha256.Size]byte)),
	}
	if len(e.GetEventId()) == schemas.IDBytes {
		d.EventId = bytes.Clone(e.GetEventId())
	} else {
		d.EventId = sourceEventID(source)
	}
	if isCompanyID(e.GetCompanyId()) {
		d.CompanyId = e.GetCompanyId()
		if isID(e.GetSiteId()) {
			d.SiteId = e.GetSiteId()
		}
	}
	if e.GetReceivedAtMs() > 0 {
		d.ReceivedAtMs = e.GetReceivedAtMs()
	}
	if len(e.GetWriterId()) <= writerIDBytesMax {
		d.WriterId = e.GetWriterId()
	}
	return d
}
