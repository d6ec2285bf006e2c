package consent

import (
	"testing"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// recorded is DESIGN's table of states, with the types in the order of their
// numbers: unspecified, page view, engagement, click, form, custom, one of a newer
// contract.
func recorded() map[metivav1.ConsentState][7]bool {
	const yes, no = true, false
	return map[metivav1.ConsentState][7]bool{
		metivav1.ConsentState_CONSENT_STATE_UNSPECIFIED: {no, no, no, no, no, no, no},
		objected:  {no, no, no, no, no, no, no},
		denied:    {no, yes, no, no, no, no, no},
		withdrawn: {no, yes, no, no, no, no, no},
		analytics: {no, yes, yes, yes, yes, yes, no},
		metivav1.ConsentState_CONSENT_STATE_IDENTIFIED: {no, yes, no, no, yes, no, no},
		metivav1.ConsentState(99):                      {no, no, no, no, no, no, no},
	}
}

func TestEveryStateWithEveryType(t *testing.T) {
	t.Parallel()
	if known := len(metivav1.EventType_name); known != 6 {
		t.Fatalf("the contract has %d types, the table 6", known)
	}
	for number := range metivav1.ConsentState_name {
		if _, ok := recorded()[metivav1.ConsentState(number)]; !ok {
			t.Errorf("the table lacks the state %d", number)
		}
	}
	for state, row := range recorded() {
		for number, want := range row {
			if got := Records(state, metivav1.EventType(number)); got != want {
				t.Errorf("%v records type %d: %t", state, number, got)
			}
		}
	}
}

// TestTheReasonOfATypeInEveryCombination walks the policies and signals of
// TestEveryCombination: what refuses the request refuses every type with the same
// reason, and beyond that only consent does.
func TestTheReasonOfATypeInEveryCombination(t *testing.T) {
	t.Parallel()
	for _, mode := range allModes() {
		for _, honour := range []bool{false, true} {
			for _, signals := range allSignals() {
				d := Decide(Policy{Mode: mode, HonourDNT: honour}, signals)
				for number := range 7 {
					want := d.Reason()
					if d.Allows() && !recorded()[d.State()][number] {
						want = metivav1.Reason_REASON_CONSENT_REQUIRED
					}
					if got := d.ReasonFor(metivav1.EventType(number)); got != want {
						t.Fatalf("mode=%v honour=%v %+v: type %d gets %v, want %v", mode, honour, signals, number, got, want)
					}
				}
			}
		}
	}
	if (Decision{}).ReasonFor(metivav1.EventType_EVENT_TYPE_PAGE_VIEW) == metivav1.Reason_REASON_UNSPECIFIED {
		t.Error("the zero decision allows a page view")
	}
}
