package enrich

import (
	"strconv"
	"testing"

	"github.com/metiva-io/metiva/enrich/person"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// slowVault lets something happen while a capture is at work.
type slowVault struct {
	person.Vault
	meanwhile func()
}

func (v *slowVault) ResealField(dst []byte, b seal.Binding, blob, plaintext []byte) ([]byte, error) {
	v.meanwhile()
	return v.Vault.ResealField(dst, b, blob, plaintext)
}

// TestTakenBackMeanwhile: a withdrawal or an erasure that comes while the values of a
// capture are open makes no person of it, and no row.
func TestTakenBackMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.register(tenant, "sit_a", 1, true)
	x := w.enrichment()
	r := x.p.w.revocations
	mail, err := person.NewMailServices()
	if err != nil {
		t.Fatal(err)
	}
	apply := func(f func(key, value []byte) error, value []byte) {
		if err := f([]byte("k"+strconv.Itoa(len(value))), value); err != nil {
			t.Error(err)
		}
	}
	withdraw := func(p post, sequence uint64) {
		apply(r.ApplyWithdrawal, encoded(t, &metivav1.Withdrawal{CompanyId: tenant, SubjectId: p.subject, Sequence: sequence}))
	}
	for name, c := range map[string]struct {
		meanwhile func(post)
		want      metivav1.Reason
	}{
		"withdrawn":           {func(p post) { withdraw(p, 5) }, metivav1.Reason_REASON_WITHDRAWN},
		"an older withdrawal": {func(p post) { withdraw(p, 4) }, 0},
		"erased": {func(p post) {
			apply(r.ApplyErasure, encoded(t, &metivav1.Erasure{CompanyId: tenant, SubjectId: p.subject, ErasedAtMs: 1}))
		}, metivav1.Reason_REASON_ERASED},
	} {
		p := newPost()
		e := w.post(p)
		x.p.w.steps.persons = person.NewStep(&slowVault{Vault: w.opener, meanwhile: func() { c.meanwhile(p) }}, person.NewSites(), mail)
		before := len(w.captures())
		x.take(e)
		if made := len(w.captures()) - before; made != 1 && c.want == 0 || made != 0 && c.want != 0 {
			t.Errorf("%s: %d captures", name, made)
		}
		if got := w.outcomes()[string(e.GetEventId())]; got.GetDrop().GetReason() != c.want || (got.GetEvent() != nil) != (c.want == 0) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if dead := w.read(schemas.TopicEventsDead); len(dead) != 0 {
		t.Errorf("%d dead letters", len(dead))
	}
}
