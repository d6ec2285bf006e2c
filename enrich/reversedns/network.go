package reversedns

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
)

// Outcome says what became of a network.
type Outcome uint8

// The outcomes. Confirmed alone has a domain.
const (
	// OutcomeNone: fewer names than a network of one organisation has.
	OutcomeNone Outcome = iota
	// OutcomeConfirmed: all of the network is under one domain.
	OutcomeConfirmed
	// OutcomeUnconfirmed: a name that does not resolve back to its address.
	OutcomeUnconfirmed
	// OutcomeGeneric: a name that does not say whose the address is (Judge), or one of
	// an excluded domain.
	OutcomeGeneric
	// OutcomeDivided: names of two domains, or too many for one address.
	OutcomeDivided
	// OutcomeTimeout and OutcomeFailed: a question without an answer, or with one that
	// cannot be used.
	OutcomeTimeout
	OutcomeFailed
	// OutcomeOverBudget: the batch did not wait any longer, or too many networks are
	// under way.
	OutcomeOverBudget
	outcomes
)

var outcomeNames = [outcomes]string{"none", "confirmed", "unconfirmed", "generic", "divided", "timeout", "failed", "over_budget"}

// String is the outcome as it stands in metrics.
func (o Outcome) String() string {
	if o >= outcomes {
		return "invalid"
	}
	return outcomeNames[o]
}

// isSettled reports whether asking again would say the same.
func (o Outcome) isSettled() bool {
	return o != OutcomeTimeout && o != OutcomeFailed && o != OutcomeOverBudget
}

const (
	// hostBitsMax: a network of more than 256 addresses is not asked about.
	hostBitsMax = 8
	// blockHosts is the shortest network that is commonly let: somebody else's within a
	// network would be one.
	blockHosts = 8
	namesMax   = 4
)

// Fits reports whether a network is small enough to ask about all of it.
func Fits(network netip.Prefix) bool {
	return network.IsValid() && network.Addr().BitLen()-network.Bits() <= hostBitsMax
}

// result of an address or a network. The domain is that of a confirmed one.
type result struct {
	domain  string
	outcome Outcome
}

// names finds the domain of a network, a /29 after the other, until something speaks
// against it.
func (r *Resolver) names(ctx context.Context, network netip.Prefix) result {
	hosts := 1 << (network.Addr().BitLen() - network.Bits())
	next, domain := network.Masked().Addr(), ""
	for range max(1, hosts/blockHosts) {
		block := make([]netip.Addr, 0, blockHosts)
		for range min(hosts, blockHosts) {
			block = append(block, next)
			next = next.Next()
		}
		got := r.block(ctx, block)
		if got.outcome != OutcomeConfirmed {
			return got
		}
		if domain != "" && got.domain != domain {
			return result{outcome: OutcomeDivided}
		}
		domain = got.domain
	}
	return result{domain: domain, outcome: OutcomeConfirmed}
}

// block asks about the addresses of a block, all at once, and weighs what they say.
func (r *Resolver) block(ctx context.Context, block []netip.Addr) result {
	answers := make([]result, len(block))
	var group sync.WaitGroup
	for i, addr := range block {
		group.Go(func() { answers[i] = r.host(ctx, addr) })
	}
	group.Wait()
	return weigh(answers)
}

// weigh is what the addresses of a block say together. What speaks against a name counts
// before what was not answered: it would not change.
func weigh(answers []result) result {
	confirmed, domain := 0, ""
	var unanswered Outcome
	for _, a := range answers {
		switch a.outcome {
		case OutcomeNone:
		case OutcomeConfirmed:
			if domain != "" && domain != a.domain {
				return result{outcome: OutcomeDivided}
			}
			confirmed, domain = confirmed+1, a.domain
		case OutcomeTimeout, OutcomeFailed, OutcomeOverBudget:
			unanswered = a.outcome
		default:
			return result{outcome: a.outcome}
		}
	}
	switch {
	case unanswered != 0:
		return result{outcome: unanswered}
	case 2*confirmed < len(answers):
		return result{outcome: OutcomeNone}
	}
	return result{domain: domain, outcome: OutcomeConfirmed}
}

// host asks for the names of one address, and for the addresses of those names. What
// stands in a zone is anybody's to write: a panic over it is no answer, since it would
// end the process, and again with the batch that is then repeated.
func (r *Resolver) host(ctx context.Context, addr netip.Addr) (out result) {
	defer func() {
		if recover() != nil {
			out = result{outcome: OutcomeFailed}
		}
	}()
	names, err := withSlot(ctx, r, func() ([]string, error) { return r.client.pointers(ctx, addr) })
	if err != nil {
		return result{outcome: outcomeOf(err)}
	}
	if len(names) > namesMax {
		return result{outcome: OutcomeDivided}
	}
	domain := ""
	for _, name := range names {
		own := Judge(name, addr)
		if own == "" || r.exclude(own) {
			return result{outcome: OutcomeGeneric}
		}
		if domain != "" && own != domain {
			return result{outcome: OutcomeDivided}
		}
		domain = own
	}
	for _, name := range names {
		back, err := withSlot(ctx, r, func() ([]netip.Addr, error) { return r.client.addresses(ctx, name, addr) })
		if err != nil {
			return result{outcome: outcomeOf(err)}
		}
		if !slices.Contains(back, addr) {
			return result{outcome: OutcomeUnconfirmed}
		}
	}
	if domain == "" {
		return result{outcome: OutcomeNone}
	}
	return result{domain: domain, outcome: OutcomeConfirmed}
}

// withSlot puts a question when one more may be under way.
func withSlot[T any](ctx context.Context, r *Resolver, ask func() (T, error)) (T, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
		return ask()
	case <-ctx.Done():
		var none T
		return none, errTimeout
	}
}

func outcomeOf(err error) Outcome {
	if errors.Is(err, errTimeout) {
		return OutcomeTimeout
	}
	return OutcomeFailed
}
