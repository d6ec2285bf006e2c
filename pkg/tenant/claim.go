package tenant

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// Claim is a verified statement of which tenant is worked for and by whom. The
// zero Claim is no claim; Run refuses it.
type Claim struct {
	companyID string
	// userID is empty for operators and schedules, who need no membership.
	userID string
	// membershipVersion is the version the token was issued for.
	membershipVersion int64
	actor             string
}

// CompanyID is the tenant's id.
func (c Claim) CompanyID() string { return c.companyID }

// Actor names who acts, for the audit log: "operator:…", "schedule:…" or
// "user:…".
func (c Claim) Actor() string { return c.actor }

// IsZero reports whether this is no claim at all.
func (c Claim) IsZero() bool { return c.companyID == "" }

var (
	// ErrNoClaim is returned for the zero Claim.
	ErrNoClaim = errors.New("no verified tenant claim")
	// ErrInvalidClaim is returned for an id or an actor of the wrong form.
	ErrInvalidClaim = errors.New("invalid tenant claim")
)

const actorBytesMax = 80

// OperatorClaim is the claim of an operator at the command line, or of one of
// the product's own schedules. It needs no membership, so no code that serves
// requests may call it.
func OperatorClaim(companyID, actor string) (Claim, error) {
	if !ValidID(PrefixCompany, companyID) {
		return Claim{}, fmt.Errorf("%w: the company id has the wrong form", ErrInvalidClaim)
	}
	if !actorForm().MatchString(actor) || len(actor) > actorBytesMax {
		return Claim{}, fmt.Errorf("%w: the actor must be like operator:name, at most %d bytes", ErrInvalidClaim, actorBytesMax)
	}
	return Claim{companyID: companyID, actor: actor}, nil
}

func actorForm() *regexp.Regexp { return regexp.MustCompile(`^(operator|schedule):[A-Za-z0-9._@-]+$`) }

// TokenFacts is what a verified access token says.
type TokenFacts struct {
	CompanyID string
	UserID    string
	// MembershipVersion is that of the membership the token was issued for; a
	// changed membership makes the token worthless.
	MembershipVersion int64
}

// TokenVerifier checks an access token's signature, audience, issuer and
// expiry. The sign-in packages implement it, and nothing else does.
type TokenVerifier interface {
	VerifyToken(ctx context.Context, token string) (TokenFacts, error)
}

// FromToken makes the claim of a signed-in user.
func FromToken(ctx context.Context, v TokenVerifier, token string) (Claim, error) {
	facts, err := v.VerifyToken(ctx, token)
	if err != nil {
		return Claim{}, fmt.Errorf("verifying the access token: %w", err)
	}
	if !ValidID(PrefixCompany, facts.CompanyID) || !ValidID(PrefixUser, facts.UserID) || facts.MembershipVersion < 1 {
		return Claim{}, fmt.Errorf("%w: the token names no tenant, user or membership", ErrInvalidClaim)
	}
	return Claim{
		companyID: facts.CompanyID, userID: facts.UserID,
		membershipVersion: facts.MembershipVersion, actor: "user:" + facts.UserID,
	}, nil
}

// String names the actor and the tenant; both are ids.
func (c Claim) String() string {
	if c.IsZero() {
		return "no claim"
	}
	return c.actor + "@" + c.companyID + " v" + strconv.FormatInt(c.membershipVersion, 10)
}
