package collector

import (
	"bufio"
	"context"
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

// storm is a Producer that acknowledges in groups of chance: at once, late, too
// late, or with an error.
type storm struct {
	*memoryLog
	wg sync.WaitGroup

	mu      sync.Mutex
	rng     *rand.Rand
	ack     *groupAck
	left    int    // records the group still takes
	asked   uint64 // to take an event
	durable map[string]bool
	in      []string
}

func (s *storm) Produce(topic string, partition int, key, value []byte) (Ack, error) {
	if topic != schemas.TopicEventsCollected {
		return s.memoryLog.Produce(topic, partition, key, value)
	}
	var e metivav1.CollectedEvent
	if err := proto.Unmarshal(value, &e); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.rng.IntN(50) == 0 {
		return nil, errTest
	}
	if s.left == 0 {
		s.begin()
	}
	s.left--
	s.in = append(s.in, string(e.GetEventId()))
	ack := s.ack
	if s.left == 0 {
		s.end(ack, s.in)
		s.ack, s.in = nil, nil
	}
	return ack, nil
}

func (s *storm) begin() {
	s.ack, s.left = &groupAck{done: make(chan struct{})}, 1+s.rng.IntN(6)
}

// end settles a group now or some time later.
func (s *storm) end(ack *groupAck, ids []string) {
	var err error
	if s.rng.IntN(5) == 0 {
		err = errTest
	}
	after := time.Duration(0)
	if s.rng.IntN(2) == 0 {
		after = time.Duration(s.rng.IntN(int(2 * stormPatience)))
	}
	s.wg.Add(1)
	time.AfterFunc(after, func() {
		defer s.wg.Done()
		if err == nil {
			s.mu.Lock()
			for _, id := range ids {
				s.durable[id] = true
			}
			s.mu.Unlock()
		}
		ack.end(err)
	})
}

func (s *storm) isDurable(id string) bool {
	parsed, _ := parseID([]byte(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable[string(parsed[:])]
}

// stormPatience is the AckTimeout.
const stormPatience = 60 * time.Millisecond

// TestAStormOfConnections: whatever clients do, and whatever becomes of their
// records, nothing is "accepted" that is not durable, each event is counted once,
// a stop in the middle waits for all of them, and nothing stays behind.
func TestAStormOfConnections(t *testing.T) {
	t.Parallel()
	s := &storm{memoryLog: &memoryLog{}, rng: rand.New(rand.NewPCG(7, 8)), durable: map[string]bool{}}
	e := newEdge(t, s, func(c *Config) {
		noLimits(c)
		c.AckTimeout, c.ReadTimeout, c.IdleTimeout, c.WriteTimeout, c.DrainGrace = stormPatience, 100*time.Millisecond, 80*time.Millisecond, time.Second, 50*time.Millisecond
	})
	e.log = s.memoryLog
	// Events whose data key is not published within the AckTimeout, which is short here,
	// are unacknowledged too, and never asked of the storm.
	if err := e.sealer.Prepare(t.Context(), testCompany); err != nil {
		t.Fatal(err)
	}
	ln, served := e.startServing(false)
	stopping, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for n := range 40 {
		rng := rand.New(rand.NewPCG(9, uint64(n)))
		wg.Go(func() {
			for stopping.Err() == nil {
				e.storm(rng, s)
			}
		})
	}
	<-time.After(1500 * time.Millisecond)
	ledger := e.stoppedLedger()
	cancel()
	wg.Wait()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	accepted, retry := ledger[testCompany+"/none"], ledger[testCompany+"/unacknowledged"]
	if accepted == 0 || retry == 0 || accepted+retry != s.asked {
		t.Errorf("%d events came, the ledger has %v", s.asked, sorted(ledger))
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if n := e.inFlight.Load(); n != 0 || len(ln.open) != 0 || len(ln.byAddress) != 0 {
		t.Errorf("%d events are in flight, %d connections open", n, len(ln.open))
	}
	if n := served.Load(); n < 10 {
		t.Errorf("%d requests were served as ordinary ones", n)
	}
	t.Logf("%d events, %d requests served as ordinary ones", s.asked, served.Load())
	if strings.Contains(e.logged.String(), "panic") {
		t.Error(e.logged.String())
	}
}

// storm is one connection, and something sent on it in some manner.
func (e *edge) storm(rng *rand.Rand, s *storm) {
	nc, err := net.Dial("tcp4", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		return
	}
	conn := nc.(*net.TCPConn)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	read := make(chan struct{})
	sent := make(chan []string, 4*3) // the events of each request, in order
	go func() {
		defer close(read)
		from := bufio.NewReader(conn)
		for {
			a, err := readAnswered(from)
			if err != nil {
				return
			}
			if a.status != http.StatusContinue {
				e.checkQuiet(s, a, sent)
			}
			for _, r := range a.Results {
				if r.Outcome == "accepted" && !s.isDurable(r.ID) {
					e.t.Errorf("%s is accepted and not durable", r.ID)
				}
			}
			if a.status >= http.StatusInternalServerError && a.status != http.StatusServiceUnavailable {
				e.t.Errorf("answered %d %s", a.status, a.body)
			}
		}
	}()
	whole, together, next := true, 3, e.stormRequest
	if rng.IntN(2) == 0 { // as the snippet does
		together, next = 1, e.stormOrdinary
	}
	for range 1 + rng.IntN(4) {
		var raw strings.Builder
		for range 1 + rng.IntN(together) {
			request, ids := next(rng)
			raw.WriteString(request)
			if whole = whole && ids != nil; whole { // else nobody knows which answer is whose
				sent <- ids
			}
		}
		text := raw.String()
		if rng.IntN(4) == 0 { // in two pieces
			cut := rng.IntN(len(text))
			if _, err := io.WriteString(conn, text[:cut]); err != nil {
				break
			}
			<-time.After(time.Duration(rng.IntN(int(20 * time.Millisecond))))
			text = text[cut:]
		}
		if _, err := io.WriteString(conn, text); err != nil {
			break
		}
		if rng.IntN(2) == 0 {
			<-time.After(time.Duration(rng.IntN(int(90 * time.Millisecond))))
		}
	}
	switch rng.IntN(4) {
	case 0:
		_ = conn.SetLinger(0)
		_ = conn.Close()
	case 1:
		_ = conn.CloseWrite()
	case 2:
		_ = conn.Close()
	}
	<-read
}

// checkQuiet takes the events of the request that is answered, and checks that they are
// durable where the answer says so without naming them.
func (e *edge) checkQuiet(s *storm, a answered, sent <-chan []string) {
	select {
	case ids := <-sent:
		for _, id := range ids {
			if a.status == http.StatusNoContent && !s.isDurable(id) {
				e.t.Errorf("%s is answered with %d and not durable", id, a.status)
			}
		}
	default:
	}
}

// stormOrdinary is a request as the snippet sends it, and its events.
func (e *edge) stormOrdinary(rng *rand.Rand) (raw string, ids []string) {
	var pages []page
	for range 1 + rng.IntN(3) {
		pages = append(pages, newPage(e))
		ids = append(ids, pages[len(pages)-1]["id"].(string))
	}
	return e.rawPost("?"+noResults, "", pages...), ids
}

// stormRequest is a request and its events; nil when it ends early, or its answer is
// read as if it had a body.
func (e *edge) stormRequest(rng *rand.Rand) (raw string, ids []string) {
	var pages []page
	ids = []string{}
	for range 1 + rng.IntN(3)*rng.IntN(10) {
		pages = append(pages, newPage(e))
		ids = append(ids, pages[len(pages)-1]["id"].(string))
	}
	switch rng.IntN(14) {
	case 0:
		return "HEAD " + PathScript + " HTTP/1.1\r\nHost: x\r\n\r\n", nil
	case 1:
		return "OPTIONS " + PathEvents + " HTTP/1.1\r\nHost: x\r\nOrigin: " + testOrigin + "\r\n\r\n", []string{}
	case 2:
		return "GET " + PathPixel + "?site=" + testKey + "&u=" + testOrigin + "/x HTTP/1.0\r\nConnection: keep-alive\r\nX-Forwarded-For: " + testVisitor + "\r\nHost: x\r\n\r\n", []string{}
	case 3:
		return e.rawPost("", "Connection: close\r\n", pages...), ids
	case 4:
		return strings.Replace(e.rawPost("?r=0", "", pages...), "HTTP/1.1", "HTTP/1.0", 1), ids
	case 5:
		whole := e.rawPost("", "", pages...)
		return whole[:rng.IntN(len(whole))], nil
	case 6:
		return "not http\r\n\r\n", []string{}
	case 7:
		return e.rawPost("", "Expect: 100-continue\r\n", pages...), ids
	case 8:
		head, body, _ := strings.Cut(e.rawPost("", "", pages...), "\r\n\r\n")
		head = head[:strings.LastIndex(head, "Content-Length")]
		return fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(body), body), ids
	default:
		return e.rawPost("?r=0"[:4*rng.IntN(2)], "", pages...), ids
	}
}
