package metiva

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// deadCanary is in everything a command must not print.
const deadCanary = "canary7f3a"

// graveyard is a broker with dead letters.
type graveyard struct {
	t      *testing.T
	addrs  []string
	client *kafka.Client
	sender *kafka.Producer
}

func newGraveyard(t *testing.T) *graveyard {
	t.Helper()
	broker := kafkatest.Start(t)
	for _, topic := range schemas.Topics() {
		if !topic.Compacted() {
			broker.CreateTopic(topic.Name, topic.Partitions)
		}
	}
	g := &graveyard{t: t, addrs: broker.Addrs()}
	var err error
	if g.client, err = kafka.NewClient(kafka.Config{Brokers: g.addrs, ClientID: "test"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.client.Close() })
	if g.sender, err = g.client.NewProducer(kafka.ProducerConfig{Linger: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.sender.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return g
}

// bury puts a letter on partition 1 of events.dead.
func (g *graveyard) bury(value []byte, reason, stage, topic string, partition int, at time.Time) {
	g.t.Helper()
	header := func(key, value string) kafka.Header { return kafka.Header{Key: key, Value: []byte(value)} }
	headers := []kafka.Header{
		header(schemas.HeaderDeadReason, reason), header(schemas.HeaderDeadStage, stage), header(schemas.HeaderDeadTopic, topic),
		header(schemas.HeaderDeadPartition, strconv.Itoa(partition)), header(schemas.HeaderDeadOffset, "9"),
		header(schemas.HeaderDeadTimeMs, strconv.FormatInt(at.UnixMilli(), 10)),
	}
	if topic == "" {
		headers = nil
	}
	if err := g.sender.ProduceSync(g.t.Context(), schemas.TopicEventsDead, 1, []byte(deadCanary+"-key"), value, headers...); err != nil {
		g.t.Fatal(err)
	}
}

// run runs a command and returns its lines.
func (g *graveyard) run(args ...string) ([]map[string]any, error) {
	g.t.Helper()
	var out bytes.Buffer
	err := Run(g.t.Context(), app.System{Args: append(append([]string{"dead"}, args...), "--kafka-brokers", strings.Join(g.addrs, ",")), Stdout: &out, Stderr: io.Discard})
	if strings.Contains(out.String(), deadCanary) || err != nil && strings.Contains(err.Error(), deadCanary) {
		g.t.Errorf("%v prints what a letter holds: %s %v", args, out.String(), err)
	}
	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		var decoded map[string]any
		if err := json.Unmarshal([]byte(line), &decoded); err != nil {
			g.t.Fatalf("%v prints %q", args, line)
		}
		lines = append(lines, decoded)
	}
	return lines, err
}

func deadEvent(t *testing.T) []byte {
	t.Helper()
	value, err := schemas.Encode(nil, &metivav1.CollectedEvent{
		EventId: []byte(deadCanary + "-event"), CompanyId: "cmp_a", SiteId: "sit_a", BrandId: deadCanary + " is no id", Type: metivav1.EventType_EVENT_TYPE_PAGE_VIEW,
		VisitKey: []byte(deadCanary + "-visit"), VisitorId: []byte(deadCanary), Path: "/" + deadCanary, ReferrerHost: deadCanary + ".example", Host: deadCanary,
		SealedAddress: []byte(deadCanary + deadCanary), WriterId: "collector-1", ReceivedAtMs: 1_790_000_000_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestDeadLetters lists, shows and replays letters as an operator does.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	g := newGraveyard(t)
	now := time.Now()
	event := deadEvent(t)
	g.bury(event, "unknown_key", "enrich", schemas.TopicEventsCollected, 5, now.Add(-time.Hour)) // 1/0
	g.bury([]byte(deadCanary), "invalid_record", "enrich", schemas.TopicEventsCollected, 6, now) // 1/1
	g.bury(nil, "invalid_record", "enrich", schemas.TopicEventsCollected, 6, now)                // 1/2
	g.bury([]byte(deadCanary), "", "", "", 0, now)                                               // 1/3
	g.bury([]byte(deadCanary), "rejected_row", "sink", schemas.TopicEventsEnriched, 3, now)      // 1/4
	g.bury(event, "unknown_key", "enrich", schemas.TopicEventsCollected, 5, now)                 // 1/5, died again
	g.bury([]byte("x"), "internal", "enrich", schemas.TopicEventsCollected, 4000, now)           // 1/6
	g.bury([]byte("x"), deadCanary, deadCanary, deadCanary, 1, now)                              // 1/7
	g.t.Run("list", g.lists)
	g.t.Run("show", g.shows)
	g.t.Run("replay", func(t *testing.T) { g.replays(t, event) })
}

func (g *graveyard) lists(t *testing.T) {
	for args, want := range map[string][]string{
		"":                                     {"1/0", "1/1", "1/2", "1/3", "1/4", "1/5", "1/6", "1/7"},
		"--limit 2":                            {"1/0", "1/1"},
		"--reason unknown_key":                 {"1/0", "1/5"},
		"--reason unknown_key --from 30m":      {"1/5"},
		"--to 30m":                             {"1/0"},
		"--stage sink":                         {"1/4"},
		"--topic events.enriched":              {"1/4"},
		"--reason invalid_record --stage sink": {},
	} {
		lines, err := g.run(append([]string{"list"}, strings.Fields(args)...)...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range lines {
			got = append(got, l["letter"].(string))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("list %s: %v, want %v", args, got, want)
		}
	}
	for _, args := range []string{"list --reason nonsense", "list --stage 3", "list --from yesterday", "list --limit 0", "replay", "replay --letter x", "show 1"} {
		if _, err := g.run(strings.Fields(args)...); !errors.Is(err, app.ErrConfiguration) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func (g *graveyard) shows(t *testing.T) {
	lines, err := g.run("show", "1/0")
	if err != nil || len(lines) != 1 {
		t.Fatal(lines, err)
	}
	got := lines[0]
	envelope, _ := got["envelope"].(map[string]any)
	if got["reason"] != "unknown_key" || got["source_partition"] != 5.0 || got["replayable"] != "yes" ||
		envelope["company_id"] != "cmp_a" || envelope["type"] != "page_view" || envelope["sealed_address_bytes"] != 20.0 || envelope["visitor_id_bytes"] != 10.0 {
		t.Errorf("got %v", got)
	}
	if lines, err = g.run("show", "1/1"); err != nil || lines[0]["envelope"] != nil || lines[0]["value_bytes"] != 10.0 {
		t.Errorf("got %v, %v", lines, err)
	}
	for _, letter := range []string{"1/99", "1/8", "2/0", "4000/0"} {
		if _, err = g.run("show", letter); !errors.Is(err, errNoLetter) {
			t.Errorf("%s: %v", letter, err)
		}
	}
}

func (g *graveyard) replays(t *testing.T, event []byte) {
	last := func(lines []map[string]any) map[string]any { return lines[len(lines)-1] }
	lines, err := g.run("replay", "--reason", "unknown_key", "--dry-run")
	if err != nil || last(lines)["replayed"] != 1.0 || last(lines)["repeated"] != 1.0 || last(lines)["dry_run"] != true || len(g.collected()) != 0 {
		t.Fatalf("a dry run: %v, %v", lines, err)
	}
	lines, err = g.run("replay", "--reason", "unknown_key")
	if err != nil || last(lines)["matched"] != 2.0 || last(lines)["replayed"] != 1.0 {
		t.Fatalf("got %v, %v", lines, err)
	}
	if last(lines)["more"] != false {
		t.Errorf("all were meant: %v", lines)
	}
	if lines, err = g.run("replay", "--reason", "unknown_key", "--limit", "1", "--dry-run"); err != nil || last(lines)["matched"] != 1.0 || last(lines)["more"] != true {
		t.Errorf("beyond the limit: %v, %v", lines, err)
	}
	records := g.collected()
	if len(records) != 1 || records[0].Partition != 5 || !bytes.Equal(records[0].Value, putBack(schemas.TopicEventsCollected, event)) || !isMarked(records[0].Value) || string(records[0].Key) != deadCanary+"-key" {
		t.Errorf("replayed %d records", len(records))
	}
	lines, err = g.run("replay", "--reason", "invalid_record")
	if !errors.Is(err, errUnreplayed) || last(lines)["replayed"] != 1.0 || last(lines)["without_value"] != 1.0 || !strings.Contains(lines[0]["replayable"].(string), "not kept") {
		t.Errorf("got %v, %v", lines, err)
	}
	for letter, want := range map[string]string{"1/3": "without_source", "1/7": "without_source", "1/6": "without_partition"} {
		if lines, err = g.run("replay", "--letter", letter); !errors.Is(err, errUnreplayed) || last(lines)[want] != 1.0 {
			t.Errorf("%s: %v, %v", letter, lines, err)
		}
	}
	if _, err = g.run("replay", "--letter", "3/0"); !errors.Is(err, errNoLetter) {
		t.Errorf("got %v", err)
	}
	if n := len(g.collected()); n != 2 {
		t.Errorf("%d records were replayed in all", n)
	}
}

// isMarked reports whether a collected event says that it is a copy.
func isMarked(value []byte) bool {
	e := new(metivav1.CollectedEvent)
	return proto.Unmarshal(value, e) == nil && e.GetReplayed() && string(e.GetEventId()) == deadCanary+"-event"
}

// collected is what is on events.collected.
func (g *graveyard) collected() []kafka.Record {
	g.t.Helper()
	var out []kafka.Record
	if err := g.client.Scan(g.t.Context(), schemas.TopicEventsCollected, func(r *kafka.Record) error {
		out = append(out, *r)
		return nil
	}); err != nil {
		g.t.Fatal(err)
	}
	return out
}
