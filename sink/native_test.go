package sink

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/clickhouse/nativetest"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/schemas"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// TestNativeProtocol: a whole sink works over the native protocol with TLS and two
// hosts, of which the first is lost while it writes: events, drops and visits are
// there, each once, and the dead letters are sent.
func TestNativeProtocol(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.noMerges()
	conn, first, second := p.overNative()
	const company, perHalf = "cmp_a", 600
	events, drops := map[store.Identity]bool{}, map[store.Identity]string{}
	partition := func(int) int { return schemas.EventPartition(company, nil, schemas.TenantBuckets) }
	half := func(from int) {
		var values, visits [][]byte
		for i := from; i < from+perHalf; i++ {
			e := testEvent(company, i)
			id := identityOf(company, e.EventId, e.Source)
			if i%100 == 7 {
				e.VisitorId = make([]byte, 16) // of nobody who consented
				drops[id] = "invalid_record"
			} else {
				events[id] = true
			}
			values, visits = append(values, encode(t, schemas.EnrichedOf(e))), append(visits, encode(t, testVisit(company, i, 1)))
		}
		p.produce(schemas.TopicEventsEnriched, partition, values)
		p.produce(schemas.TopicVisitsEnriched, partition, visits)
	}
	half(0)
	p.running(p.worker(Config{BatchRowsMax: 100, BatchAgeMax: 20 * time.Millisecond, RetryMin: 5 * time.Millisecond, RetryMax: 50 * time.Millisecond}, store.New(conn), fixedNow).Run)
	p.until("the first host takes rows", time.Minute, func() bool { return p.count("events") >= 200 })
	if second.Inserts() > 0 {
		t.Error("the second host is used while the first answers")
	}
	first.Close()
	half(perHalf)
	p.until("all rows are written", time.Minute, func() bool {
		return p.count("events")+p.count("drops") >= uint64(len(events)+len(drops)) && len(p.standing(standingVisits)) == 2*perHalf
	})
	compare(t, events, p.rowsOf("events", "type"), drops, p.rowsOf("drops", "reason"))
	if got := len(p.deadLetters()); got != len(drops) {
		t.Errorf("%d dead letters, want %d", got, len(drops))
	}
	if first.Inserts() == 0 || second.Inserts() == 0 {
		t.Errorf("%d inserts by the first host, %d by the second", first.Inserts(), second.Inserts())
	}
}

// overNative is a connection to the pipeline's engine over the native protocol and TLS,
// by two hosts.
func (p *pipeline) overNative() (conn *clickhouse.Conn, first, second *nativetest.Door) {
	p.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS() // for its certificate
	p.t.Cleanup(server.Close)
	ca := filepath.Join(p.t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		p.t.Fatal(err)
	}
	socket, certificate := p.server.Config().SocketPath, &server.TLS.Certificates[0]
	first, second = nativetest.Open(p.t, socket, certificate), nativetest.Open(p.t, socket, certificate)
	conn, err := clickhouse.Open(clickhouse.Config{
		URL: secret.New("clickhouses://" + first.Address() + "," + second.Address() + "/metiva"), TLSCAFile: ca, DialTimeout: 5 * time.Second, ConnectionsMax: 8,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return conn, first, second
}
