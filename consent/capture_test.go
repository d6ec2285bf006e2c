package consent

import (
	"testing"
	"time"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

const identified = metivav1.ConsentState_CONSENT_STATE_IDENTIFIED

func allBoxes() []Box {
	var all []Box
	for _, given := range []bool{false, true} {
		for _, version := range []string{"", "form-1", "form-2", "other", "form-1 "} {
			for _, language := range []string{"", "nl", "NL", "en", "de"} {
				all = append(all, Box{Given: given, TextVersion: version, Language: language})
			}
		}
	}
	return all
}

func formTexts() []ShownText {
	return []ShownText{{Version: "form-1", Language: "nl", SHA256: [32]byte{1}}, {Version: "form-2", Language: "en", SHA256: [32]byte{2}}}
}

// wantCapture says the rules one by one, written differently from the code.
func wantCapture(policy Policy, s Signals, b Box) metivav1.Reason {
	known := map[string]string{"form-1/": "nl", "form-1/nl": "nl", "form-1/NL": "nl", "form-2/": "en", "form-2/en": "en"}
	_, textOK := known[b.TextVersion+"/"+b.Language]
	ordered := []struct {
		hit    bool
		reason metivav1.Reason
	}{
		{policy.Mode != metivav1.SiteMode_SITE_MODE_COMPANY && policy.Mode != metivav1.SiteMode_SITE_MODE_COUNT, metivav1.Reason_REASON_OFF},
		{s.GPC || s.OptOut || s.DNT && policy.HonourDNT, metivav1.Reason_REASON_OBJECTED},
		{policy.Mode == metivav1.SiteMode_SITE_MODE_COUNT, metivav1.Reason_REASON_COUNT_ONLY},
		{!b.Given, metivav1.Reason_REASON_CONSENT_REQUIRED},
		{!textOK, metivav1.Reason_REASON_UNKNOWN_TEXT},
	}
	for _, rule := range ordered {
		if rule.hit {
			return rule.reason
		}
	}
	return metivav1.Reason_REASON_UNSPECIFIED
}

// TestEveryCapture walks every combination of mode, signals and box.
func TestEveryCapture(t *testing.T) {
	t.Parallel()
	receipt, now := [IDBytes]byte{5}, testNow()
	allowed := 0
	for _, mode := range allModes() {
		for _, honour := range []bool{false, true} {
			policy := Policy{Mode: mode, HonourDNT: honour}
			for _, signals := range allSignals() {
				for _, box := range allBoxes() {
					c := Capturable(policy, signals, box, formTexts(), receipt, now)
					reason := wantCapture(policy, signals, box)
					if c.Reason() != reason || c.Allows() != (reason == 0) {
						t.Fatalf("mode=%v honour=%v %+v %+v: %v, want %v", mode, honour, signals, box, c.Reason(), reason)
					}
					if (c.Decision().State() == identified) != c.Allows() || c.Decision().Allows() != c.Allows() {
						t.Fatalf("%+v %+v: state %v, allows %v", signals, box, c.Decision().State(), c.Allows())
					}
					if !c.Allows() {
						if c != (Capture{decision: Decision{state: c.decision.state, reason: reason}}) {
							t.Fatalf("a refused capture holds %+v", c)
						}
						continue
					}
					allowed++
					linked := wantState(honour, signals) == analytics
					visitor, known := c.Decision().VisitorID()
					want, sequence := receipt, uint64(0)
					if linked {
						want, sequence = [IDBytes]byte{9}, 3
					}
					if known != linked || known && visitor != want || c.SubjectID() != want || c.Sequence() != NextSequence(sequence, now) || c.Decision().Sequence() != sequence {
						t.Fatalf("%+v: subject %x %d, visitor %x %v", signals, c.SubjectID(), c.Sequence(), visitor, known)
					}
					if c.Text().Version != box.TextVersion || c.Decision().TextVersion() != box.TextVersion || c.Text().SHA256 == [32]byte{} || c.GivenAt() != now || !c.ExpiresAt().After(now) {
						t.Fatalf("%+v: %+v", box, c)
					}
				}
			}
		}
	}
	if allowed == 0 {
		t.Fatal("nothing was allowed")
	}
}

func TestZeroCaptureAllowsNothing(t *testing.T) {
	t.Parallel()
	var c Capture
	if _, known := c.Decision().VisitorID(); c.Allows() || c.Decision().Allows() || known || c.SubjectID() != [IDBytes]byte{} {
		t.Error("the zero capture allows something")
	}
	box := Box{Given: true, TextVersion: "form-1", Language: "nl"}
	for name, c := range map[string]Capture{
		"no receipt":        Capturable(companyPolicy(), Signals{}, box, formTexts(), [IDBytes]byte{}, testNow()),
		"no texts":          Capturable(companyPolicy(), Signals{}, box, nil, [IDBytes]byte{5}, testNow()),
		"a text of no kind": Capturable(companyPolicy(), Signals{}, Box{Given: true}, []ShownText{{}}, [IDBytes]byte{5}, testNow()),
		"no language":       Capturable(companyPolicy(), Signals{}, box, []ShownText{{Version: "form-1"}}, [IDBytes]byte{5}, testNow()),
	} {
		if c.Allows() {
			t.Errorf("%s: allowed", name)
		}
	}
}

func TestCaptureEndsWithTheGrant(t *testing.T) {
	t.Parallel()
	policy := companyPolicy()
	policy.GrantAge = 30 * 24 * time.Hour
	box := Box{Given: true, TextVersion: "form-2"}
	c := Capturable(policy, Signals{}, box, formTexts(), [IDBytes]byte{5}, testNow())
	if got := c.ExpiresAt().Sub(testNow()); got != policy.GrantAge {
		t.Errorf("ends after %s", got)
	}
}
