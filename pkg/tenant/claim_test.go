package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/tenant"
)

type verifier struct {
	facts tenant.TokenFacts
	err   error
}

func (v verifier) VerifyToken(context.Context, string) (tenant.TokenFacts, error) {
	return v.facts, v.err
}

func member(t *testing.T, company, user string, version int64) tenant.Claim {
	t.Helper()
	claim, err := tenant.FromToken(t.Context(), verifier{facts: tenant.TokenFacts{CompanyID: company, UserID: user, MembershipVersion: version}}, "token")
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

func TestMembershipIsReadOnEveryRun(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	pool := openPool(t, db, 2)
	op, brand := found(t, pool, "Alpha")
	other, _ := found(t, pool, "Beta")
	user := tenant.NewID(tenant.PrefixUser)
	change := func(sql string, args ...any) {
		t.Helper()
		err := tenant.Run(t.Context(), pool, op, func(ctx context.Context, tx tenant.Tx) error {
			_, err := tx.Exec(ctx, sql, args...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	change(`INSERT INTO core.memberships (user_id, role) VALUES ($1, 'analyst')`, user)
	second := tenant.NewID(tenant.PrefixBrand)
	change(`INSERT INTO core.brands (id, name) VALUES ($1, 'second')`, second)

	claim := member(t, op.CompanyID(), user, 1)
	brands := func() (n int, role string, err error) {
		err = tenant.Run(t.Context(), pool, claim, func(ctx context.Context, tx tenant.Tx) error {
			role = tx.Role()
			return tx.QueryRow(ctx, `SELECT count(*) FROM core.brands`).Scan(&n)
		})
		return n, role, err
	}
	if n, role, err := brands(); n != 2 || role != "analyst" || err != nil {
		t.Errorf("a member of all brands: %d, %q, %v", n, role, err)
	}
	change(`UPDATE core.memberships SET brand_ids = ARRAY[$1::text]`, brand)
	if n, _, err := brands(); n != 1 || err != nil {
		t.Errorf("a member of one brand: %d, %v", n, err)
	}
	err := tenant.Run(t.Context(), pool, claim, func(ctx context.Context, tx tenant.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO core.sites (brand_id, id, name, allowed_origins) VALUES ($1, $2, 'x', '{https://x.example}')`,
			second, tenant.NewID(tenant.PrefixSite))
		return err
	})
	if err == nil {
		t.Error("a site was created outside the member's brands")
	}
	if err := tenant.Run(t.Context(), pool, member(t, other.CompanyID(), user, 1), nil); !errors.Is(err, tenant.ErrNoMembership) {
		t.Errorf("in a tenant the user is no member of: %v", err)
	}
	if err := tenant.Found(t.Context(), pool, claim, nil); !errors.Is(err, tenant.ErrInvalidClaim) {
		t.Errorf("a member founding: %v", err)
	}
	change(`UPDATE core.memberships SET role = 'admin', version = version + 1`)
	if _, _, err := brands(); !errors.Is(err, tenant.ErrNoMembership) {
		t.Errorf("with a token of before the change: %v", err)
	}
	claim = member(t, op.CompanyID(), user, 2)
	change(`UPDATE core.memberships SET status = 'suspended'`)
	if _, _, err := brands(); !errors.Is(err, tenant.ErrSuspended) {
		t.Errorf("suspended member: %v", err)
	}
	change(`UPDATE core.memberships SET status = 'active'`)
	change(`UPDATE core.tenants SET status = 'suspended'`)
	if _, _, err := brands(); !errors.Is(err, tenant.ErrSuspended) {
		t.Errorf("suspended tenant: %v", err)
	}
	change(`UPDATE core.tenants SET status = 'active'`) // an operator still can
	change(`DELETE FROM core.memberships`)
	if _, _, err := brands(); !errors.Is(err, tenant.ErrNoMembership) {
		t.Errorf("removed member: %v", err)
	}
}

func TestClaimsOfTheWrongForm(t *testing.T) {
	t.Parallel()
	good := tenant.NewID(tenant.PrefixCompany)
	for _, c := range []struct{ company, actor string }{
		{"", "operator:jo"},
		{strings.ToUpper(good), "operator:jo"},
		{good + "0", "operator:jo"},
		{good[:23] + "l", "operator:jo"},
		{"brd_" + good[4:], "operator:jo"},
		{good + "' OR true --", "operator:jo"},
		{good, ""},
		{good, "jo"},
		{good, "user:" + tenant.NewID(tenant.PrefixUser)},
		{good, "operator:jo\nx"},
		{good, "operator:" + strings.Repeat("a", 80)},
	} {
		if claim, err := tenant.OperatorClaim(c.company, c.actor); !errors.Is(err, tenant.ErrInvalidClaim) || !claim.IsZero() {
			t.Errorf("%q, %q: %v, %v", c.company, c.actor, claim, err)
		}
	}
	user := tenant.NewID(tenant.PrefixUser)
	for _, v := range []verifier{
		{err: errors.New("bad signature")},
		{facts: tenant.TokenFacts{}},
		{facts: tenant.TokenFacts{CompanyID: good, UserID: user}},
		{facts: tenant.TokenFacts{CompanyID: good, UserID: "usr_1", MembershipVersion: 1}},
		{facts: tenant.TokenFacts{CompanyID: "cmp_", UserID: user, MembershipVersion: 1}},
	} {
		if claim, err := tenant.FromToken(t.Context(), v, "t"); err == nil || !claim.IsZero() {
			t.Errorf("%+v: %v, %v", v, claim, err)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, prefix := range []string{tenant.PrefixCompany, tenant.PrefixAgency, tenant.PrefixBrand, tenant.PrefixSite, tenant.PrefixUser, tenant.PrefixSiteKey} {
		for range 1000 {
			id := tenant.NewID(prefix)
			if seen[id] || !tenant.ValidID(prefix, id) {
				t.Fatalf("%q: seen %v", id, seen[id])
			}
			seen[id] = true
		}
		if want := map[bool]int{true: 27, false: 24}[prefix == tenant.PrefixSiteKey]; len(tenant.NewID(prefix)) != want {
			t.Errorf("%s ids have %d bytes", prefix, len(tenant.NewID(prefix)))
		}
	}
	if fmt.Sprint(tenant.Claim{}) != "no claim" {
		t.Errorf("the zero claim prints as %v", tenant.Claim{})
	}
}
