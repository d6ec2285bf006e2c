package sink

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/metiva-io/metiva/schemas"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// process is a sink as it is deployed: the binary, which can be killed.
type process struct {
	t      *testing.T
	binary string
	env    []string
	cmd    *exec.Cmd
	out    bytes.Buffer
	ended  chan struct{}
}

// buildSink builds the binary of the sink.
func buildSink(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sink")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/sink")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the sink: %v\n%s", err, out)
	}
	return binary
}

func (p *pipeline) process(binary string) *process {
	p.t.Helper()
	return &process{t: p.t, binary: binary, env: []string{
		"METIVA_ENV=development", "METIVA_REGION=nl", "METIVA_KAFKA_BROKERS=" + strings.Join(p.broker.Addrs(), ","),
		"METIVA_CLICKHOUSE_URL=" + p.server.URL(), "METIVA_SINK_BATCH_ROWS_MAX=40", "METIVA_SINK_BATCH_AGE_MIN=10ms", "METIVA_SINK_BATCH_AGE_MAX=50ms",
		"METIVA_SINK_SESSION_TIMEOUT=2s", "PATH=/usr/bin:/bin", "HOME=" + os.TempDir(),
	}}
}

func (s *process) start() {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	admin := listener.Addr().String()
	_ = listener.Close()
	s.cmd = exec.Command(s.binary)
	s.cmd.Env = append(s.env, "METIVA_ADMIN_LISTEN="+admin)
	s.out.Reset()
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	// It does not outlive the test, however that ends.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(s.cmd, s.ended)
}

// end sends a signal and waits until the process is gone.
func (s *process) end(signal syscall.Signal) {
	s.t.Helper()
	select {
	case <-s.ended:
		s.t.Fatalf("a sink ended by itself:\n%s", s.out.String())
	default:
	}
	_ = s.cmd.Process.Signal(signal)
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		s.t.Fatalf("a sink does not end:\n%s", s.out.String())
	}
}

// view is a materialised view over a table of the sink: both questions give the same
// when every insert reached both, once.
type view struct {
	name         string
	base, target string // SQL: a key and a number
}

// views are what is compared after the kills: two of the test's own, which add up and
// so show what came twice, and those of the product's migrations.
func (p *pipeline) views() []view {
	p.t.Helper()
	const sums = " ENGINE = SummingMergeTree ORDER BY batch SETTINGS non_replicated_deduplication_window = 10000"
	all := []view{}
	// Of events, each insert is compared by itself.
	for table, batch := range map[string]string{"events": "toString(batch)", "visits": "toString(company_id)"} {
		for _, sql := range []string{
			"CREATE TABLE seen_" + table + " (batch String, n UInt64)" + sums,
			"CREATE MATERIALIZED VIEW seen_" + table + "_view TO seen_" + table + " AS SELECT " + batch + " AS batch, count() AS n FROM " + table + " GROUP BY 1",
		} {
			if err := p.conn.Exec(context.Background(), sql); err != nil {
				p.t.Fatal(err)
			}
		}
		all = append(all, view{
			name: "seen_" + table, base: "SELECT " + batch + ", count() FROM " + table + " GROUP BY 1",
			target: "SELECT batch, sum(n) FROM seen_" + table + " GROUP BY 1",
		})
	}
	days := func(table, column string) view {
		return view{
			name:   "changed_days of " + table,
			base:   "SELECT concat(company_id, ' ', toString(toDate(" + column + "))), toUInt64(1) FROM " + table + " GROUP BY 1",
			target: "SELECT concat(company_id, ' ', toString(day)), toUInt64(1) FROM changed_days WHERE source = '" + table + "' GROUP BY 1",
		}
	}
	if p.tables()["changed_days"] {
		all = append(all, days("events", "received_at"), days("visits", "started_at"))
	}
	return all
}

// tables are those of the migrated database.
func (p *pipeline) tables() map[string]bool {
	p.t.Helper()
	out := make(map[string]bool)
	err := p.conn.Each(context.Background(), "SELECT name FROM system.tables WHERE database = currentDatabase()", func(scan func(...any) error) error {
		var name string
		err := scan(&name)
		out[name] = true
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// numbers is the answer to a question for keys and numbers.
func (p *pipeline) numbers(sql string) map[string]uint64 {
	p.t.Helper()
	out := make(map[string]uint64)
	err := p.conn.Each(context.Background(), sql, func(scan func(...any) error) error {
		var key string
		var n uint64
		err := scan(&key, &n)
		out[key] = n
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// TestKilledProcesses runs two sinks as processes and kills one or both of them and
// ClickHouse (SIGKILL) at random moments while records flow, so that partitions move
// between them with batches under way; then it compares every event id, and what
// materialised views say with the tables they are of.
func TestKilledProcesses(t *testing.T) {
	t.Parallel()
	rounds := *killRounds
	if rounds < fullRounds {
		rounds = 2
	}
	const perRound = 500
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 2))
	p := newPipeline(t)
	p.noMerges()
	views := p.views()
	binary := buildSink(t)
	sinks := []*process{p.process(binary), p.process(binary)}
	t.Cleanup(func() {
		if t.Failed() {
			for i, s := range sinks {
				_ = s.cmd.Process.Kill()
				<-s.ended
				out := s.out.String()
				t.Logf("the last of sink %d:\n%s", i, out[max(0, len(out)-3000):])
			}
		}
	})
	for _, s := range sinks {
		s.start()
	}
	events, drops := map[store.Identity]bool{}, map[store.Identity]string{}
	kills := map[string]int{}
	for round := range rounds {
		l := mixedLoad(t, rng, perRound, round*perRound*3)
		p.produceVisits(round, perRound/5)
		p.produce(schemas.TopicEventsEnriched, func(i int) int { return l.partitions[i] }, l.values)
		maps.Copy(events, l.events)
		maps.Copy(drops, l.drops)
		// Some way into the round, wherever the batches are then.
		before := p.count("events")
		p.until("rows flow", time.Minute, func() bool {
			return p.count("events") >= min(before+uint64(1+rng.IntN(perRound/2)), uint64(len(events)))
		})
		for _, kill := range killsOf(rng, sinks, p) {
			kills[kill.name]++
			kill.do()
		}
		if p.restart(sinks); p.count("events") == 0 {
			t.Error("ClickHouse does not answer after a round")
		}
	}
	p.untilWritten(uint64(len(events) + len(drops)))
	p.untilIdle()
	for _, s := range sinks {
		s.end(syscall.SIGTERM)
	}
	t.Logf("%d rounds, kills %v; %d events, %d drops", rounds, kills, len(events), len(drops))
	compare(t, events, p.rowsOf("events", "type"), drops, p.rowsOf("drops", "reason"))
	for _, v := range views {
		base, target := p.numbers(v.base), p.numbers(v.target)
		maps.DeleteFunc(base, func(key string, n uint64) bool { same := target[key] == n; delete(target, key); return same })
		if len(base)+len(target) > 0 {
			t.Errorf("the view %s differs: the table has %v, the view beside it %v", v.name, base, target)
		}
	}
}

// untilWritten waits for the rows. When none comes for a while, the members of the group
// are evicted: a sink that was killed while it joined is a member for ever, here.
func (p *pipeline) untilWritten(rows uint64) {
	p.t.Helper()
	const evictAfter = 15 * time.Second
	last, since := uint64(0), time.Now()
	p.until("all rows are written", 2*time.Minute, func() bool {
		n := p.count("events") + p.count("drops")
		switch {
		case n != last:
			last, since = n, time.Now()
		case time.Since(since) > evictAfter:
			p.t.Logf("%d of %d rows, evicting the group", n, rows)
			p.broker.Evict(Group)
			since = time.Now()
		}
		return n >= rows
	})
}

// fullRounds is from how many rounds on TestKilledProcesses does as many.
const fullRounds = 30

type kill struct {
	name string
	do   func()
}

// killsOf are the kills of a round, in a random order and with random pauses: of
// ClickHouse, of a sink or of both; now and then a sink is asked to stop instead.
func killsOf(rng *rand.Rand, sinks []*process, p *pipeline) []kill {
	pause := func() { <-time.After(time.Duration(rng.IntN(60)) * time.Millisecond) }
	kills := []kill{{"clickhouse", func() { pause(); p.server.Kill() }}}
	which := rng.IntN(2)
	signal, name := syscall.SIGKILL, "sink"
	if rng.IntN(5) == 0 {
		signal, name = syscall.SIGTERM, "sink asked to stop"
	}
	kills = append(kills, kill{name, func() { pause(); sinks[which].end(signal) }})
	if rng.IntN(3) == 0 {
		kills = append(kills, kill{"sink", func() { pause(); sinks[1-which].end(syscall.SIGKILL) }})
	}
	rng.Shuffle(len(kills), func(i, j int) { kills[i], kills[j] = kills[j], kills[i] })
	return kills
}

// restart starts what was killed.
func (p *pipeline) restart(sinks []*process) {
	p.server.Restart()
	for _, s := range sinks {
		select {
		case <-s.ended:
			s.start()
		default:
		}
	}
}

// produceVisits puts versions of visits on their topic.
func (p *pipeline) produceVisits(round, n int) {
	p.t.Helper()
	var values [][]byte
	for i := range n {
		v := testVisit(fmt.Sprintf("cmp_%02d", i%12), round*n+i, 1)
		v.RetentionDays = 36_000
		values = append(values, encode(p.t, v))
	}
	p.produce(schemas.TopicVisitsEnriched, func(i int) int {
		return schemas.EventPartition(fmt.Sprintf("cmp_%02d", i%12), nil, schemas.TenantBuckets)
	}, values)
}
