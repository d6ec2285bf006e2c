package metiva

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metiva-io/metiva/cmd/metiva/demosite"
	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/collector/snippet/chromium"
)

// TestBrowse: the demo's visit by a real browser ends when the collector has answered
// for the page view, and not before.
func TestBrowse(t *testing.T) {
	t.Parallel()
	path, err := chromium.Find(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	var answered atomic.Bool
	mux := http.NewServeMux()
	for name, script := range map[string][]byte{"s.js": snippet.Script(), "cmp.js": snippet.Adapters(), "banner.js": snippet.Banner()} {
		mux.HandleFunc("GET /v1/"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			w.Header().Set("Access-Control-Allow-Origin", "*")
			_, _ = w.Write(script)
		})
	}
	mux.HandleFunc("POST /v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		answered.Store(true)
		w.WriteHeader(http.StatusNoContent)
	})
	collector := httptest.NewServer(mux)
	defer collector.Close()
	cfg := demosite.Config{CollectorURL: collector.URL, SiteKey: "pk_aaaaaaaaaaaaaaaaaaaaaaaa"}
	web := httptest.NewUnstartedServer(nil)
	cfg.Origin = "http://" + web.Listener.Addr().String()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = demosite.Handler(cfg)
	web.Start()
	defer web.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := browse(ctx, path, web.URL+"/"); err != nil {
		t.Fatal(err)
	}
	if !answered.Load() {
		t.Error("it ended before the collector had the page view")
	}
}
