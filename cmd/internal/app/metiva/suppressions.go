package metiva

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// suppressionCommand is about networks that are never resolved to a company.
type suppressionCommand struct {
	Add    suppressionAdd    `cmd:"" help:"Suppress networks: a tenant's own offices for that tenant, or with --everyone an organisation that asked not to be named."`
	List   suppressionList   `cmd:"" help:"List suppressed networks."`
	Remove suppressionRemove `cmd:"" help:"Take networks off the list."`
}

// suppressionFlags says which list.
type suppressionFlags struct {
	storeFlags
	Company  string `xor:"list" required:"" help:"Tenant (cmp_…) whose own networks they are."`
	Everyone bool   `xor:"list" required:"" help:"The list that holds for every tenant."`
}

// with opens the registry; claim is zero for everyone's list.
func (f suppressionFlags) with(ctx context.Context, do func(s *registry.Store, claim tenant.Claim) error) error {
	return f.withRegistry(ctx, func(s *registry.Store) error {
		if f.Everyone {
			return do(s, tenant.Claim{})
		}
		claim, err := tenant.OperatorClaim(f.Company, operator())
		if err != nil {
			return err
		}
		return do(s, claim)
	})
}

type suppressionAdd struct {
	suppressionFlags
	Network []string `required:"" help:"Address or prefix, such as 192.0.2.0/24; bits behind the prefix's length are cut off; repeatable."`
	Reason  string   `required:"" help:"Why, such as 'office in Utrecht'."`
}

// Run adds the networks.
func (c *suppressionAdd) Run(ctx context.Context, t terminal) error {
	networks, err := parseNetworks(c.Network)
	if err != nil {
		return err
	}
	return c.with(ctx, func(s *registry.Store, claim tenant.Claim) error {
		var added int
		var err error
		if c.Everyone {
			added, err = s.OptOut(ctx, operator(), c.Reason, networks)
		} else {
			added, err = s.Suppress(ctx, claim, c.Reason, networks)
		}
		if err == nil {
			t.printf("%d networks added\n", added)
		}
		return err
	})
}

type suppressionList struct{ suppressionFlags }

// Run lists the networks.
func (c *suppressionList) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(s *registry.Store, claim tenant.Claim) error {
		list := func() ([]registry.Suppression, error) { return s.Suppressions(ctx, claim) }
		if c.Everyone {
			list = func() ([]registry.Suppression, error) { return s.OptOuts(ctx) }
		}
		all, err := list()
		if err != nil {
			return err
		}
		t.table("network | reason | added by | added", func(row func(...any)) {
			for _, x := range all {
				row(x.Prefix, x.Reason, x.AddedBy, x.AddedAt.Format(time.DateOnly))
			}
		})
		return nil
	})
}

type suppressionRemove struct {
	suppressionFlags
	Network []string `required:"" help:"As it was added; repeatable."`
}

// Run takes the networks off.
func (c *suppressionRemove) Run(ctx context.Context, t terminal) error {
	networks, err := parseNetworks(c.Network)
	if err != nil {
		return err
	}
	return c.with(ctx, func(s *registry.Store, claim tenant.Claim) error {
		var err error
		if c.Everyone {
			err = s.EndOptOut(ctx, networks)
		} else {
			err = s.Unsuppress(ctx, claim, networks)
		}
		if err == nil {
			t.printf("%d networks removed\n", len(networks))
		}
		return err
	})
}

// parseNetworks reads addresses and prefixes. An error names the place, not the text.
func parseNetworks(texts []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil || addr.Zone() != "" {
				return nil, fmt.Errorf("%w: network %d is neither an address nor a prefix", app.ErrConfiguration, i+1)
			}
			addr = addr.Unmap()
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		out[i] = p.Masked()
	}
	return out, nil
}
