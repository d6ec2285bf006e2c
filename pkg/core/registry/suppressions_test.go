package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// suppressed is what the last record of a list says; nil when it is removed.
func (k *topics) suppressed(t *testing.T, companyID string) (out []string) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range k.log {
		if r.topic != schemas.TopicControlSuppressions || string(r.key) != companyID {
			continue
		}
		var m metivav1.SuppressionRecord
		if err := proto.Unmarshal(r.value, &m); err != nil || len(r.value) > 0 && m.GetCompanyId() != companyID {
			t.Fatalf("a record of %q: %v", m.GetCompanyId(), err)
		}
		out = nil
		for _, b := range m.GetPrefixes() {
			p, err := schemas.ParsePrefix(b)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p.String())
		}
	}
	return out
}

func listed(all []registry.Suppression) (out []string) {
	for _, s := range all {
		out = append(out, s.Prefix.String())
	}
	return out
}

// TestSuppressionsAreOfOneTenant: each list is its own tenant's, is published as a
// whole with each change, and everybody's is nobody's.
func TestSuppressionsAreOfOneTenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, _ := w.tenantWithSite("Alpha")
	two, _ := w.tenantWithSite("Beta")
	p := w.publisher()
	add := func(n int, err error) func(want int) {
		return func(want int) {
			t.Helper()
			if err != nil || n != want {
				t.Fatalf("added %d, %v", n, err)
			}
		}
	}
	ctx := t.Context()
	add(w.store.Suppress(ctx, one, "office", prefixes("192.0.2.0/24", "2001:db8:1::/48")))(2)
	add(w.store.Suppress(ctx, one, "another reason", prefixes("192.0.2.0/24", "198.51.100.7/32")))(1)
	add(w.store.Suppress(ctx, two, "office", prefixes("192.0.2.0/24")))(1)
	add(w.store.OptOut(ctx, operator, "asked by letter", prefixes("203.0.113.0/24")))(1)
	w.flush(p)
	for id, want := range map[string][]string{
		one.CompanyID():  {"192.0.2.0/24", "198.51.100.7/32", "2001:db8:1::/48"},
		two.CompanyID():  {"192.0.2.0/24"},
		schemas.Everyone: {"203.0.113.0/24"},
	} {
		if got := w.topics.suppressed(t, id); !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", id, got, want)
		}
	}
	all, err := w.store.Suppressions(ctx, one)
	if err != nil || !slices.Equal(listed(all), []string{"192.0.2.0/24", "198.51.100.7/32", "2001:db8:1::/48"}) ||
		all[0].Reason != "office" || all[0].AddedBy != operator || all[0].AddedAt.IsZero() {
		t.Errorf("%v, %v", all, err)
	}
	if err := w.store.Unsuppress(ctx, two, prefixes("192.0.2.0/24", "198.51.100.7/32")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("the other tenant's is taken away: %v", err)
	}
	if err := w.store.Unsuppress(ctx, two, prefixes("192.0.2.0/24")); err != nil {
		t.Fatal(err)
	}
	if err := w.store.EndOptOut(ctx, prefixes("203.0.113.0/24")); err != nil {
		t.Fatal(err)
	}
	w.flush(p)
	if got := append(w.topics.suppressed(t, two.CompanyID()), w.topics.suppressed(t, schemas.Everyone)...); len(got) != 0 {
		t.Errorf("what was removed is still published: %v", got)
	}
	if all, err := w.store.OptOuts(ctx); err != nil || len(all) != 0 || len(w.topics.suppressed(t, one.CompanyID())) != 3 {
		t.Errorf("%v, %v", all, err)
	}
	// The worker's role sees everybody's list alone.
	if err := w.worker.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var n int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM core.suppressions`).Scan(&n); err != nil || n != 0 {
			t.Errorf("the worker sees %d networks of tenants, %v", n, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	// No tenant has the id that stands for all.
	if _, err := w.store.Suppress(ctx, w.claim(schemas.Everyone), "everybody", prefixes("192.0.2.0/24")); err == nil {
		t.Error("a tenant's claim writes for everybody")
	}
}

// TestWhatCannotBeSuppressed: and nothing of it is repeated.
func TestWhatCannotBeSuppressed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	claim, _ := w.tenantWithSite("Alpha")
	for name, c := range map[string]struct {
		reason   string
		prefixes []netip.Prefix
	}{
		"nothing":      {"office", nil},
		"no reason":    {" ", prefixes("192.0.2.0/24")},
		"host bits":    {"office", prefixes("192.0.2.77/24")},
		"everything":   {"office", prefixes("0.0.0.0/0")},
		"a wide one":   {"office", prefixes("16.0.0.0/7")},
		"a wide six":   {"office", prefixes("2001::/19")},
		"mapped":       {"office", prefixes("::ffff:192.0.2.77/128")},
		"not a prefix": {"office", []netip.Prefix{{}}},
	} {
		if _, err := w.store.Suppress(t.Context(), claim, c.reason, c.prefixes); !errors.Is(err, registry.ErrInvalid) || strings.Contains(err.Error(), "192.0.2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := make([]netip.Prefix, schemas.SuppressionsMax)
	for i := range many {
		many[i] = netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
	}
	if n, err := w.store.Suppress(t.Context(), claim, "many offices", many); err != nil || n != len(many) {
		t.Fatal(n, err)
	}
	if _, err := w.store.Suppress(t.Context(), claim, "one more", prefixes("192.0.2.0/24")); !errors.Is(err, registry.ErrLimit) {
		t.Errorf("beyond the limit: %v", err)
	}
	if all, err := w.store.Suppressions(t.Context(), claim); err != nil || len(all) != len(many) {
		t.Errorf("%d are kept, %v", len(all), err)
	}
}
