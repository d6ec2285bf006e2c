package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// wire is the body of a request as a reader of JSON sees it.
type wire struct {
	Site    string `json:"site"`
	SentAt  int64  `json:"sent_at"`
	Consent string `json:"consent"`
	Events  []struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		At       int64  `json:"at"`
		URL      string `json:"url"`
		Referrer string `json:"referrer"`
	} `json:"events"`
}

// TestRequestsAreFresh sends nothing: it reads what would be sent twice.
func TestRequestsAreFresh(t *testing.T) {
	t.Parallel()
	v := visitors{host: "127.0.0.1:1", siteKey: siteKey, tokens: []string{"een", "twee"}}
	seen, networks, granted := map[string]bool{}, map[string]bool{}, 0
	ids, now := newIDSource(), time.Now()
	for n := range 200 {
		for _, events := range []int{1, batchEvents} {
			r := v.of(n, events)
			for again := range 2 {
				at := now.Add(time.Duration(again) * time.Second)
				r.freshen(at, ids)
				head, body, _ := bytes.Cut(r.raw, []byte("\r\n\r\n"))
				var w wire
				if err := json.Unmarshal(body, &w); err != nil {
					t.Fatalf("%v in %s", err, body)
				}
				if w.Site != siteKey || w.SentAt != at.UnixMilli() || len(w.Events) != events {
					t.Fatalf("not what was asked for: %s", body)
				}
				if w.Consent != "" {
					granted++
				}
				for _, e := range w.Events {
					id, err := uuid.Parse(e.ID)
					if err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 || seen[e.ID] {
						t.Fatalf("the event id %q is used, or is none (%v)", e.ID, err)
					}
					if sec, _ := id.Time().UnixTime(); sec != at.Unix() {
						t.Errorf("the event id %q is of another time", e.ID)
					}
					seen[e.ID] = true
					if age := w.SentAt - e.At; age < 0 || age > batchEvents*pageEveryMs || !strings.HasPrefix(e.URL, origin+"/") {
						t.Errorf("a page view that makes no sense: %+v", e)
					}
				}
				_, address, _ := strings.Cut(string(head), "X-Forwarded-For: ")
				networks[address] = true
			}
		}
	}
	if len(networks) != 200 {
		t.Errorf("200 visitors come from %d networks", len(networks))
	}
	if granted != 400 {
		t.Errorf("%d of 800 requests carry a token", granted)
	}
}

func TestReadAnswer(t *testing.T) {
	t.Parallel()
	const next = "HTTP/1.1 204 No Content\r\n\r\n"
	for name, c := range map[string]struct {
		answer string
		status int
		err    error
	}{
		"no body":   {next, 204, nil},
		"body":      {"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nX: y\r\n\r\nabc", 200, nil},
		"refusal":   {"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", 503, nil},
		"chunked":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, errAnswer},
		"negative":  {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, errAnswer},
		"not HTTP":  {"SSH-2.0-OpenSSH_9.2p1\r\n\r\n", 0, errAnswer},
		"no status": {"HTTP/1.1 abc\r\n\r\n", 0, errAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := bufio.NewReader(strings.NewReader(c.answer + next))
			status, err := readAnswer(r)
			if status != c.status || !errors.Is(err, c.err) {
				t.Fatalf("got %d, %v", status, err)
			}
			if err != nil {
				return
			}
			if status, err = readAnswer(r); status != 204 || err != nil {
				t.Errorf("the answer after it: %d, %v", status, err)
			}
		})
	}
	if _, err := readAnswer(bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"))); !errors.Is(err, io.EOF) {
		t.Errorf("a cut answer: %v", err)
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	// This process works until its clock has moved; the clock of none is not read.
	began, err := cpuOf(os.Getpid())
	for now := began; err == nil && now <= began; {
		now, err = cpuOf(os.Getpid())
	}
	if err != nil || began <= 0 {
		t.Errorf("got %s, %v", began, err)
	}
	if got, err := cpuOf(1 << 22); err == nil {
		t.Errorf("the clock of no process is %s", got)
	}
	const text = "# HELP a_total a\n" + `a_total{x="1"} 3` + "\na_total_more 9\na_total 1.5e+06\n"
	if v, err := findMetric(strings.NewReader(text), "a_total"); v != 1.5e6 || err != nil {
		t.Errorf("got %v, %v", v, err)
	}
	if _, err := findMetric(strings.NewReader(text), "a"); err == nil {
		t.Error("a metric that is not there is found")
	}
}

// TestReport takes made-up samples with one wild round.
func TestReport(t *testing.T) {
	t.Parallel()
	r := &runner{sent: 7, accepted: 7, samples: map[kind][]sample{}}
	add := func(server string, events int, open bool, cpuUS ...float64) {
		for _, us := range cpuUS {
			k := kind{server, events, open}
			r.samples[k] = append(r.samples[k], sample{requestsPerSecond: 1000, cpuSeconds: us / 1e6, mallocs: 20, p50: time.Millisecond, p99: 9 * time.Millisecond})
		}
	}
	add(serverBare, 1, false, 10, 11, 100)
	add(serverCollector, 1, false, 20, 33, 200)
	add(serverSpool, 1, false, 22, 35, 210)
	add(serverBare, batchEvents, false, 10, 10, 10)
	add(serverCollector, batchEvents, false, 66, 66, 66)
	add(serverSpool, batchEvents, false, 70, 70, 70)
	add(serverBare, 1, true, 30, 30, 30)
	add(serverCollector, 1, true, 60, 60, 60)
	add(serverSpool, 1, true, 63, 63, 63)
	var out bytes.Buffer
	if err := r.report().Write(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	const want = `{"cpu_ratio_vs_bare":2,"events_per_cpu_second":30303,"allocs_per_event":20,"p99_ms_at_half_load":9}`
	if got := lines[len(lines)-1]; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(lines) != 12 || !strings.Contains(out.String(), "costs 0.20 of a single one; 7 of 7") {
		t.Errorf("the table is\n%s", out.String())
	}
}

func TestConfigIsBounded(t *testing.T) {
	t.Parallel()
	good := Config{BinDir: ".", Rounds: 3, Measure: 2 * time.Second, Connections: 512, Progress: io.Discard, Log: slog.New(slog.DiscardHandler)}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no binaries":          func(c *Config) { c.BinDir = "" },
		"no rounds":            func(c *Config) { c.Rounds = 0 },
		"too short":            func(c *Config) { c.Measure = time.Millisecond },
		"too long":             func(c *Config) { c.Measure = time.Minute },
		"no connections":       func(c *Config) { c.Connections = 0 },
		"too many connections": func(c *Config) { c.Connections = 100_000 },
	} {
		c := good
		if change(&c); c.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
