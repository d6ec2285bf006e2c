package metiva

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/enrich"
	"github.com/metiva-io/metiva/enrich/company"
	"github.com/metiva-io/metiva/enrich/reversedns"
)

// reverseFlags are the settings of reverse DNS, those of the enrich process.
type reverseFlags struct {
	ReverseDNSResolver string        `name:"reverse-dns-resolver" env:"METIVA_ENRICH_REVERSE_DNS_RESOLVER" help:"Your own name server, address:port, that is asked whose names a network has; none is asked when left out."`
	ReverseDNSTimeout  time.Duration `name:"reverse-dns-query-timeout" env:"METIVA_ENRICH_REVERSE_DNS_QUERY_TIMEOUT" default:"500ms" help:"How long one question may take; it is asked twice."`
}

// resolver is nil when none is given. Close it.
func (f reverseFlags) resolver() (*reversedns.Resolver, error) {
	cfg := reversedns.Config{Resolver: f.ReverseDNSResolver, QueryTimeout: f.ReverseDNSTimeout}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", app.ErrConfiguration, err)
	}
	return enrich.NewReverse(cfg, prometheus.NewRegistry())
}

// reverseWaitMax is longer than a look-up takes.
const reverseWaitMax = time.Minute

// waitingFor asks about a network at once: nobody waits behind an operator's question.
func waitingFor(ctx context.Context, names *reversedns.Resolver) company.ReverseFunc {
	return func(network netip.Prefix) string {
		return names.Ask(ctx, []netip.Prefix{network}, reverseWaitMax).Domain(network)
	}
}
