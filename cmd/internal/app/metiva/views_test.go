package metiva

import (
	"errors"
	"testing"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/tenant"
)

func TestViewsRebuild(t *testing.T) {
	t.Parallel()
	r := newReads(t)
	company := tenant.NewID(tenant.PrefixCompany)
	if out, err := r.run("views", "rebuild", "--tenant", company, "--from", "2026-11-01", "--to", "2026-11-03"); err != nil || out[:6] != "3 days" {
		t.Errorf("%q, %v", out, err)
	}
	for _, args := range [][]string{{"--from", "yesterday", "--to", "2026-11-03"}, {"--from", "2026-11-03", "--to", "2026-11-01"}, {"--from", "2020-01-01", "--to", "2026-11-01"}} {
		if _, err := r.run(append([]string{"views", "rebuild", "--tenant", company}, args...)...); !errors.Is(err, app.ErrConfiguration) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
