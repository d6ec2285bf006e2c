package tcf

import (
	"errors"
	"time"
)

const (
	// PolicyVersionMin is the policy of TCF 2.2. Strings of an older one are
	// invalid since 30 September 2023.
	PolicyVersionMin = 4
	// AgeMonthsMax is how many calendar months after LastUpdated a string counts.
	AgeMonthsMax = 13
	// AheadMax is how far LastUpdated may lie in the future. Strings carry whole
	// days since 2.2, and clocks differ.
	AheadMax = 24 * time.Hour
)

// Purposes of the framework that analytics rests on.
const (
	purposeStorage         = 1 // store and access information on a device
	purposeMeasureContent  = 8 // measure content performance
	purposeUnderstandUsers = 9 // understand audiences through statistics
)

// Why a string does not grant analytics.
var (
	ErrPolicyVersion  = errors.New("tcf: the string was made under a policy before TCF 2.2")
	ErrStale          = errors.New("tcf: the string was last updated more than 13 months ago")
	ErrFuture         = errors.New("tcf: the string was last updated in the future")
	ErrDates          = errors.New("tcf: the string was updated before it was created")
	ErrGlobalScope    = errors.New("tcf: the string is not specific to a service")
	ErrPurposes       = errors.New("tcf: no consent to storage and to measuring or understanding audiences")
	ErrVendorConsent  = errors.New("tcf: no consent to the vendor")
	ErrNotDisclosed   = errors.New("tcf: the vendor was not disclosed to the visitor")
	ErrRestricted     = errors.New("tcf: the publisher does not let the vendor rest on consent for these purposes")
	ErrVendorRequired = errors.New("tcf: no vendor was named")
)

// disclosureRequiredFrom is when a string has to list the vendors disclosed:
// TCF 2.3 asks it of every string made after 28 February 2026.
func disclosureRequiredFrom() time.Time { return time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC) }

// Purposes returns nil when the string is current and consents to the purposes
// of analytics: 1, and 8 or 9. Legitimate interest does not count. Otherwise
// the error is one of this package and says why.
func (s *String) Purposes(now time.Time) error {
	switch {
	case s.PolicyVersion < PolicyVersionMin:
		return ErrPolicyVersion
	case s.LastUpdated.Before(s.Created):
		return ErrDates
	case s.LastUpdated.After(now.Add(AheadMax)):
		return ErrFuture
	case s.LastUpdated.AddDate(0, AgeMonthsMax, 0).Before(now):
		return ErrStale
	case !s.ServiceSpecific:
		// Consent shared between sites through consensu.org has ended, and
		// consent given on another site is none here.
		return ErrGlobalScope
	case s.PurposeOneTreatment, !s.PurposeConsent(purposeStorage),
		!s.PurposeConsent(purposeMeasureContent) && !s.PurposeConsent(purposeUnderstandUsers):
		return ErrPurposes
	}
	return nil
}

// Analytics returns nil when the string grants analytics to a vendor: what
// Purposes asks, consent to the vendor, the vendor among those disclosed (a must
// where the list is there, and for strings last updated since 1 March 2026),
// and no restriction of the publisher that takes consent away as the basis.
// Otherwise the error is one of this package and says why.
func (s *String) Analytics(vendor VendorID, now time.Time) error {
	if err := s.Purposes(now); err != nil {
		return err
	}
	required := s.DisclosureIncluded || !s.LastUpdated.Before(disclosureRequiredFrom())
	switch {
	case vendor == 0:
		return ErrVendorRequired
	case !s.VendorConsent(vendor):
		return ErrVendorConsent
	case required && !s.VendorDisclosed(vendor):
		return ErrNotDisclosed
	}
	left := s.purposes &^ s.barred(vendor)
	if !hasPurpose(left, purposeStorage) || !hasPurpose(left, purposeMeasureContent) && !hasPurpose(left, purposeUnderstandUsers) {
		return ErrRestricted
	}
	return nil
}

// barred is the purposes for which the publisher does not let the vendor rest
// on consent, as bits like those of the string. A publisher who requires
// legitimate interest leaves no room for consent, and an undefined restriction
// is read as the strictest.
func (s *String) barred(vendor VendorID) uint32 {
	var purposes uint32
	r := reader{text: s.restrictions.text, bit: s.restrictions.bit}
	for range s.restrictions.count {
		purpose, kind := r.restriction()
		if r.spansHave(int(r.take(12)), vendor) && kind != RestrictionRequireConsent && purpose >= 1 && purpose <= PurposeMax {
			purposes |= 1 << (PurposeMax - purpose)
		}
	}
	return purposes
}
