package reveal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/seal/reveal"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	companyA = "cmp_00000000000000000000"
	companyB = "cmp_11111111111111111111"
	secretUA = "Mozilla/5.0 (canary)"
	secretIP = "145.221.173.0/24"
	secretMX = "jan@canary.example"
)

var (
	now     = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	event   = [16]byte{1, 2, 3}
	subject = [16]byte{9}
)

// rig holds one sealed value of each class.
type rig struct {
	opener  *seal.Opener
	keys    []*metivav1.DataKey
	sealed  map[string][]byte // by field
	entries []reveal.Entry
	mu      sync.Mutex
	refuse  error
	// whenAudited runs before the audit answers.
	whenAudited func(reveal.Entry)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	if err := seal.GenerateDevelopmentKeys(dir); err != nil {
		t.Fatal(err)
	}
	material, err := seal.ReadKeyFile(filepath.Join(dir, seal.KeyFileName(seal.PurposeResolverPrivate)), seal.PurposeResolverPrivate)
	if err != nil {
		t.Fatal(err)
	}
	private, err := material.PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{opener: seal.NewOpener(private), sealed: map[string][]byte{}}
	sealer, err := seal.NewSealer(private.Public(), "w", func(_ context.Context, rec *metivav1.DataKey) error {
		r.keys = append(r.keys, rec)
		value, err := proto.Marshal(&metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: rec}})
		return errors.Join(err, r.opener.ApplyKey(seal.RecordKeyOf(rec), value))
	}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if err := sealer.Prepare(t.Context(), companyA); err != nil {
		t.Fatal(err)
	}
	subjectKey, err := sealer.NewSubjectKey(t.Context(), companyA, subject)
	if err != nil {
		t.Fatal(err)
	}
	b := seal.Binding{CompanyID: companyA, SiteID: "sit_a", EventID: event, Field: seal.FieldAddress}
	put := func(blob []byte, err error) {
		if err != nil {
			t.Fatal(err)
		}
		r.sealed[b.Field] = blob
	}
	put(sealer.SealAddress(nil, b, seal.AddressOf(netip.MustParseAddr("145.221.173.91"), seal.NewScratch())))
	b.Field = seal.FieldUserAgent
	put(sealer.SealBytes(nil, b, []byte(secretUA)))
	b.Field, b.SubjectID = seal.FormField("email"), subject
	put(subjectKey.SealField(nil, b, []byte(secretMX)))
	return r
}

func (r *rig) audit(_ context.Context, e reveal.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.whenAudited != nil {
		r.whenAudited(e)
	}
	if r.refuse != nil {
		return r.refuse
	}
	r.entries = append(r.entries, e)
	return nil
}

// outcomes are what the audit holds, "outcome/cause" each.
func (r *rig) outcomes(t *testing.T) []string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.entries {
		if err := e.Validate(); err != nil {
			t.Errorf("the audit holds an entry that is not valid: %v", err)
		}
		out = append(out, strings.TrimSuffix(string(e.Outcome)+"/"+string(e.Cause), "/"))
	}
	return out
}

func (r *rig) revealer(t *testing.T) *reveal.Revealer {
	t.Helper()
	v, err := reveal.New(reveal.Config{Opener: r.opener, Audit: r.audit, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (r *rig) request(field string) reveal.Request {
	req := reveal.Request{SiteID: "sit_a", EventID: event, Field: field, Sealed: r.sealed[field], Reason: "the visitor asked what we hold"}
	if reveal.ClassOf(field) == reveal.ClassForm {
		req.SubjectID = subject
	}
	return req
}

func claimOf(t *testing.T, company string) tenant.Claim {
	t.Helper()
	claim, err := tenant.OperatorClaim(company, "operator:jo")
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

func everything() reveal.Terms {
	return reveal.Terms{
		Role: "privacy_officer", Classes: []reveal.Class{reveal.ClassAddress, reveal.ClassUserAgent, reveal.ClassForm},
		Until: now.Add(time.Minute), Values: 10,
	}
}

func grantOf(t *testing.T, company string, change ...func(*reveal.Terms)) reveal.Grant {
	t.Helper()
	terms := everything()
	for _, c := range change {
		c(&terms)
	}
	// Made a while ago, so that it can have ended by now.
	g, err := reveal.NewGrant(claimOf(t, company), terms, now.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// hidden fails when text holds a sealed value.
func hidden(t *testing.T, what, text string) {
	t.Helper()
	for _, needle := range []string{"canary", "145.221.173"} {
		if strings.Contains(text, needle) {
			t.Errorf("%s shows a value: %s", what, text)
		}
	}
}

func TestRevealAfterTheRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v := r.revealer(t)
	for field, want := range map[string]string{seal.FieldAddress: secretIP, seal.FieldUserAgent: secretUA, seal.FormField("email"): secretMX} {
		r.entries = nil
		got, err := v.Reveal(t.Context(), grantOf(t, companyA), r.request(field))
		if err != nil || got.Reveal() != want {
			t.Fatalf("%s: %q, %v", field, got.Reveal(), err)
		}
		raw, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		var logged bytes.Buffer
		slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "v", got)
		hidden(t, "the result", fmt.Sprint(got, &got)+fmt.Sprintf("%#v %+v %s %q %x", got, got, got, got, got)+string(raw)+logged.String())
		if !slices.Equal(r.outcomes(t), []string{"granted"}) {
			t.Fatalf("recorded %v", r.outcomes(t))
		}
		e := r.entries[0]
		if e.CompanyID != companyA || e.Actor != "operator:jo" || e.Role != "privacy_officer" || e.Reason != "the visitor asked what we hold" ||
			e.SiteID != "sit_a" || e.EventID != event || e.Field != field || !e.At.Equal(now) || (e.SubjectID == subject) != (field == seal.FormField("email")) {
			t.Errorf("recorded %+v", e)
		}
		hidden(t, "the record", fmt.Sprintf("%+v", e))
	}
}

func TestNoRecordNoReveal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	opened := false
	v, err := reveal.New(reveal.Config{Opener: watched{r.opener, &opened}, Audit: r.audit, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	r.refuse = errors.New("postgres away")
	got, err := v.Reveal(t.Context(), grantOf(t, companyA), r.request(seal.FieldUserAgent))
	if !errors.Is(err, reveal.ErrNotAudited) || !errors.Is(err, r.refuse) || !got.IsZero() || opened {
		t.Fatalf("%q, %v, opened is %v", got.Reveal(), err, opened)
	}
	// The record stands before the value is opened, not after.
	r.refuse = nil
	r.whenAudited = func(reveal.Entry) {
		if opened {
			t.Error("opened before it was recorded")
		}
	}
	if _, err := v.Reveal(t.Context(), grantOf(t, companyA), r.request(seal.FieldUserAgent)); err != nil || !opened {
		t.Fatalf("%v, opened is %v", err, opened)
	}
}

// watched notes that something was opened.
type watched struct {
	reveal.Opener
	opened *bool
}

func (w watched) OpenBytes(dst []byte, b seal.Binding, blob []byte) ([]byte, error) {
	*w.opened = true
	return w.Opener.OpenBytes(dst, b, blob)
}

func TestDenialsAreRecorded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", reveal.ReasonBytesMax+1)
	for name, c := range map[string]struct {
		grant  func(*testing.T) reveal.Grant
		change func(*reveal.Request)
		want   string
	}{
		"no grant": {func(*testing.T) reveal.Grant { return reveal.Grant{} }, nil, "no_grant"},
		"ended":    {func(t *testing.T) reveal.Grant { return grantOf(t, companyA, func(x *reveal.Terms) { x.Until = now }) }, nil, "grant_ended"},
		"other class": {func(t *testing.T) reveal.Grant {
			return grantOf(t, companyA, func(x *reveal.Terms) { x.Classes = x.Classes[:1] })
		}, nil, "class_not_granted"},
		"no reason":       {nil, func(r *reveal.Request) { r.Reason = "" }, "invalid_request"},
		"blank reason":    {nil, func(r *reveal.Request) { r.Reason = " \t" }, "invalid_request"},
		"long reason":     {nil, func(r *reveal.Request) { r.Reason = long }, "invalid_request"},
		"control reason":  {nil, func(r *reveal.Request) { r.Reason = "ok\n{\"outcome\":\"granted\"}" }, "invalid_request"},
		"not UTF-8":       {nil, func(r *reveal.Request) { r.Reason = "\xff" }, "invalid_request"},
		"no site":         {nil, func(r *reveal.Request) { r.SiteID = "" }, "invalid_request"},
		"no event":        {nil, func(r *reveal.Request) { r.EventID = [16]byte{} }, "invalid_request"},
		"no value":        {nil, func(r *reveal.Request) { r.Sealed = nil }, "invalid_request"},
		"unknown field":   {nil, func(r *reveal.Request) { r.Field = "other" }, "invalid_request"},
		"empty form name": {nil, func(r *reveal.Request) { r.Field = "form." }, "invalid_request"},
		"long field":      {nil, func(r *reveal.Request) { r.Field = seal.FormField(long); r.SubjectID = subject }, "invalid_request"},
		"stray subject":   {nil, func(r *reveal.Request) { r.SubjectID = subject }, "invalid_request"},
		"form of nobody":  {nil, func(r *reveal.Request) { r.Field = seal.FormField("email") }, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			grant := grantOf(t, companyA)
			if c.grant != nil {
				grant = c.grant(t)
			}
			req := r.request(seal.FieldUserAgent)
			if c.change != nil {
				c.change(&req)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // the person hung up: the denial is recorded all the same
			got, err := r.revealer(t).Reveal(ctx, grant, req)
			if !errors.Is(err, reveal.ErrDenied) || errors.Is(err, reveal.ErrNotAudited) || !got.IsZero() {
				t.Fatalf("%q, %v", got.Reveal(), err)
			}
			if want := []string{"denied/" + c.want}; !slices.Equal(r.outcomes(t), want) {
				t.Errorf("recorded %v, want %v", r.outcomes(t), want)
			}
			if len(r.entries[0].Reason) > reveal.ReasonBytesMax || len(r.entries[0].Field) > reveal.FieldBytesMax {
				t.Error("the record holds what was refused")
			}
			if c.grant == nil {
				r.entries = nil
				if _, err := r.revealer(t).Reveal(t.Context(), grant, r.request(seal.FieldUserAgent)); err != nil {
					t.Errorf("an invalid request used the grant up: %v", err)
				}
			}
		})
	}
}

func TestADenialThatIsNotRecordedSaysSo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.refuse = errors.New("postgres away")
	_, err := r.revealer(t).Reveal(t.Context(), reveal.Grant{}, r.request(seal.FieldUserAgent))
	if !errors.Is(err, reveal.ErrDenied) || !errors.Is(err, reveal.ErrNotAudited) {
		t.Fatalf("got %v", err)
	}
}

func TestGrantCountsItsValues(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v, grant := r.revealer(t), grantOf(t, companyA, func(x *reveal.Terms) { x.Values = 3 })
	var wg sync.WaitGroup
	var mu sync.Mutex
	shown := 0
	for range 12 {
		wg.Go(func() {
			if _, err := v.Reveal(context.Background(), grant, r.request(seal.FieldAddress)); err == nil {
				mu.Lock()
				defer mu.Unlock()
				shown++
			} else if !errors.Is(err, reveal.ErrDenied) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if shown != 3 || len(r.entries) != 12 {
		t.Errorf("%d values shown of 3, %d records of 12", shown, len(r.entries))
	}
}

// TestFailuresAreRecorded: what does not open is said after "granted", under the
// same id; another tenant's grant does not open a value, whatever it asks for.
func TestFailuresAreRecorded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		company string
		change  func(*testing.T, *rig, *reveal.Request)
		want    error
		cause   string
	}{
		"other tenant's grant": {companyB, nil, seal.ErrTampered, "tampered"},
		"other site":           {companyA, func(_ *testing.T, _ *rig, q *reveal.Request) { q.SiteID = "sit_b" }, seal.ErrTampered, "tampered"},
		"other event":          {companyA, func(_ *testing.T, _ *rig, q *reveal.Request) { q.EventID = [16]byte{4} }, seal.ErrTampered, "tampered"},
		"other subject":        {companyA, func(_ *testing.T, _ *rig, q *reveal.Request) { q.SubjectID = [16]byte{4} }, seal.ErrTampered, "tampered"},
		"other field":          {companyA, func(_ *testing.T, _ *rig, q *reveal.Request) { q.Field = seal.FormField("name") }, seal.ErrTampered, "tampered"},
		"unknown key":          {companyA, func(_ *testing.T, _ *rig, q *reveal.Request) { q.Sealed = bytes.Clone(q.Sealed); q.Sealed[3] ^= 1 }, seal.ErrUnknownKey, "unknown_key"},
		"destroyed": {companyA, func(t *testing.T, r *rig, _ *reveal.Request) {
			for _, rec := range r.keys {
				if err := r.opener.ApplyKey(seal.RecordKeyOf(rec), nil); err != nil {
					t.Fatal(err)
				}
			}
		}, seal.ErrShredded, "shredded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			req := r.request(seal.FormField("email"))
			if c.change != nil {
				c.change(t, r, &req)
			}
			got, err := r.revealer(t).Reveal(t.Context(), grantOf(t, c.company), req)
			if !errors.Is(err, c.want) || !got.IsZero() {
				t.Fatalf("%q, %v", got.Reveal(), err)
			}
			hidden(t, "the error", err.Error())
			if want := []string{"granted", "failed/" + c.cause}; !slices.Equal(r.outcomes(t), want) || r.entries[0].ID != r.entries[1].ID {
				t.Errorf("recorded %v, want %v", r.outcomes(t), want)
			}
			if r.entries[0].CompanyID != c.company {
				t.Errorf("recorded with the tenant %s", r.entries[0].CompanyID)
			}
		})
	}
}

func TestTermsAndGrants(t *testing.T) {
	t.Parallel()
	claim := claimOf(t, companyA)
	for name, change := range map[string]func(*reveal.Terms){
		"no role":       func(x *reveal.Terms) { x.Role = "" },
		"strange role":  func(x *reveal.Terms) { x.Role = "Owner; DROP" },
		"no class":      func(x *reveal.Terms) { x.Classes = nil },
		"unknown class": func(x *reveal.Terms) { x.Classes = []reveal.Class{"all"} },
		"over":          func(x *reveal.Terms) { x.Until = now },
		"endless":       func(x *reveal.Terms) { x.Until = now.Add(reveal.GrantMax + time.Second) },
		"no values":     func(x *reveal.Terms) { x.Values = 0 },
		"many values":   func(x *reveal.Terms) { x.Values = reveal.GrantValuesMax + 1 },
	} {
		terms := everything()
		change(&terms)
		if _, err := reveal.NewGrant(claim, terms, now); err == nil {
			t.Errorf("%s: a grant was made", name)
		}
	}
	if _, err := reveal.NewGrant(tenant.Claim{}, everything(), now); !errors.Is(err, tenant.ErrNoClaim) {
		t.Errorf("no claim: %v", err)
	}
	terms := everything()
	grant, err := reveal.NewGrant(claim, terms, now)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v", grant, reveal.Grant{}); !strings.Contains(text, "operator:jo@"+companyA) || !strings.Contains(text, "no grant") {
		t.Errorf("prints as %s", text)
	}
	if _, err := reveal.New(reveal.Config{}); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("an empty configuration: %v", err)
	}
}

func TestEntriesMustBeWhole(t *testing.T) {
	t.Parallel()
	whole := reveal.Entry{
		ID: [16]byte{1}, At: now, Outcome: reveal.OutcomeGranted, CompanyID: companyA, Actor: "operator:jo", Role: "owner",
		Reason: "r", SiteID: "sit_a", EventID: event, Field: seal.FieldAddress,
	}
	if err := whole.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*reveal.Entry){
		"id": func(e *reveal.Entry) { e.ID = [16]byte{} }, "time": func(e *reveal.Entry) { e.At = time.Time{} },
		"outcome": func(e *reveal.Entry) { e.Outcome = "" }, "cause": func(e *reveal.Entry) { e.Cause = reveal.CauseShredded },
		"company": func(e *reveal.Entry) { e.CompanyID = "" }, "actor": func(e *reveal.Entry) { e.Actor = "" },
		"role": func(e *reveal.Entry) { e.Role = "" }, "reason": func(e *reveal.Entry) { e.Reason = "" },
		"long reason": func(e *reveal.Entry) { e.Reason = strings.Repeat("x", reveal.ReasonBytesMax+1) },
		"site":        func(e *reveal.Entry) { e.SiteID = "" }, "event": func(e *reveal.Entry) { e.EventID = [16]byte{} },
		"subject": func(e *reveal.Entry) { e.SubjectID = subject }, "field": func(e *reveal.Entry) { e.Field = "" },
	} {
		e := whole
		change(&e)
		if e.Validate() == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
