package audit

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/tenant"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

// list reads all records, those before a broken place too, three at a time.
func list(ctx context.Context, pool *tenant.Pool, claim tenant.Claim) (all []Record, err error) {
	err = each(ctx, pool, claim, 3, func(r Record) error {
		all = append(all, r)
		return nil
	})
	return all, err
}

// TestChain: several processes append to one tenant's chain, another tenant sees none of
// it, and no change of it goes unseen.
func TestChain(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	pool, err := tenant.OpenPool(t.Context(), postgres.Config{URL: db.URL(schema.RoleRW)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	worker, err := tenant.OpenWorker(t.Context(), postgres.Config{URL: db.URL(schema.RoleWorker)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(worker.Close)
	store := registry.NewStore(pool, worker)
	var claims []tenant.Claim
	for range 2 {
		a, err := store.CreateAgency(t.Context(), "operator:test", "Agency")
		if err != nil {
			t.Fatal(err)
		}
		claim, err := tenant.OperatorClaim(a.CompanyID, "operator:jo")
		if err != nil {
			t.Fatal(err)
		}
		claims = append(claims, claim)
	}
	now := time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.UTC)
	log := New(pool, func() time.Time { return now })
	var group errgroup.Group
	for n := range 8 {
		group.Go(func() error {
			return log.Append(t.Context(), claims[0], Entry{Action: "tenant.export", Outcome: Done, Details: map[string]any{"rows": n}})
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	all, err := list(t.Context(), pool, claims[0])
	if err != nil || len(all) != 8 || all[7].Seq != 8 || all[0].Actor != "operator:jo" || !all[0].At.Equal(now.Truncate(time.Microsecond)) || !strings.HasPrefix(string(all[3].Details), `{"rows":`) {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, limit := range []int{1, 4, 8, 9} {
		var seqs []int64
		err := each(t.Context(), pool, claims[0], limit, func(r Record) error {
			seqs = append(seqs, r.Seq)
			return nil
		})
		if err != nil || !slices.Equal(seqs, []int64{1, 2, 3, 4, 5, 6, 7, 8}) {
			t.Errorf("read %d at a time: %v, %v", limit, seqs, err)
		}
	}
	enough := errors.New("enough")
	if err := Each(t.Context(), pool, claims[0], func(Record) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a reader that has enough: %v", err)
	}
	if other, err := list(t.Context(), pool, claims[1]); err != nil || len(other) != 0 {
		t.Errorf("another tenant has %+v, %v", other, err)
	}
	for name, e := range map[string]Entry{"no action": {Outcome: Done, Details: struct{}{}}, "outcome": {Action: "x", Outcome: "maybe", Details: struct{}{}}, "no object": {Action: "x", Outcome: Done, Details: 3}} {
		if err := log.Append(t.Context(), claims[1], e); err == nil {
			t.Errorf("%s: recorded", name)
		}
	}
	err = tenant.Run(t.Context(), pool, claims[0], func(ctx context.Context, tx tenant.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM core.audit_records`)
		return err
	})
	if err == nil {
		t.Error("records can be deleted")
	}
	for _, change := range []string{
		`UPDATE core.audit_records SET details = '{"rows":99}' WHERE seq = 5`, `UPDATE core.audit_records SET outcome = 'failed' WHERE seq = 5`,
		`UPDATE core.audit_records SET at = at + interval '1 second' WHERE seq = 5`, `DELETE FROM core.audit_records WHERE seq = 5`,
	} {
		if err := postgres.Administer(t.Context(), db.AdminURL(), change); err != nil {
			t.Fatal(err)
		}
		if kept, err := list(t.Context(), pool, claims[0]); !errors.Is(err, ErrChain) || len(kept) != 4 {
			t.Errorf("%s: %d records, %v", change, len(kept), err)
		}
	}
}
