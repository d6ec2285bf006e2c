package consent

import (
	"testing"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	objected  = metivav1.ConsentState_CONSENT_STATE_OBJECTED
	denied    = metivav1.ConsentState_CONSENT_STATE_DENIED
	withdrawn = metivav1.ConsentState_CONSENT_STATE_WITHDRAWN
	analytics = metivav1.ConsentState_CONSENT_STATE_ANALYTICS
)

func allModes() []metivav1.SiteMode {
	return []metivav1.SiteMode{
		metivav1.SiteMode_SITE_MODE_UNSPECIFIED, metivav1.SiteMode_SITE_MODE_OFF, metivav1.SiteMode_SITE_MODE_COUNT,
		metivav1.SiteMode_SITE_MODE_COMPANY, metivav1.SiteMode(99),
	}
}

// allSignals is every combination: the header and opt-out bits, a proof of each
// kind and one that cannot be, and each answer and one that cannot be from each
// source.
func allSignals() []Signals {
	answers := []Answer{AnswerNone, AnswerGranted, AnswerRefused, 9}
	var all []Signals
	for bits := range 8 {
		for _, status := range []proofStatus{proofNone, proofWithdrawn, proofAnalytics, 99} {
			for _, page := range answers {
				for _, cmp := range answers {
					for _, tcfAnswer := range answers {
						for _, mode := range answers {
							all = append(all, Signals{
								GPC: bits&1 != 0, DNT: bits&2 != 0, OptOut: bits&4 != 0,
								Proof: Proof{status: status, visitorID: [IDBytes]byte{9}, sequence: 3, textVersion: "v"},
								Page:  page, CMP: cmp, TCF: tcfAnswer, ConsentMode: mode,
							})
						}
					}
				}
			}
		}
	}
	return all
}

// wantState says the rules one by one, written differently from the code.
func wantState(honour bool, s Signals) metivav1.ConsentState {
	if s.GPC || s.OptOut || (s.DNT && honour) {
		return objected
	}
	if s.Proof.status == proofWithdrawn {
		return withdrawn
	}
	if s.Proof.status != proofAnalytics {
		return denied
	}
	for _, claim := range []Answer{s.Page, s.CMP, s.TCF, s.ConsentMode} {
		if claim != AnswerNone && claim != AnswerGranted {
			return denied
		}
	}
	return analytics
}

func TestEveryCombination(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, mode := range allModes() {
		for _, honour := range []bool{false, true} {
			for _, signals := range allSignals() {
				seen++
				d := Decide(Policy{Mode: mode, HonourDNT: honour}, signals)
				state := wantState(honour, signals)
				reason := metivav1.Reason_REASON_UNSPECIFIED
				if mode == metivav1.SiteMode_SITE_MODE_COUNT {
					reason = metivav1.Reason_REASON_COUNT_ONLY
				}
				if state == objected {
					reason = metivav1.Reason_REASON_OBJECTED
				}
				if mode != metivav1.SiteMode_SITE_MODE_COUNT && mode != metivav1.SiteMode_SITE_MODE_COMPANY {
					reason = metivav1.Reason_REASON_OFF
				}
				allowed := mode == metivav1.SiteMode_SITE_MODE_COMPANY && state != objected
				if d.State() != state || d.Reason() != reason || d.Allows() != allowed {
					t.Fatalf("mode=%v honour=%v %+v: %v %v %v, want %v %v %v", mode, honour, signals, d.State(), d.Reason(), d.Allows(), state, reason, allowed)
				}
				id, ok := d.VisitorID()
				if want := allowed && state == analytics; ok != want || ok != (id != [IDBytes]byte{}) || ok != (d.Sequence() == 3) || ok != (d.TextVersion() == "v") {
					t.Fatalf("mode=%v honour=%v %+v: visitor id %x %v, sequence %d", mode, honour, signals, id, ok, d.Sequence())
				}
			}
		}
	}
	if want := 5 * 2 * 8 * 4 * 4 * 4 * 4 * 4; seen != want {
		t.Fatalf("walked %d combinations, want %d", seen, want)
	}
}

// rank orders decisions by what they allow.
func rank(d Decision) int {
	r := 2 // denied and withdrawn allow the same
	if d.State() == objected {
		r = 1
	}
	if d.State() == analytics {
		r = 3
	}
	if d.Allows() {
		r += 10
	}
	if _, ok := d.VisitorID(); ok {
		r += 100
	}
	return r
}

// TestASignalNeverRaises takes each signal away from every combination: with it
// nothing may be allowed that was not allowed without it. Only a verified grant
// raises, and only from a state in which nobody objects or refuses.
func TestASignalNeverRaises(t *testing.T) {
	t.Parallel()
	without := map[string]func(*Signals){
		"gpc": func(s *Signals) { s.GPC = false }, "dnt": func(s *Signals) { s.DNT = false }, "opt-out": func(s *Signals) { s.OptOut = false },
		"page": func(s *Signals) { s.Page = 0 }, "cmp": func(s *Signals) { s.CMP = 0 }, "tcf": func(s *Signals) { s.TCF = 0 },
		"consent mode": func(s *Signals) { s.ConsentMode = 0 }, "proof": func(s *Signals) { s.Proof = Proof{} },
		"all claims": func(s *Signals) { s.Page, s.CMP, s.TCF, s.ConsentMode = 0, 0, 0, 0 },
	}
	for _, mode := range allModes() {
		for _, honour := range []bool{false, true} {
			policy := Policy{Mode: mode, HonourDNT: honour}
			for _, signals := range allSignals() {
				with := Decide(policy, signals)
				for name, remove := range without {
					fewer := signals
					remove(&fewer)
					less := Decide(policy, fewer)
					if rank(with) > rank(less) && (name != "proof" || !signals.Proof.Valid()) {
						t.Fatalf("mode=%v honour=%v: %s raised %v to %v in %+v", mode, honour, name, less.State(), with.State(), signals)
					}
				}
			}
		}
	}
}
