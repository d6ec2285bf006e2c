package metiva

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
)

func uuidBytes(t *testing.T, text string) [16]byte {
	t.Helper()
	id, err := uuid.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// testContents reads every topic and every table decompressed: files on disk
// hide what is in a compressed block.
func (h *harness) testContents(t *testing.T) {
	h.t = t
	client, err := kafka.NewClient(kafka.Config{Brokers: h.stack.Addresses().KafkaBrokers}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range schemas.Topics() {
		content := h.topic(t, client, topic.Name)
		assertNoVisitor(t, "topic "+topic.Name, content)
		if topic.Name == schemas.TopicEventsCollected && len(content) == 0 {
			t.Error("nothing was read of the collected events")
		}
	}
	for _, table := range []string{"events", "drops", "ledger_edge"} {
		content := h.table(t, table)
		if len(content) == 0 {
			t.Errorf("table %s is empty", table)
		}
		assertNoVisitor(t, "table "+table, content)
	}
}

// topic is every key and value of a topic.
func (h *harness) topic(t *testing.T, client *kafka.Client, name string) []byte {
	t.Helper()
	var content bytes.Buffer
	table := client.NewTable(name, func(key, value []byte) error {
		content.Write(key)
		content.Write(value)
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = table.Run(ctx) })
	select {
	case <-table.Ready():
	case <-ctx.Done():
	}
	cancel()
	running.Wait()
	return content.Bytes()
}

// table is every row of a ClickHouse table in a binary format.
func (h *harness) table(t *testing.T, name string) []byte {
	t.Helper()
	address, err := url.Parse(h.stack.Addresses().ClickHouseURL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	socket := strings.Split(strings.TrimPrefix(address.String(), "http+unix://"), "?")[0]
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	query := url.Values{"query": {"SELECT * FROM metiva." + name + " FORMAT RowBinary"}, "default_format": {"RowBinary"}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://engine/?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("reading table %s: %s %v %.300s", name, res.Status, err, content)
	}
	return content
}

// accepted posts a batch once and reports whether every event was accepted.
func (d *driver) accepted(ctx context.Context, batch wireBatch, origin string) (bool, error) {
	body, err := json.Marshal(batch)
	if err != nil {
		return false, fmt.Errorf("encoding a batch: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.collectorURL+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return false, fmt.Errorf("sending a batch: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", origin)
	req.Header.Set("User-Agent", agentChrome)
	req.Header.Set("X-Forwarded-For", "164.140.12.9")
	res, err := d.client.Do(req)
	if err != nil {
		return false, fmt.Errorf("sending a batch: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	var answer struct {
		Results []struct{ Outcome, Reason string }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return false, fmt.Errorf("reading the collector's answer %s: %w", res.Status, err)
	}
	for _, r := range answer.Results {
		if r.Outcome != "accepted" {
			return false, fmt.Errorf("an event was answered %s (%s)", r.Outcome, r.Reason)
		}
	}
	return len(answer.Results) == len(batch.Events), nil
}
