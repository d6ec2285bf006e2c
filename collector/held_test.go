package collector

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// rawPost is the bytes of a request with these events.
func (e *edge) rawPost(query string, headers string, pages ...page) string {
	e.t.Helper()
	body, err := json.Marshal(e.body(pages...))
	if err != nil {
		e.t.Fatal(err)
	}
	return fmt.Sprintf("POST %s%s HTTP/1.1\r\nHost: x\r\nOrigin: %s\r\nContent-Type: text/plain\r\nUser-Agent: %s\r\nX-Forwarded-For: %s\r\n%sContent-Length: %d\r\n\r\n%s",
		PathEvents, query, testOrigin, testAgent, testVisitor, headers, len(body), body)
}

// readAnswered reads one answer of a connection.
func readAnswered(from *bufio.Reader) (answered, error) {
	res, err := http.ReadResponse(from, nil)
	if err != nil {
		return answered{}, err
	}
	defer res.Body.Close()
	if want := fmt.Sprint(res.StatusCode, " ", http.StatusText(res.StatusCode)); res.Status != want {
		return answered{}, fmt.Errorf("the status line says %q, want %q", res.Status, want)
	}
	a := answered{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil || len(a.body) == 0 {
		return a, err
	}
	return a, json.Unmarshal(a.body, &a)
}

// A client that does not wait for its answers gets them in the order of its
// requests, whether these came together or one after the other.
func TestHeldAnswersKeepTheirOrder(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	hold := make(chan struct{})
	e.log.hold, e.log.arrived, e.log.over = hold, make(chan struct{}, 10), t.Context().Done()
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	var ids []string
	post := func() string {
		p := newPage(e)
		ids = append(ids, p["id"].(string))
		return e.rawPost("", "", p)
	}
	conn := e.dial(post())
	<-e.log.arrived // it waits, and its answer is held
	if _, err := io.WriteString(conn, post()+"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"+post()+post()); err != nil {
		t.Fatal(err)
	}
	close(hold)
	from := bufio.NewReader(conn)
	for i, want := range []int{200, 200, 404, 200, 200} {
		a, err := readAnswered(from)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != want {
			t.Fatalf("answer %d is a %d, want %d", i, a.status, want)
		}
		if want != 200 {
			continue
		}
		if len(a.Results) != 1 || a.Results[0].ID != ids[0] || a.outcomes() != "accepted" {
			t.Errorf("answer %d is %s, want %s accepted", i, a.body, ids[0])
		}
		ids = ids[1:]
	}
}

// plainly is a Producer whose acks can only be waited for.
type plainly struct{ *memoryLog }

func (p plainly) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	ack, err := p.memoryLog.Produce(topic, partition, key, value)
	if err != nil {
		return nil, err
	}
	return struct{ Ack }{ack}, nil
}

// An answer that is held says what one would that was waited for, also when its
// records failed after it was written.
func TestHeldAnswersSayTheSame(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		query string
		fails bool
		pages func(e *edge) []page
		want  string
	}{
		"one accepted":                     {"", false, func(e *edge) []page { return []page{newPage(e)} }, "200 accepted"},
		"one accepted, no results wanted":  {"?r=0", false, func(e *edge) []page { return []page{newPage(e)} }, "204 "},
		"one failed":                       {"", true, func(e *edge) []page { return []page{newPage(e)} }, "503 retry:unacknowledged"},
		"one failed, no results wanted":    {"?r=0", true, func(e *edge) []page { return []page{newPage(e)} }, "503 retry:unacknowledged"},
		"one failed, one dropped":          {"", true, func(e *edge) []page { return []page{newPage(e), newPage(e).with("type", "nothing")} }, "200 retry:unacknowledged dropped:malformed"},
		"dropped and accepted, no results": {"?r=0", false, func(e *edge) []page { return []page{newPage(e).with("type", "nothing"), newPage(e)} }, "200 dropped:malformed accepted"},
		"three failed":                     {"?r=0", true, func(e *edge) []page { return []page{newPage(e), newPage(e), newPage(e)} }, "503 retry:unacknowledged retry:unacknowledged retry:unacknowledged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var answers [2]answered
			for i := range answers {
				log := &memoryLog{hold: make(chan struct{}), arrived: make(chan struct{}, 10), over: t.Context().Done()}
				if c.fails {
					log.ackErr = errTest
				}
				producer := Producer(log)
				if i == 1 {
					producer = plainly{log}
				}
				e := newEdge(t, producer, nil)
				e.applySite(siteRecord())
				e.applySalt(testCompany, "2026-11-22")
				e.CaughtUp()
				e.start()
				conn := e.dial(e.rawPost(c.query, "", c.pages(e)...))
				<-log.arrived
				close(log.hold)
				var err error
				if answers[i], err = readAnswered(bufio.NewReader(conn)); err != nil {
					t.Fatal(err)
				}
			}
			if got := fmt.Sprint(answers[0].status, " ", answers[0].outcomes()); got != c.want {
				t.Errorf("held: %s, want %s", got, c.want)
			}
			if answers[0].status != answers[1].status || answers[0].outcomes() != answers[1].outcomes() {
				t.Errorf("held: %d %s; waited for: %d %s", answers[0].status, answers[0].body, answers[1].status, answers[1].body)
			}
			for _, h := range []http.Header{answers[0].header, answers[1].header} {
				h.Del("Date")
				h.Del("Content-Length") // ids differ, their length does not; checked by reading
			}
			if held, waited := fmt.Sprint(answers[0].header), fmt.Sprint(answers[1].header); held != waited {
				t.Errorf("headers of the held answer %s, of the other %s", held, waited)
			}
		})
	}
}

// An answer that waits too long is given without its records; that they become
// durable later changes nothing.
func TestHeldAnswersWaitTheirTimeOnly(t *testing.T) {
	t.Parallel()
	log := &memoryLog{hold: make(chan struct{}), over: t.Context().Done()}
	e := newEdge(t, log, func(c *Config) { c.AckTimeout = 100 * time.Millisecond })
	e.log = log
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	conn := e.dial(e.rawPost("?r=0", "", newPage(e)))
	from := bufio.NewReader(conn)
	a, err := readAnswered(from)
	if err != nil || a.status != 503 || a.outcomes() != "retry:unacknowledged" {
		t.Fatalf("answered %d %s, %v", a.status, a.body, err)
	}
	close(log.hold)
	if _, err := io.WriteString(conn, e.rawPost("", "", newPage(e))); err != nil {
		t.Fatal(err)
	}
	if a, err = readAnswered(from); err != nil || a.outcomes() != "accepted" {
		t.Errorf("the next request on the connection: %d %s, %v", a.status, a.body, err)
	}
	wantLedger(t, e.stoppedLedger(), map[string]uint64{testCompany + "/unacknowledged": 1, testCompany + "/none": 1})
	if n := e.inFlight.Load(); n != 0 {
		t.Errorf("%d events are in flight", n)
	}
}

// groups is a Producer that acknowledges in groups, from another goroutine, and
// fails some of them.
type groups struct {
	mu   sync.Mutex
	ack  *groupAck
	in   []string // the ids of the group
	told map[string]bool
	rng  *rand.Rand

	others *memoryLog
}

func (g *groups) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if topic != schemas.TopicEventsCollected {
		return g.others.Produce(topic, partition, key, value)
	}
	var e metivav1.CollectedEvent
	if err := proto.Unmarshal(value, &e); err != nil {
		return nil, err
	}
	g.in = append(g.in, string(e.GetEventId()))
	return g.ack, nil
}

func (g *groups) ProduceSync(ctx context.Context, topic string, partition int, key, value []byte) error {
	ack, err := g.Produce(topic, partition, key, value)
	if err != nil {
		return err
	}
	return waitAck(ctx, ack)
}

// end ends the group, and begins another.
func (g *groups) end() {
	g.mu.Lock()
	var err error
	if g.rng.IntN(3) == 0 {
		err = errTest
	}
	for _, id := range g.in {
		g.told[id] = err == nil
	}
	ended := g.ack
	g.ack, g.in = &groupAck{done: make(chan struct{})}, nil
	g.mu.Unlock()
	ended.end(err)
}

// TestHeldAnswersUnderLoad: whatever comes first, the answer, the records or the
// next request, each request is answered once, in order, with what became of its
// own records, and counted once.
func TestHeldAnswersUnderLoad(t *testing.T) {
	t.Parallel()
	g := &groups{ack: &groupAck{done: make(chan struct{})}, told: map[string]bool{}, rng: rand.New(rand.NewPCG(1, 2)), others: &memoryLog{}}
	e := newEdge(t, g, func(c *Config) {
		noLimits(c)
		c.ConnectionsPerAddressMax = 1 << 20
	})
	e.applySite(siteRecord())
	e.applySalt(testCompany, "2026-11-22")
	e.CaughtUp()
	e.start()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(300 * time.Microsecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				g.end()
			case <-stop:
				g.end()
				return
			}
		}
	}()
	var wg sync.WaitGroup
	var mu sync.Mutex
	counts := map[string]int{}
	for n := range 24 {
		rng := rand.New(rand.NewPCG(3, uint64(n)))
		wg.Go(func() {
			for range 15 {
				if err := e.talk(rng, g, func(outcome string) {
					mu.Lock()
					defer mu.Unlock()
					counts[outcome]++
				}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	<-ended
	if err := e.stop(); err != nil {
		t.Error(err)
	}
	if counts["accepted"] == 0 || counts["retry"] == 0 {
		t.Errorf("outcomes %v: both are wanted", counts)
	}
	wantLedger(t, ledgerOf(t, g.others.of(schemas.TopicLedgerEdge)), map[string]uint64{
		testCompany + "/none": uint64(counts["accepted"]), testCompany + "/unacknowledged": uint64(counts["retry"]),
	})
	if n := e.inFlight.Load(); n != 0 {
		t.Errorf("%d events are in flight", n)
	}
}

// talk opens a connection, sends requests in some manner, and checks the answers.
func (e *edge) talk(rng *rand.Rand, g *groups, outcome func(string)) error {
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	from := bufio.NewReader(conn)
	for last := false; !last; {
		last = rng.IntN(6) == 0
		var requests [][]page
		var raw bytes.Buffer
		for i, n := 0, 1+rng.IntN(3)/2; i < n; i++ {
			var pages []page
			for range 1 + rng.IntN(3) {
				pages = append(pages, newPage(e))
			}
			headers := ""
			if last && i == n-1 && rng.IntN(2) == 0 {
				headers = "Connection: close\r\n"
			}
			raw.WriteString(e.rawPost("", headers, pages...))
			requests = append(requests, pages)
		}
		if _, err := conn.Write(raw.Bytes()); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
		for i, pages := range requests {
			a, err := readAnswered(from)
			if err != nil {
				// What came together with the next request is in the server's memory:
				// its connection ends when it fails.
				if i+1 <= len(requests) && len(requests) > 1 {
					for _, unanswered := range requests[i:] {
						for _, p := range unanswered {
							outcome(g.of(p))
						}
					}
					return nil
				}
				return fmt.Errorf("reading: %w", err)
			}
			if len(a.Results) != len(pages) {
				return fmt.Errorf("%d results for %d events: %s", len(a.Results), len(pages), a.body)
			}
			for j, p := range pages {
				if want := g.of(p); a.Results[j].ID != p["id"] || a.Results[j].Outcome != want {
					return fmt.Errorf("answered %s %s, want %s %s", a.Results[j].ID, a.Results[j].Outcome, p["id"], want)
				}
				outcome(a.Results[j].Outcome)
			}
		}
	}
	return nil
}

// of is what became of an event.
func (g *groups) of(p page) string {
	id, _ := parseID([]byte(p["id"].(string)))
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.told[string(id[:])] {
		return "accepted"
	}
	return "retry"
}

// pair is a connection of a listener and its other end.
func pair(t *testing.T, times timeouts) (*conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	far, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	e := newEdge(t, nil, nil)
	l := e.newListener(ln)
	l.timeouts = times
	c := l.take(near)
	t.Cleanup(func() { _, _ = c.abort(), far.Close() })
	return c, far.(*net.TCPConn)
}

// slowBytes is more than the buffers of a connection hold.
const slowBytes = 16 << 20

// Who reads slowly keeps nobody waiting, and gets all; the connection ends behind
// it when it was to end.
func TestAHeldAnswerWaitsForASlowReader(t *testing.T) {
	t.Parallel()
	c, far := pair(t, timeouts{write: 20 * time.Second})
	answer := bytes.Repeat([]byte("0123456789abcdef"), slowBytes/16)
	r := &request{}
	c.hold(r, nil)
	if n, err := c.Write(answer); n != len(answer) || err != nil {
		t.Fatal(n, err)
	}
	if err := c.Close(); err != nil { // the server's end, before the answer is out
		t.Fatal(err)
	}
	if !c.held.claim(r) {
		t.Fatal("the request is not the connection's")
	}
	c.settle(nil) // returns although nobody reads
	got, err := io.ReadAll(far)
	if err != nil || !bytes.Equal(got, answer) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(answer), err)
	}
}

// Who does not read at all is let go.
func TestAHeldAnswerThatNobodyReads(t *testing.T) {
	t.Parallel()
	c, _ := pair(t, timeouts{write: 50 * time.Millisecond})
	c.hold(&request{}, nil)
	if _, err := c.Write(make([]byte, slowBytes)); err != nil {
		t.Fatal(err)
	}
	c.settle(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.listener.awaitEmpty(ctx); err != nil {
		t.Error("the connection stays open")
	}
}
