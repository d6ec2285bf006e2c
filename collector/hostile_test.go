package collector

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// hostile is one connection's worth of bytes, and all that must become of it.
// The rows stand in hostile_json_test.go and hostile_http_test.go.
type hostile struct {
	name string
	send string
	// answer is every answer of the connection, with " | " between them: the
	// status, and then the outcome of each event ("200 accepted dropped:too_old"),
	// the reason of a whole refusal ("400 !malformed") or "image". "none" is a
	// connection that is closed without an answer.
	answer string
	// counted is what the ledger gains, as "tenant/reason=n" or "nobody/reason=n".
	// What it gains by the answer's outcomes, and one for nobody by a refusal,
	// goes without saying.
	counted string
	// kept is the path, referrer and campaign of the event produced last, as
	// "path", "path <- referrer", "path ? source|medium|name"; not looked at when
	// empty.
	kept string
	// network is what the sealed address of that event opens to; not looked at
	// when empty.
	network string
}

func row(name, send, answer string) hostile { return hostile{name: name, send: send, answer: answer} }

func (h hostile) keeps(kept string) hostile    { h.kept = kept; return h }
func (h hostile) from(network string) hostile  { h.network = network; return h }
func (h hostile) counts(ledger string) hostile { h.counted = ledger; return h }

const (
	hostileNow = 1795348830000 // the test clock, in Unix milliseconds
	hostileID  = "019ab0c0-7c00-7000-8000-0000000000aa"
	// personalWord stands in everything of the corpus that is personal and has
	// letters, beside the numbers of personalValues.
	personalWord = "kanarie"
)

// personalValues must not be found in anything the collector writes. The corpus
// must hold each, or looking for it would prove nothing.
func personalValues() []string {
	out := []string{personalWord, "123456782", "NL91ABNA0417164300", "4111111111111111", "0612345678", "145.221.173", "2001:db8:c0fe"}
	return append(out, "eyJhbGciOiJub25lIn0") // a token's beginning
}

// personalBytes are the addresses of the corpus as they would stand in a record.
func personalBytes() [][]byte {
	var out [][]byte
	for _, text := range []string{testVisitor, "2001:db8:c0fe:d00d::1"} {
		out = append(out, netip.MustParseAddr(text).AsSlice())
	}
	return out
}

// httpPost is a well-formed POST /v1/events. A header given as "Name: value"
// replaces the usual ones of that name; a name alone removes them.
func httpPost(body string, headers ...string) string {
	return httpRequest("POST "+PathEvents+" HTTP/1.1", body, headers...)
}

func httpRequest(line, body string, headers ...string) string {
	usual := []string{
		"Host: collector.example.nl", "Origin: " + testOrigin, "Content-Type: text/plain;charset=UTF-8", "X-Forwarded-For: " + testVisitor,
		"User-Agent: Mozilla/5.0 (" + personalWord + ") Chrome/156.0.0.0", "Cookie: session=" + personalWord, "Authorization: Bearer " + personalWord,
	}
	if body != "" {
		usual = append(usual, "Content-Length: "+strconv.Itoa(len(body)))
	}
	var b strings.Builder
	b.WriteString(line + "\r\n")
	for _, known := range usual {
		name, _, _ := strings.Cut(known, ":")
		replaced := false
		for _, h := range headers {
			given, _, _ := strings.Cut(h, ":")
			replaced = replaced || strings.EqualFold(given, name)
		}
		if !replaced {
			b.WriteString(known + "\r\n")
		}
	}
	for _, h := range headers {
		if strings.Contains(h, ":") {
			b.WriteString(h + "\r\n")
		}
	}
	return b.String() + "\r\n" + body
}

// batchOf is the body of a batch sent now; events are JSON texts.
func batchOf(events ...string) string {
	return `{"site":"` + testKey + `","sent_at":` + strconv.Itoa(hostileNow) + `,"events":[` + strings.Join(events, ",") + `]}`
}

// eventOf is a good event with some members replaced: name and JSON text in
// turn. An empty text leaves the member out; an unknown name is added.
func eventOf(replaced ...string) string {
	members := [][2]string{
		{"id", strconv.Quote(hostileID)}, {"type", `"page_view"`}, {"at", strconv.Itoa(hostileNow)}, {"url", strconv.Quote(testOrigin + "/a")},
	}
next:
	for i := 0; i < len(replaced); i += 2 {
		for j := range members {
			if members[j][0] == replaced[i] {
				members[j][1] = replaced[i+1]
				continue next
			}
		}
		members = append(members, [2]string{replaced[i], replaced[i+1]})
	}
	var texts []string
	for _, m := range members {
		if m[1] != "" {
			texts = append(texts, `"`+m[0]+`":`+m[1])
		}
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// exchange sends one row on a connection of its own and reads until its end,
// which the client asks for by ending its own side unless it keeps it open.
func (e *edge) exchange(send string, keepOpen bool) (answer string, wire []byte, err error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return "", nil, err
	}
	// The collector may refuse before the end: then the rest is not taken.
	if _, err := io.WriteString(conn, send); err == nil && !keepOpen {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	wire, err = io.ReadAll(conn)
	if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // the connection's own error, not a wrapped one
		return "", wire, fmt.Errorf("the connection stays open after %.200q", wire)
	}
	answer, err = readAnswers(send, wire)
	return answer, wire, err
}

// readAnswers writes down what came back as a row's answer does.
func readAnswers(send string, wire []byte) (string, error) {
	method, _, _ := strings.Cut(send, " ")
	r := bufio.NewReader(bytes.NewReader(wire))
	var out []string
	for {
		if _, err := r.Peek(1); err != nil {
			break
		}
		res, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return "", fmt.Errorf("reading %.200q: %w", wire, err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			return "", fmt.Errorf("reading %.200q: %w", wire, err)
		}
		text := strconv.Itoa(res.StatusCode)
		var a answered
		switch kind := res.Header.Get("Content-Type"); {
		case kind == "image/gif" && string(body) == pixelGIF:
			text += " image"
		case kind == "application/json":
			if err := json.Unmarshal(body, &a); err != nil {
				return "", fmt.Errorf("reading %.200q: %w", wire, err)
			}
			if a.Reason != "" {
				text += " !" + a.Reason
			}
			text = strings.TrimSpace(text + " " + a.outcomes())
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return "none", nil
	}
	return strings.Join(out, " | "), nil
}

// ledger is what the row adds to the ledger.
func (h hostile) ledger(t *testing.T) map[string]uint64 {
	t.Helper()
	out := map[string]uint64{}
	if h.counted != "" {
		for _, field := range strings.Fields(h.counted) {
			key, count, _ := strings.Cut(field, "=")
			n, err := strconv.ParseUint(count, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", h.name, err)
			}
			who, reason, _ := strings.Cut(key, "/")
			if who == "tenant" {
				reason = testCompany + "/" + reason
			} else {
				reason = "/" + reason
			}
			out[reason] += n
		}
		return out
	}
	for _, word := range strings.Fields(h.answer) {
		_, reason, isEvent := strings.Cut(word, ":")
		switch {
		case word == "accepted":
			out[testCompany+"/none"]++
		case isEvent:
			out[testCompany+"/"+reason]++
		case word[0] == '!':
			out["/"+word[1:]]++
		}
	}
	return out
}

// counts is the ledger as it stands now.
func (l *ledger) counts() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]uint64{}
	for key, e := range l.entries {
		out[key.companyID+"/"+schemas.Label(key.reason)] += e.count
	}
	return out
}

func addCounts(to, from map[string]uint64) {
	for key, n := range from {
		to[key] += n
	}
}

// keptOf writes down the last event produced as a row does.
func keptOf(ev *metivav1.CollectedEvent) string {
	out := ev.GetPath()
	if host := ev.GetReferrerHost(); host != "" {
		out += " <- " + host
	}
	if c := ev.GetCampaign(); c != nil {
		out += " ? " + c.GetSource() + "|" + c.GetMedium() + "|" + c.GetName()
	}
	return out
}

// roomyLimits are for a corpus that comes from one network at one moment.
func roomyLimits(c *Config) {
	c.NetworkEventsPerSecond, c.SiteEventsPerSecond, c.TenantEventsPerMinute = 100_000, 100_000, 10_000_000
}

// TestHostileRequests sends every row, first one by one and then all at once,
// and looks for what they may have left behind. It is not parallel: it counts
// goroutines and memory.
func TestHostileRequests(t *testing.T) {
	rows := hostileRows()
	if len(rows) < 200 {
		t.Errorf("the corpus holds %d requests, want 200", len(rows))
	}
	goroutines := runtime.NumGoroutine()
	e := startEdge(t, roomyLimits)
	if now := e.clock.Now().UnixMilli(); now != hostileNow {
		t.Fatalf("the corpus stands at %d, the clock at %d", hostileNow, now)
	}
	if answer, _, err := e.exchange(httpPost(batchOf(eventOf())), false); answer != "200 accepted" {
		t.Fatalf("a good request was answered %q, %v", answer, err)
	}
	heap := heapInUse()
	want := map[string]uint64{testCompany + "/none": 1}
	for _, h := range rows {
		t.Run(h.name, func(t *testing.T) { e.checkRow(t, h) })
		addCounts(want, h.ledger(t))
	}
	e.sendAtOnce(t, rows)
	for _, h := range rows {
		addCounts(want, h.ledger(t))
	}
	if grown := int64(heapInUse()) - int64(heap); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	e.checkAftermath(t, want, 2*len(rows))
	e.checkSecrets(t, rows)
	waitGoroutines(t, goroutines)
	t.Logf("%d hostile requests, each sent twice", len(rows))
}

// checkRow sends one row and compares everything it says.
func (e *edge) checkRow(t *testing.T, h hostile) {
	t.Helper()
	before, produced := e.ledgerCounts(), len(e.log.of(schemas.TopicEventsCollected))
	answer, wire, err := e.exchange(h.send, false)
	if err != nil || answer != h.answer {
		t.Errorf("answered %.300q, %v; want %q", answer, err, h.answer)
	}
	for _, personal := range personalValues() {
		if bytes.Contains(wire, []byte(personal)) {
			t.Errorf("the answer quotes %q", personal)
		}
	}
	gained := e.ledgerCounts()
	for key, n := range before {
		if gained[key] -= n; gained[key] == 0 {
			delete(gained, key)
		}
	}
	wantLedger(t, gained, h.ledger(t))
	events := e.log.events(t)
	if n := uint64(len(events) - produced); n != h.ledger(t)[testCompany+"/none"] {
		t.Errorf("%d events were produced", n)
	}
	if len(events) == produced {
		return
	}
	last := events[len(events)-1]
	if kept := keptOf(last); h.kept != "" && kept != h.kept {
		t.Errorf("kept %q, want %q", kept, h.kept)
	}
	if network, _ := e.open(last); h.network != "" && network != h.network {
		t.Errorf("sealed %s, want %s", network, h.network)
	}
}

func (e *edge) ledgerCounts() map[string]uint64 { return e.ledger.counts() }

// sendAtOnce sends all rows from several clients in any order: a request must
// not see anything of the one whose memory it got.
func (e *edge) sendAtOnce(t *testing.T, rows []hostile) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	order := rand.New(rand.NewPCG(seed, 0)).Perm(len(rows))
	next := make(chan hostile)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for h := range next {
				if answer, _, err := e.exchange(h.send, false); err != nil || answer != h.answer {
					t.Errorf("%s, among others: answered %.300q, %v; want %q", h.name, answer, err, h.answer)
				}
			}
		})
	}
	for _, i := range order {
		next <- rows[i]
	}
	close(next)
	wg.Wait()
}

// checkAftermath stops the collector and compares its three accounts: ledger,
// metrics and records.
func (e *edge) checkAftermath(t *testing.T, want map[string]uint64, requests int) {
	t.Helper()
	published := e.stoppedLedger()
	wantLedger(t, published, want)
	var received, accepted uint64
	for key, n := range published {
		if received += n; key == testCompany+"/none" {
			accepted = n
		}
	}
	events := e.log.events(t)
	if uint64(len(events)) != accepted || accepted == 0 || accepted == received {
		t.Errorf("%d events were produced of %d accepted and %d received", len(events), accepted, received)
	}
	for _, ev := range events {
		if ev.GetCompanyId() != testCompany || ev.GetSiteId() != testSite || ev.GetConsent() != metivav1.ConsentState_CONSENT_STATE_DENIED || len(ev.GetVisitorId()) != 0 {
			t.Errorf("a claim was believed: %s %s %v %x", ev.GetCompanyId(), ev.GetSiteId(), ev.GetConsent(), ev.GetVisitorId())
		}
	}
	sums := e.metricSums(t)
	if sums["metiva_collector_panics_total"] != 0 {
		t.Errorf("%v panics", sums["metiva_collector_panics_total"])
	}
	if n := sums["metiva_collector_events_total"]; n != float64(received) {
		t.Errorf("the metrics count %v events, the ledger %d", n, received)
	}
	if n := sums["metiva_collector_requests_total"]; n < float64(requests)/2 {
		t.Errorf("the metrics count %v requests", n)
	}
}

// metricSums adds up the values of each metric.
func (e *edge) metricSums(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			out[family.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}

// checkSecrets looks for personal values in everything the collector wrote.
func (e *edge) checkSecrets(t *testing.T, rows []hostile) {
	t.Helper()
	families, err := e.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	written := map[string][]byte{"log": []byte(e.logged.String())}
	for _, family := range families {
		written["metrics"] = append(written["metrics"], family.String()...)
	}
	for _, r := range e.log.records {
		written[r.topic] = append(append(written[r.topic], r.key...), r.value...)
	}
	var sent strings.Builder
	for _, h := range rows {
		sent.WriteString(h.send)
	}
	var needles [][]byte
	for _, personal := range personalValues() {
		if !strings.Contains(sent.String(), personal) {
			t.Errorf("the corpus does not hold %q", personal)
		}
		needles = append(needles, []byte(personal))
	}
	for place, content := range written {
		content = bytes.ToLower(content)
		for _, needle := range needles {
			if bytes.Contains(content, bytes.ToLower(needle)) {
				t.Errorf("%s holds %q", place, needle)
			}
		}
	}
	for _, topic := range []string{schemas.TopicEventsCollected, schemas.TopicLedgerEdge} {
		for _, needle := range personalBytes() {
			if bytes.Contains(written[topic], needle) {
				t.Errorf("%s holds the address %x", topic, needle)
			}
		}
	}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the second empties the pools
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// waitGoroutines waits until no more run than before, but for the two fasthttp
// keeps (main_test.go).
func waitGoroutines(t *testing.T, before int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		now := runtime.NumGoroutine()
		if now <= before+2 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines run, %d did before:\n%s", now, before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// TestHostileSlowness has a collector that waits a little only, and clients that
// never end what they began.
func TestHostileSlowness(t *testing.T) {
	t.Parallel()
	e := startEdge(t, func(c *Config) { roomyLimits(c); c.ReadTimeout = 150 * time.Millisecond })
	want := map[string]uint64{}
	var wg sync.WaitGroup
	rows := slowRows()
	for _, h := range rows {
		addCounts(want, h.ledger(t))
		wg.Go(func() {
			if answer, _, err := e.exchange(h.send, true); err != nil || answer != h.answer {
				t.Errorf("%s: answered %q, %v; want %q", h.name, answer, err, h.answer)
			}
		})
	}
	wg.Wait()
	wantLedger(t, e.stoppedLedger(), want)
	if log := e.logged.String(); strings.Contains(log, personalWord) {
		t.Errorf("the log quotes a request: %s", log)
	}
}
