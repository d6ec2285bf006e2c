package metiva

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/cmd/internal/app"
)

// TestNetworksOfACommand: an address is a network of one, bits behind the length are cut
// off, and what is neither is not repeated.
func TestNetworksOfACommand(t *testing.T) {
	t.Parallel()
	got, err := parseNetworks([]string{"192.0.2.77", "192.0.2.77/24", "2001:db8::1/48", "::ffff:192.0.2.7"})
	want := []netip.Prefix{
		netip.MustParsePrefix("192.0.2.77/32"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/48"), netip.MustParsePrefix("192.0.2.7/32"),
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, text := range []string{"canary", "192.0.2.canary/24", "fe80::1%canary", ""} {
		if _, err := parseNetworks([]string{"192.0.2.0/24", text}); !errors.Is(err, app.ErrConfiguration) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", text, err)
		}
	}
	// One list, and one only.
	for _, args := range []string{"list", "list --everyone --company cmp_a", "add --everyone --network 192.0.2.0/24", "remove --everyone"} {
		err := Run(t.Context(), app.System{Args: append([]string{"suppression"}, strings.Fields(args)...), Stdout: io.Discard, Stderr: io.Discard})
		if err == nil {
			t.Errorf("suppression %s is taken", args)
		}
	}
	err = Run(t.Context(), app.System{Args: []string{"suppression", "list", "--everyone", "--data", t.TempDir()}, Stdout: io.Discard, Stderr: io.Discard})
	if err == nil || strings.Contains(err.Error(), "required") || strings.Contains(err.Error(), "missing flags") {
		t.Errorf("everyone's list: %v", err)
	}
}
