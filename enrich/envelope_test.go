package enrich

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func newRegistry() *prometheus.Registry { return prometheus.NewRegistry() }

func validEvent() *metivav1.CollectedEvent {
	return &metivav1.CollectedEvent{
		EventId: bytes.Repeat([]byte{1}, 16), CompanyId: tenant, BrandId: "brd_a", SiteId: "sit_a",
		Type: metivav1.EventType_EVENT_TYPE_PAGE_VIEW, ReceivedAtMs: 2, OccurredAtMs: 1,
		Consent: metivav1.ConsentState_CONSENT_STATE_DENIED, VisitKey: bytes.Repeat([]byte{2}, 16),
		Host: "example.nl", Path: "/", SealedAddress: []byte{1}, SealedUserAgent: []byte{1},
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("a", n) }
	cases := map[string]func(*metivav1.CollectedEvent){
		"event id":            func(e *metivav1.CollectedEvent) { e.EventId = e.EventId[:15] },
		"no tenant":           func(e *metivav1.CollectedEvent) { e.CompanyId = "" },
		"tenant form":         func(e *metivav1.CollectedEvent) { e.CompanyId = "brd_x" },
		"no site":             func(e *metivav1.CollectedEvent) { e.SiteId = "" },
		"no type":             func(e *metivav1.CollectedEvent) { e.Type = 0 },
		"unknown type":        func(e *metivav1.CollectedEvent) { e.Type = 99 },
		"no time":             func(e *metivav1.CollectedEvent) { e.ReceivedAtMs = 0 },
		"objected":            func(e *metivav1.CollectedEvent) { e.Consent = metivav1.ConsentState_CONSENT_STATE_OBJECTED },
		"no consent":          func(e *metivav1.CollectedEvent) { e.Consent = 0 },
		"visitor when denied": func(e *metivav1.CollectedEvent) { e.VisitorId = bytes.Repeat([]byte{3}, 16) },
		"grant, no visitor":   func(e *metivav1.CollectedEvent) { e.Consent = metivav1.ConsentState_CONSENT_STATE_ANALYTICS },
		"visit key":           func(e *metivav1.CollectedEvent) { e.VisitKey = nil },
		"host":                func(e *metivav1.CollectedEvent) { e.Host = long(schemas.HostBytesMax + 1) },
		"path":                func(e *metivav1.CollectedEvent) { e.Path = long(schemas.PathBytesMax + 1) },
		"query":               func(e *metivav1.CollectedEvent) { e.Path = "/?a=b" },
		"campaign": func(e *metivav1.CollectedEvent) {
			e.Campaign = &metivav1.Campaign{Name: long(schemas.CampaignFieldBytesMax + 1)}
		},
		"no address":   func(e *metivav1.CollectedEvent) { e.SealedAddress = nil },
		"long address": func(e *metivav1.CollectedEvent) { e.SealedAddress = make([]byte, schemas.SealedAddressBytesMax+1) },
		"long agent":   func(e *metivav1.CollectedEvent) { e.SealedUserAgent = make([]byte, schemas.SealedUserAgentBytesMax+1) },
	}
	check := func(e *metivav1.CollectedEvent) bool {
		value, err := proto.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return decode(new(eventwire.Collected), value)
	}
	if !check(validEvent()) {
		t.Error("a valid event was refused")
	}
	for name, change := range cases {
		e := validEvent()
		change(e)
		if check(e) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzDecode: any bytes are an event within the limits, or a drop that fits
// its message; never a panic.
func FuzzDecode(f *testing.F) {
	value, err := proto.Marshal(validEvent())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(value)
	for _, describe := range described() {
		e := validEvent()
		describe(e)
		inState(e, granted)
		if value, err = proto.Marshal(e); err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Add([]byte("not a message"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, value []byte) {
		c := new(eventwire.Collected)
		e := &c.Event
		source := &metivav1.SourceRef{Partition: 3, Offset: 4}
		if decode(c, value) {
			if len(e.GetEventId()) != 16 || len(e.GetPath()) > schemas.PathBytesMax || e.GetFormCapture() == nil && !schemas.DetailFits(e) {
				t.Errorf("accepted %v", e)
			}
			return
		}
		d := dropOf(e, source, metivav1.Reason_REASON_INVALID_RECORD)
		if len(d.GetEventId()) != schemas.IDBytes || len(d.GetCompanyId()) > idBytesMax || len(d.GetSiteId()) > idBytesMax {
			t.Errorf("drop %v", d)
		}
		if _, err := schemas.Encode(nil, schemas.DropOf(d)); err != nil {
			t.Errorf("the drop does not encode: %v", err)
		}
	})
}

func TestRevocations(t *testing.T) {
	t.Parallel()
	r := newRevocations()
	visitor, other := bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 16)
	apply := func(apply func(key, value []byte) error, key string, m proto.Message) {
		t.Helper()
		value, err := proto.Marshal(m)
		if err == nil {
			err = apply([]byte(key), value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	apply(r.ApplyWithdrawal, "k", &metivav1.Withdrawal{CompanyId: tenant, SubjectId: visitor, Sequence: 5})
	apply(r.ApplyWithdrawal, "k", &metivav1.Withdrawal{CompanyId: tenant, SubjectId: visitor, Sequence: 4}) // late
	for sequence, want := range map[uint64]bool{0: true, 4: true, 5: true, 6: false} {
		if got := r.isWithdrawn(tenant, visitor, sequence); got != want {
			t.Errorf("sequence %d: %t", sequence, got)
		}
	}
	if r.isWithdrawn("cmp_other", visitor, 1) || r.isWithdrawn(tenant, other, 1) || r.isWithdrawn(tenant, nil, 1) {
		t.Error("a withdrawal reaches beyond its tenant and visitor")
	}
	apply(r.ApplyErasure, "e", &metivav1.Erasure{CompanyId: tenant, SubjectId: visitor})
	apply(r.ApplyErasure, "cmp_gone", &metivav1.Erasure{CompanyId: "cmp_gone"})
	if !r.isErased(tenant, visitor) || r.isErased(tenant, other) || r.isErased(tenant, nil) || !r.isErased("cmp_gone", nil) {
		t.Error("erasures")
	}
	for _, apply := range []func(key, value []byte) error{r.ApplyWithdrawal, r.ApplyErasure} {
		for _, value := range []string{"\xff\xff", "\x0a\x00"} {
			if err := apply([]byte("x"), []byte(value)); !errors.Is(err, errUndecodable) {
				t.Errorf("%q: %v", value, err)
			}
		}
	}
	for key, apply := range map[string]func(key, value []byte) error{"k": r.ApplyWithdrawal, "e": r.ApplyErasure, "cmp_gone": r.ApplyErasure} {
		if err := apply([]byte(key), nil); err != nil {
			t.Error(err)
		}
	}
	if r.isWithdrawn(tenant, visitor, 1) || r.isErased(tenant, visitor) || r.isErased("cmp_gone", nil) {
		t.Error("a removed record still counts")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{BatchRecordsMax: -1, BatchBytesMax: -1, BatchWaitMax: -1, KeyWaitMax: -1, DrainTimeout: -1, Compression: "x"}
	if err := bad.Validate(); err == nil || strings.Count(err.Error(), "\n") != 5 {
		t.Errorf("want six faults, got %v", err)
	}
	if _, err := New(Config{}, Deps{}); err == nil || strings.Count(err.Error(), "\n") != 6 {
		t.Errorf("want seven faults, got %v", err)
	}
}
