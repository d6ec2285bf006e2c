package enrich

import (
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestATenantsOwnOfficesWithoutARestart: what core publishes holds for the next events of
// that tenant, and for no other's; nothing of the network is logged.
func TestATenantsOwnOfficesWithoutARestart(t *testing.T) {
	t.Parallel()
	const other = "cmp_other"
	w := newWorld(t)
	worker, _ := w.visitWorker(0)
	stop := w.start(worker)
	put := func(company string) {
		w.put(w.event(ingAddr, agent, func(e *metivav1.CollectedEvent) { e.CompanyId = company }))
	}
	verdicts := func(company string) (out []metivav1.Verdict) {
		for _, e := range w.enrichedEvents() {
			if e.GetCompanyId() == company {
				out = append(out, e.GetResolution().GetVerdict())
			}
		}
		return out
	}
	put(tenant)
	waittest.Until(t, waitMax, "the first", func() bool { return len(verdicts(tenant)) == 1 })
	value, err := proto.Marshal(&metivav1.SuppressionRecord{CompanyId: tenant, Prefixes: [][]byte{schemas.AppendPrefix(nil, netip.MustParsePrefix(ingAddr+"/32"))}})
	if err != nil {
		t.Fatal(err)
	}
	w.send(schemas.TopicControlSuppressions, 0, []byte(tenant), value)
	if err := worker.suppressions.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(tenant)
	put(other)
	waittest.Until(t, waitMax, "the others", func() bool { return len(verdicts(tenant)) == 2 && len(verdicts(other)) == 1 })
	stop()
	const named, hidden = metivav1.Verdict_VERDICT_COMPANY, metivav1.Verdict_VERDICT_SUPPRESSED
	if got := verdicts(tenant); got[0] != named || got[1] != hidden {
		t.Errorf("the tenant has %v", got)
	}
	if got := verdicts(other); got[0] != named {
		t.Errorf("the other tenant has %v", got)
	}
	searchLeak(t, "log", w.log.bytes())
}
