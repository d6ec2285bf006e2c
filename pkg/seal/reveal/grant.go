package reveal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// Class is a kind of sealed value.
type Class string

// Classes of sealed values.
const (
	ClassAddress   Class = "address"
	ClassUserAgent Class = "user_agent"
	ClassForm      Class = "form"
)

// ClassOf is the class of a seal.Binding's field; empty for an unknown one.
func ClassOf(field string) Class {
	switch {
	case field == seal.FieldAddress:
		return ClassAddress
	case field == seal.FieldUserAgent:
		return ClassUserAgent
	case hasName(field, seal.FormField("")), hasName(field, seal.PersonField("")):
		return ClassForm
	}
	return ""
}

// hasName reports whether a field is the prefix and a name.
func hasName(field, prefix string) bool {
	return len(field) > len(prefix) && strings.HasPrefix(field, prefix)
}

// Limits of a grant.
const (
	GrantMax       = 15 * time.Minute // a person who works longer is asked again
	GrantValuesMax = 100              // more is an export, not a reveal
	RoleBytesMax   = 40
)

// Terms are what a Grant allows.
type Terms struct {
	// Role the person acts in, in lower-case letters and underscores.
	Role    string
	Classes []Class
	// Until is when the grant ends, at most GrantMax ahead.
	Until time.Time
	// Values is how many values may be revealed, 1 to GrantValuesMax.
	Values int
}

// Validate reports every fault of the terms, at the time now.
func (t Terms) Validate(now time.Time) error {
	var faults []error
	if !isRole(t.Role) {
		faults = append(faults, errors.New("reveal: the role must be lower-case letters and underscores"))
	}
	if len(t.Classes) == 0 {
		faults = append(faults, errors.New("reveal: the grant is for no class of values"))
	}
	for _, c := range t.Classes {
		if c != ClassAddress && c != ClassUserAgent && c != ClassForm {
			faults = append(faults, fmt.Errorf("reveal: %q is no class of values", c))
		}
	}
	if !t.Until.After(now) || t.Until.After(now.Add(GrantMax)) {
		faults = append(faults, fmt.Errorf("reveal: the grant must end within %s", GrantMax))
	}
	if t.Values < 1 || t.Values > GrantValuesMax {
		faults = append(faults, fmt.Errorf("reveal: the grant must be for 1 to %d values", GrantValuesMax))
	}
	return errors.Join(faults...)
}

func isRole(text string) bool {
	return text != "" && len(text) <= RoleBytesMax && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz_") == ""
}

// Grant is the right of one verified person to see values of one tenant. The
// zero Grant allows nothing. Copies share the number of values that are left.
type Grant struct {
	claim tenant.Claim
	terms Terms
	left  *atomic.Int64
}

// NewGrant makes a grant. The caller has checked that the claim's member has the
// role and that the role may see these classes.
func NewGrant(claim tenant.Claim, terms Terms, now time.Time) (Grant, error) {
	if claim.IsZero() {
		return Grant{}, tenant.ErrNoClaim
	}
	if err := terms.Validate(now); err != nil {
		return Grant{}, err
	}
	terms.Classes = slices.Clone(terms.Classes)
	g := Grant{claim: claim, terms: terms, left: new(atomic.Int64)}
	g.left.Store(int64(terms.Values))
	return g, nil
}

// standing says why the grant allows nothing at the time now.
func (g Grant) standing(now time.Time) Cause {
	switch {
	case g.left == nil:
		return CauseNoGrant
	case !now.Before(g.terms.Until):
		return CauseGrantEnded
	}
	return ""
}

// take takes one value from the grant, or says why it may not.
func (g Grant) take(class Class) Cause {
	switch {
	case !slices.Contains(g.terms.Classes, class):
		return CauseClass
	case g.left.Add(-1) < 0:
		return CauseGrantSpent
	}
	return ""
}

// Format names the claim and the role for every verb.
func (g Grant) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, g.text()) }

// LogValue names the claim and the role.
func (g Grant) LogValue() slog.Value { return slog.StringValue(g.text()) }

func (g Grant) text() string {
	if g.left == nil {
		return "no grant"
	}
	return g.claim.String() + " as " + g.terms.Role
}
