package erasure

import (
	"cmp"
	"errors"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/pkg/waittest"
)

// agencies: no client is left without its agency, also not one that is created while the
// agency is erased, and an erased agency gets none.
func (w *world) agencies() {
	w.t.Helper()
	t := w.t
	agency, err := w.registry.CreateAgency(t.Context(), operator, "Short")
	if err != nil {
		t.Fatal(err)
	}
	own := mustClaim(t, agency.CompanyID)
	// A client that is being created, in a transaction that is open.
	admin := w.admin()
	tx, err := admin.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := tenant.NewID(tenant.PrefixCompany)
	for _, sql := range []string{
		`SELECT pg_advisory_xact_lock_shared(hashtextextended('clients of ` + agency.ID + `', 0))`,
		`INSERT INTO core.tenants (company_id, agency_id, kind, name) VALUES ('` + late + `', '` + agency.ID + `', 'client', 'Late')`,
		`INSERT INTO core.directory (company_id, agency_id, kind) VALUES ('` + late + `', '` + agency.ID + `', 'client')`,
	} {
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	refused := make(chan error, 1)
	go func() {
		_, err := w.eraser(nil).Erase(t.Context(), own, Subject{Kind: Tenant})
		refused <- err
	}()
	other := w.admin()
	waittest.Until(t, 20*time.Second, "the eraser to wait for the client", func() bool {
		var waits bool
		err := other.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)`).Scan(&waits)
		return err == nil && waits
	})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-refused; !errors.Is(err, ErrHasClients) {
		t.Errorf("an agency that got a client: %v", err)
	}
	erase := func(id string) {
		t.Helper()
		if _, err := w.eraser(nil).Erase(t.Context(), mustClaim(t, id), Subject{Kind: Tenant}); err != nil {
			t.Fatal(err)
		}
	}
	erase(late)
	// One that is created just before the agency is suspended: nothing was asked for then,
	// and the agency is as it was, also when the process ends before it is found.
	ended := errors.New("ended")
	for _, end := range []error{nil, ended} {
		var created registry.Tenant
		_, err = w.eraser(func(point string) (err error) {
			switch point {
			case "agency looked at":
				created, err = w.registry.CreateTenant(t.Context(), operator, agency.ID, "Just in time")
			case "clients counted":
				err = end
			}
			return err
		}).Erase(t.Context(), own, Subject{Kind: Tenant})
		if want := cmp.Or(end, ErrHasClients); !errors.Is(err, want) || created.CompanyID == "" {
			t.Errorf("an agency that got %q: %v, want %v", created.CompanyID, err, want)
		}
		if asked, err := List(t.Context(), w.pool, own, ""); err != nil || len(asked) != 0 {
			t.Errorf("an erasure that was refused stands as %+v, %v", asked, err)
		}
		if is, err := w.registry.TenantOf(t.Context(), own); err != nil || !is.Active {
			t.Errorf("an agency whose erasure was refused is %+v, %v", is, err)
		}
		erase(created.CompanyID)
	}
	erase(agency.CompanyID)
	if made, err := w.registry.CreateTenant(t.Context(), operator, agency.ID, "Later"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("an erased agency got %+v, %v", made, err)
	}
	if err := w.registry.SuspendTenant(t.Context(), mustClaim(t, w.agency.CompanyID)); err != nil {
		t.Fatal(err)
	}
	if made, err := w.registry.CreateTenant(t.Context(), operator, w.agency.ID, "Later"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a suspended agency got %+v, %v", made, err)
	}
}

func mustClaim(t *testing.T, company string) tenant.Claim {
	t.Helper()
	claim, err := tenant.OperatorClaim(company, operator)
	if err != nil {
		t.Fatal(err)
	}
	return claim
}
