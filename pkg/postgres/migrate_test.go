package postgres_test

import (
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/secret"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

func TestMigrationsUpDownUp(t *testing.T) {
	t.Parallel()
	db := postgrestest.StartEmpty(t)
	url, log := db.URL(schema.RoleMigrate), slog.New(slog.DiscardHandler)
	pending, err := postgres.Status(t.Context(), url, log)
	if err != nil || len(pending) == 0 || pending[0].Applied() {
		t.Fatalf("before: %v, %v", pending, err)
	}
	for round := range 2 {
		applied, err := postgres.Migrate(t.Context(), url, log)
		if err != nil || len(applied) != len(pending) {
			t.Fatalf("round %d: applied %d of %d, %v", round, len(applied), len(pending), err)
		}
		if err := postgres.Administer(t.Context(), db.AdminURL(), refuseTemporary); err != nil {
			t.Errorf("round %d: app_rw may create temporary tables: %v", round, err)
		}
		again, err := postgres.Migrate(t.Context(), url, log)
		if err != nil || len(again) != 0 {
			t.Fatalf("round %d: a second run applied %v, %v", round, again, err)
		}
		status, err := postgres.Status(t.Context(), url, log)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range status {
			if !m.Applied() || !strings.HasSuffix(m.Name, ".sql") {
				t.Errorf("round %d: %+v", round, m)
			}
		}
		if err := postgres.Rollback(t.Context(), url, log); err != nil {
			t.Fatalf("round %d: down: %v", round, err)
		}
	}
}

// TestADatabaseOfTheAdministrators: a provider's, or a container's, whose owner
// is neither app_owner nor anybody who runs migrations.
func TestADatabaseOfTheAdministrators(t *testing.T) {
	t.Parallel()
	db := postgrestest.StartEmpty(t)
	err := postgres.Administer(t.Context(), db.AdminURL(),
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I OWNER TO CURRENT_USER', current_database()); END $$`, schema.Roles())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Migrate(t.Context(), db.URL(schema.RoleMigrate), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Administer(t.Context(), db.AdminURL(), refuseTemporary); err != nil {
		t.Errorf("app_rw may create temporary tables: %v", err)
	}
}

// refuseTemporary fails where app_rw may create temporary tables.
const refuseTemporary = `DO $$ BEGIN
  IF has_database_privilege('app_rw', current_database(), 'TEMPORARY') THEN RAISE 'temporary tables'; END IF; END $$`

func TestFourStartersAtOnceApplyEachMigrationOnce(t *testing.T) {
	t.Parallel()
	db := postgrestest.StartEmpty(t)
	url, log := db.URL(schema.RoleMigrate), slog.New(slog.DiscardHandler)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		total = map[int64]int{}
	)
	for range 4 {
		wg.Go(func() {
			applied, err := postgres.Migrate(t.Context(), url, log)
			if err != nil {
				t.Errorf("migrating: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, m := range applied {
				total[m.Version]++
			}
		})
	}
	wg.Wait()
	all, err := postgres.Status(t.Context(), url, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if total[m.Version] != 1 {
			t.Errorf("%s was applied %d times", m.Name, total[m.Version])
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		url  string
		size int
		want string
	}{
		"good":       {"postgres://app_rw:pw@db.example:5432/metiva?sslmode=verify-full", 4, ""},
		"socket":     {"postgres://app_rw:pw@/metiva?host=/run/postgres", 0, ""},
		"missing":    {"", 0, "missing"},
		"scheme":     {"mysql://u:hunter2@h/d", 0, "must start with"},
		"unreadable": {"postgres://u:hunter2@h:port/d", 0, "cannot be read"},
		"size":       {"postgres://u:hunter2@h/d", 5000, "pool size"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := postgres.Config{URL: secret.New(c.url), ConnectionsMax: c.size}.Validate()
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message holds the password: %v", err)
			}
		})
	}
}
