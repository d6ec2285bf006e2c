package metiva

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// kafkaClient is a client with a running producer.
func (h *harness) kafkaClient(t *testing.T) (*kafka.Client, *kafka.Producer) {
	t.Helper()
	client, err := kafka.NewClient(kafka.Config{Brokers: h.stack.Addresses().KafkaBrokers}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	producer, err := client.NewProducer(kafka.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = producer.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		_ = client.Close()
	})
	return client, producer
}

// records reads a topic as far as it is.
func (h *harness) records(t *testing.T, client *kafka.Client, topic string, each func(key, value []byte)) {
	t.Helper()
	table := client.NewTable(topic, func(key, value []byte) error {
		each(bytes.Clone(key), bytes.Clone(value))
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = table.Run(ctx) })
	select {
	case <-table.Ready():
	case <-time.After(30 * time.Second):
		t.Errorf("%s could not be read", topic)
	}
	cancel()
	running.Wait()
}

func (h *harness) ledger(t *testing.T) (analytics.Ledger, error) {
	return analytics.NewOperator(h.conn).Ledger(t.Context(), time.Now().Add(-demoPeriod))
}

// testTypes sends one event of every type under a grant, and the same without.
func (h *harness) testTypes(t *testing.T) {
	h.t = t
	site := h.demo.Sites[0]
	client, producer := h.kafkaClient(t)
	h.listProperty(t, client, producer, site.SiteID, "plan")
	material, err := seal.ReadKeyFile(filepath.Join(h.stack.Addresses().KeysDir, seal.KeyFileName(seal.PurposeConsentToken)), seal.PurposeConsentToken)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := consent.NewTokens(material.Secret())
	if err != nil {
		t.Fatal(err)
	}
	token, err := tokens.Issue(site.SiteID, consent.Grant{VisitorID: [16]byte{42}, Sequence: 1, TextVersion: "nl-1", ExpiresAt: time.Now().Add(time.Hour)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	send := func(token string) string {
		var events []map[string]any
		for _, detail := range []map[string]any{
			{"type": "page_view"},
			{"type": "engagement", "visible_ms": 61000, "scroll": 80},
			{"type": "click", "kind": "download", "target": "https://files.example.org/f/jan%40mail.nl/a.pdf?sig=x"},
			{"type": "form", "action": "submit", "form": "contact"},
			{"type": "custom", "name": "calculated", "props": map[string]any{"plan": "Pro", "email": "jan@mail.nl"}},
		} {
			detail["id"], detail["at"], detail["url"] = uuid.Must(uuid.NewV7()).String(), time.Now().UnixMilli(), site.Origin+"/typen"
			events = append(events, detail)
		}
		return h.postEvents(t, map[string]any{"site": site.SiteKey, "sent_at": time.Now().UnixMilli(), "consent": token, "events": events}, site.Origin)
	}
	if got, want := send(""), "accepted"+strings.Repeat(" consent_required", 4); got != want {
		t.Fatalf("without a grant: %q, want %q", got, want)
	}
	// The registration with the property is on its way to the collector.
	want := "click 0 0 download files.example.org /f/:email/a.pdf    {}|custom 0 0      calculated {'plan':'Pro'}|engagement 61000 80       {}|form 0 0    submit contact  {}"
	h.within(60*time.Second, "the details in their columns", func() (bool, error) {
		if got := send(token); got != "accepted"+strings.Repeat(" accepted", 4) {
			return false, fmt.Errorf("with a grant: %q", got)
		}
		var rows []string
		err := h.conn.Each(t.Context(), `SELECT concat(type, ' ', toString(engagement_ms), ' ', toString(scroll_percent), ' ', click_kind, ' ', click_host, ' ', click_path, ' ',
	form_action, ' ', form_id, ' ', custom_name, ' ', toString(custom_properties)) AS row
FROM events WHERE path = '/typen' AND type != 'page_view' AND consent = 'analytics' GROUP BY row ORDER BY row`,
			func(scan func(...any) error) error {
				var row string
				err := scan(&row)
				rows = append(rows, row)
				return err
			})
		got := strings.Join(rows, "|")
		// Events from before the registration have no property.
		got = strings.Replace(got, "|custom 0 0      calculated {}", "", 1)
		if err == nil && got != want {
			err = fmt.Errorf("rows are %q, want %q", got, want)
		}
		return err == nil, err
	})
	var denied uint64
	if err := h.conn.QueryRow(t.Context(), "SELECT count() FROM events WHERE type != 'page_view' AND visitor_id = toFixedString('', 16)").Scan(&denied); err != nil || denied != 0 {
		t.Errorf("%d events of other types have no visitor, %v", denied, err)
	}
}

// listProperty publishes the site's registration once more, with a property of
// custom events.
func (h *harness) listProperty(t *testing.T, client *kafka.Client, producer *kafka.Producer, siteID, property string) {
	t.Helper()
	var rec metivav1.SiteRecord
	h.records(t, client, schemas.TopicControlSites, func(key, value []byte) {
		if string(key) == siteID && len(value) > 0 {
			if err := proto.Unmarshal(value, &rec); err != nil {
				t.Error(err)
			}
		}
	})
	rec.CustomProperties = []string{property}
	value, err := schemas.Encode(nil, &rec)
	if err == nil {
		err = producer.ProduceSync(t.Context(), schemas.TopicControlSites, 0, []byte(siteID), value)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// postEvents sends a batch and returns the outcome, or the reason, of each event.
func (h *harness) postEvents(t *testing.T, batch map[string]any, origin string) string {
	t.Helper()
	body, err := json.Marshal(batch)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.stack.Addresses().CollectorURL+"/v1/events", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	req.Header.Set("Origin", origin)
	req.Header.Set("X-Forwarded-For", "145.221.173.91")
	req.Header.Set("User-Agent", agentChrome) // a library's would be a bot's, which has no visits
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Results []struct{ Outcome, Reason string }
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		t.Fatalf("answered %d %.200q", res.StatusCode, raw)
	}
	var out []string
	for _, r := range answer.Results {
		if r.Reason != "" {
			r.Outcome = r.Reason
		}
		out = append(out, r.Outcome)
	}
	return strings.Join(out, " ")
}

// testReplays sends every collected record once more, marked as a collector does
// that cannot know whether Kafka has the first one.
func (h *harness) testReplays(t *testing.T) {
	h.t = t
	var before analytics.Ledger
	h.within(60*time.Second, "the ledger to settle", func() (ok bool, err error) {
		before, err = h.ledger(t)
		return err == nil && before.Total.Balanced && before.Total.Unreported == 0, err
	})
	client, producer := h.kafkaClient(t)
	type record struct{ key, value []byte }
	var records []record
	h.records(t, client, schemas.TopicEventsCollected, func(key, value []byte) { records = append(records, record{key, value}) })
	acks := make([]*kafka.Ack, 0, len(records))
	for _, r := range records {
		var e metivav1.CollectedEvent
		if err := proto.Unmarshal(r.value, &e); err != nil {
			t.Fatal(err)
		}
		e.Replayed = true
		value, err := schemas.Encode(nil, &e)
		if err != nil {
			t.Fatal(err)
		}
		ack, err := producer.Produce(schemas.TopicEventsCollected, schemas.EventPartition(e.GetCompanyId(), e.GetVisitKey(), schemas.TenantBuckets), r.key, value)
		if err != nil {
			t.Fatal(err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		<-ack.Done()
		if err := ack.Err(); err != nil {
			t.Fatal(err)
		}
	}
	n := uint64(len(records))
	h.within(60*time.Second, "every replay to be accounted for", func() (bool, error) {
		after, err := h.ledger(t)
		if err == nil && after.Total.Replayed < n {
			err = fmt.Errorf("%d of %d", after.Total.Replayed, n)
		}
		return err == nil, err
	})
	after, err := h.ledger(t)
	if err != nil {
		t.Fatal(err)
	}
	before.Total.Enriched, after.Total.Enriched = 0, 0 // which counts copies
	if before.Total.Replayed, after.Total.Replayed = 0, 0; fmt.Sprint(before.Total) != fmt.Sprint(after.Total) {
		t.Errorf("%d replays changed the ledger from %+v to %+v", n, before.Total, after.Total)
	}
	t.Logf("%d records were replayed", n)
	var rows uint64
	if err := h.conn.QueryRow(t.Context(), "SELECT count() FROM events WHERE replayed").Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d replays are events, %v", rows, err)
	}
}
