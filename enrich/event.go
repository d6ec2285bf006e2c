package enrich

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/metiva-io/metiva/enrich/bot"
	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/device"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/person"
	"github.com/metiva-io/metiva/enrich/source"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// opener opens sealed values (pkg/seal.Opener).
type opener interface {
	OpenAddressIn(in *seal.Opening, b seal.Binding, blob []byte) (seal.Truncated, error)
	OpenBytesIn(in *seal.Opening, dst []byte, b seal.Binding, blob []byte) ([]byte, error)
	person.Vault
}

// steps is what the steps need besides the event. It is shared by all
// partitions.
type steps struct {
	opener      opener
	chain       atomic.Pointer[company.Chain] // replaced by Worker.SetLists
	bots        *bot.Classifier
	devices     *device.Reader
	sources     atomic.Pointer[source.Tables] // replaced by Worker.SetLists
	siteHosts   *siteHosts
	persons     *person.Step
	registered  *company.Registered
	revocations *revocations
	metrics     *metrics
	now         func() time.Time
}

// outcome of one record.
type outcome struct {
	record *metivav1.EnrichedRecord
	// capture goes to captures.enriched beside an event; nil for most.
	capture *metivav1.Capture
	// companyID and visitKey, as collected, place the record on its partition:
	// a repetition goes where the first went.
	companyID string
	visitKey  []byte
	// unlinked: the record's key is the visitor's and must not go on.
	unlinked bool
	// dead asks for a copy of the source record on events.dead.
	dead   bool
	reason metivav1.Reason
}

// errKeyMissing: the key that sealed a value is not known yet.
var errKeyMissing = errors.New("a data key is not on control.keys")

// enrich runs the steps on one record. The error is errKeyMissing, with the
// drop for the case that the key does not come, or one of the database's: the
// record is then tried again with its batch.
func (s *steps) enrich(sc *scratch, v geo.View, value []byte, from *metivav1.SourceRef) (outcome, error) {
	defer sc.forget()
	sc.seen++
	watch := s.metrics.watch(sc.isTimed())
	e := &sc.collected.Event
	if !decode(&sc.collected, value) {
		return drop(e, from, metivav1.Reason_REASON_INVALID_RECORD), nil
	}
	watch.lap(stepDecode)
	if reason := s.takenBack(e); reason != 0 {
		return drop(e, from, reason), nil
	}
	binding := seal.Binding{CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), EventID: [schemas.IDBytes]byte(e.GetEventId())}
	if reason := s.openAgent(sc, binding); reason != 0 {
		return failedOpen(e, from, reason)
	}
	watch.lap(stepOpen)
	out := sc.leaving.take(e, from)
	unlinked := s.applyWithdrawal(out)
	spam := s.origin(sc, out)
	watch.lap(stepSource)
	said := sc.agents.of(sc.agent)
	if !said.known {
		said.bot = s.bots.Classify(sc.agent)
	}
	s.judgeSender(out, said.bot, bot.Signs{Automated: e.GetAutomated(), ReferrerSpam: spam})
	watch.lap(stepBot)
	if out.GetBot() == metivav1.BotClass_BOT_CLASS_NONE {
		reason, err := s.resolve(sc, out, v, binding)
		if err != nil {
			return outcome{}, err
		}
		if reason != 0 {
			return failedOpen(e, from, reason)
		}
		s.judgeNetwork(out)
	}
	watch.lap(stepCompany)
	if !said.known {
		said.device, said.known = s.devices.Describe(sc.agent), true
	}
	d := said.device
	if !isGranted(out) {
		d = d.Coarse()
	}
	out.Device, out.BrowserFamily, out.SystemFamily = d.Class, d.Browser, d.System
	watch.lap(stepDevice)
	out.EnrichedAtMs = sc.at(s.now)
	capture, reason := s.capture(sc, out)
	if reason != 0 {
		return failedOpen(e, from, reason)
	}
	watch.lap(stepPerson)
	return outcome{record: sc.leaving.wrapped(), capture: capture, companyID: e.GetCompanyId(), visitKey: e.GetVisitKey(), unlinked: unlinked}, nil
}

// openAgent puts the agent into the scratch; an event without one has none.
func (s *steps) openAgent(sc *scratch, b seal.Binding) metivav1.Reason {
	sealed := sc.collected.Event.GetSealedUserAgent()
	if len(sealed) == 0 {
		return 0
	}
	b.Field = seal.FieldUserAgent
	opened, err := s.opener.OpenBytesIn(sc.opening, sc.agent[:0], b, sealed)
	sc.agent = opened
	return reasonOf(err)
}

// resolve opens the address and decides on the company and the country.
func (s *steps) resolve(sc *scratch, out *metivav1.EnrichedEvent, v geo.View, b seal.Binding) (metivav1.Reason, error) {
	b.Field = seal.FieldAddress
	truncated, err := s.opener.OpenAddressIn(sc.opening, b, out.GetSealedAddress())
	if err != nil {
		return reasonOf(err), nil
	}
	network := geo.Unmap(truncated.Prefix())
	answer, err := v.Lookup(network)
	if err != nil {
		return 0, fmt.Errorf("resolving a company: %w", err)
	}
	out.Country = answer.Country
	if isGranted(out) {
		out.Region = answer.Region
	}
	s.chain.Load().Resolve(out.Resolution, company.Query{CompanyID: out.GetCompanyId(), Network: network, Answer: answer, Registered: s.registered, Reverse: sc.reverse})
	return 0, nil
}

// applyWithdrawal reduces the event of a visitor who has withdrawn to company
// level. The visit key of a consented event is made from the visitor id and
// stands beside it in the day's earlier rows, so it goes too: the event is a
// visit of its own, under a key that says nothing but which event it is.
func (s *steps) applyWithdrawal(out *metivav1.EnrichedEvent) bool {
	if !s.revocations.isWithdrawn(out.GetCompanyId(), out.GetVisitorId(), out.GetConsentSeq()) {
		return false
	}
	out.VisitorId, out.ConsentSeq = nil, 0
	out.VisitKey = ownVisitKey(out)
	out.Consent = metivav1.ConsentState_CONSENT_STATE_WITHDRAWN
	s.metrics.withdrawn.Inc()
	return true
}

// ownVisitKey is the key of an event that is a visit of its own: the same each time
// the event is worked on.
func ownVisitKey(e *metivav1.EnrichedEvent) []byte {
	digest := sha256.Sum256(append([]byte("a visit of its own/"+e.GetCompanyId()+"/"), e.GetEventId()...))
	return digest[:schemas.IDBytes]
}

// reasonOf is the reason for a value that does not open; none for nil.
func reasonOf(err error) metivav1.Reason {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, seal.ErrUnknownKey):
		return metivav1.Reason_REASON_UNKNOWN_KEY
	case errors.Is(err, seal.ErrShredded):
		return metivav1.Reason_REASON_SHREDDED
	case errors.Is(err, seal.ErrNoKey):
		return metivav1.Reason_REASON_INTERNAL
	default:
		return metivav1.Reason_REASON_TAMPERED
	}
}

func failedOpen(e *metivav1.CollectedEvent, from *metivav1.SourceRef, reason metivav1.Reason) (outcome, error) {
	out := drop(e, from, reason)
	if reason == metivav1.Reason_REASON_UNKNOWN_KEY {
		return out, errKeyMissing
	}
	return out, nil
}

// drop ends a record with its reason; what an operator may want to look at
// leaves a dead letter too.
func drop(e *metivav1.CollectedEvent, from *metivav1.SourceRef, reason metivav1.Reason) outcome {
	d := dropOf(e, from, reason)
	out := outcome{record: schemas.DropOf(d), companyID: d.GetCompanyId(), reason: reason}
	if len(e.GetVisitKey()) == schemas.IDBytes {
		out.visitKey = e.GetVisitKey()
	}
	switch reason {
	case metivav1.Reason_REASON_SHREDDED, metivav1.Reason_REASON_ERASED, metivav1.Reason_REASON_WITHDRAWN:
	default:
		out.dead = true
	}
	return out
}
