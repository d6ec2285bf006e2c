package enrich

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/enrich/person"
	"github.com/metiva-io/metiva/enrich/reversedns"
)

// BindReverse adds the settings of reverse DNS.
func BindReverse(c *reversedns.Config, s *config.Set) {
	s.String(&c.Resolver, config.Option{Flag: "reverse-dns-resolver", Env: "METIVA_ENRICH_REVERSE_DNS_RESOLVER", Help: "Your own name server, address:port, on this machine or in a private network, that is asked whose names a network has which nothing else is known of. Empty: no name is asked for."})
	s.Int(&c.QueriesMax, config.Option{Flag: "reverse-dns-queries-max", Env: "METIVA_ENRICH_REVERSE_DNS_QUERIES_MAX", Default: "32", Help: "Questions to the resolver that are under way at once."})
	s.Duration(&c.QueryTimeout, config.Option{Flag: "reverse-dns-query-timeout", Env: "METIVA_ENRICH_REVERSE_DNS_QUERY_TIMEOUT", Default: "500ms", Help: "How long one question may take; it is asked twice."})
	s.Duration(&c.BatchBudget, config.Option{Flag: "reverse-dns-batch-budget", Env: "METIVA_ENRICH_REVERSE_DNS_BATCH_BUDGET", Default: "100ms", Help: "How long a batch of events waits for names."})
}

// NewReverse is the resolver, or nil when none is configured. Domains of mail services
// and access providers, which anybody may be under, are no company's.
func NewReverse(c reversedns.Config, reg prometheus.Registerer) (*reversedns.Resolver, error) {
	if !c.Enabled() {
		return nil, nil //nolint:nilnil // nil is the resolver that asks nobody
	}
	mail, err := person.NewMailServices()
	if err != nil {
		return nil, fmt.Errorf("reading the lists of mail services: %w", err)
	}
	return reversedns.New(c, reversedns.Deps{Exclude: func(domain string) bool { return mail.Has([]byte(domain)) }, Now: time.Now, Registerer: reg})
}
