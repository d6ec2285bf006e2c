package metiva

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// TestAnyUserNameIsAnActor: the names directory services give have backslashes
// and spaces in them.
func TestAnyUserNameIsAnActor(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"root", "anna", `ACME\anna`, "anna de vries", "jösé", strings.Repeat("a", 300)} {
		if _, err := tenant.OperatorClaim(tenant.NewID(tenant.PrefixCompany), operatorNamed(name)); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestUpRefusesHalfAPostgres: with one role's address alone the others would
// silently be those of the embedded engine.
func TestUpRefusesHalfAPostgres(t *testing.T) {
	t.Parallel()
	for _, set := range []string{"--postgres-url", "--postgres-worker-url", "--postgres-migrate-url"} {
		err := Run(context.Background(), app.System{
			Args:   []string{"up", "--data", t.TempDir() + "/never", set, "postgres://u:canary@127.0.0.1:1/m"},
			Stdout: io.Discard, Stderr: io.Discard,
		})
		if !errors.Is(err, app.ErrConfiguration) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s alone: %v", set, err)
		}
	}
}
