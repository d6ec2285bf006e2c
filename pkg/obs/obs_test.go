package obs_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/obs"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestAdminTellsReadinessApartFromHealth(t *testing.T) {
	t.Parallel()
	ready := obs.NewReadiness("kafka", "sites")
	admin := obs.NewAdmin(obs.NewRegistry(), ready, slog.New(slog.DiscardHandler))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- admin.Serve(ctx, ln) }()
	base := "http://" + ln.Addr().String()

	// Flags may hold passwords.
	if code, body := get(t, base+"/debug/pprof/cmdline"); code != http.StatusNotFound || strings.Contains(body, "test") {
		t.Errorf("the command line is served: %d %q", code, body)
	}
	if code, _ := get(t, base+"/healthz"); code != http.StatusOK {
		t.Errorf("healthz before ready: %d", code)
	}
	ready.Set("sites", nil)
	code, body := get(t, base+"/readyz")
	if code != http.StatusServiceUnavailable || !strings.Contains(body, "kafka: not yet") || strings.Contains(body, "sites") {
		t.Errorf("readyz with kafka missing: %d %q", code, body)
	}
	ready.Set("kafka", nil)
	if code, body := get(t, base+"/readyz"); code != http.StatusOK {
		t.Errorf("readyz when ready: %d %q", code, body)
	}
	ready.Set("kafka", errors.New("no broker answers"))
	if code, body := get(t, base+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "no broker answers") {
		t.Errorf("readyz after loss: %d %q", code, body)
	}
	if code, body := get(t, base+"/metrics"); code != http.StatusOK || !strings.Contains(body, "go_goroutines") {
		t.Errorf("metrics: %d", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stopping: %v", err)
	}
}
