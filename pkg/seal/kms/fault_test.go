package kms_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/seal/kms"
	"github.com/metiva-io/metiva/pkg/seal/kms/kmstest"
)

// say answers with a status and words of the engine.
func say(status int, message string) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		kmstest.Fail(w, status, message)
		return true
	}
}

// send answers with a status and a body that is not the engine's.
func send(status int, body string) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// timeOver is a context whose deadline is when the test says.
type timeOver struct {
	context.Context
	done chan struct{}
}

func (c timeOver) Done() <-chan struct{} { return c.done }

func (c timeOver) Err() error {
	select {
	case <-c.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestWhatTheKMSAnswersIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault func(int, http.ResponseWriter, *http.Request) bool
		key   string
		want  error
		words string
		once  bool
	}{
		"no right":         {say(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n"), "metiva", kms.ErrDenied, "403 (1 error occurred: * permission denied)", true},
		"no token":         {say(http.StatusUnauthorized, "missing client token"), "metiva", kms.ErrDenied, "missing client token", true},
		"no mount":         {say(http.StatusNotFound, "no handler for route"), "metiva", kms.ErrNotFound, "no handler", true},
		"no key":           {nil, "absent", kms.ErrNotFound, "encryption key not found", true},
		"not this key's":   {say(http.StatusBadRequest, "cipher: message authentication failed"), "metiva", kms.ErrRefused, "authentication failed", true},
		"no such page":     {send(http.StatusOK, "<html>welcome</html>"), "metiva", kms.ErrAnswer, "", true},
		"nothing":          {send(http.StatusNoContent, ""), "metiva", kms.ErrAnswer, "", true},
		"no plaintext":     {send(http.StatusOK, `{"data":{}}`), "metiva", kms.ErrAnswer, "", true},
		"not base64":       {send(http.StatusOK, `{"data":{"plaintext":"!"}}`), "metiva", kms.ErrAnswer, "", true},
		"not a data key":   {send(http.StatusOK, `{"data":{"plaintext":"AAAA"}}`), "metiva", kms.ErrRefused, "", true},
		"gone":             {send(http.StatusGone, "gone"), "metiva", kms.ErrAnswer, "410", true},
		"a page":           {send(http.StatusForbidden, "<html>forbidden</html>"), "metiva", kms.ErrDenied, "in no words of an engine", true},
		"long words":       {say(http.StatusForbidden, strings.Repeat("é\n", 5000)), "metiva", kms.ErrDenied, "…", true},
		"sealed":           {say(http.StatusServiceUnavailable, "Vault is sealed"), "metiva", kms.ErrUnavailable, "Vault is sealed", false},
		"internal":         {say(http.StatusInternalServerError, "internal error"), "metiva", kms.ErrUnavailable, "500", false},
		"rate limit":       {say(http.StatusTooManyRequests, "request path \"transit\": rate limit quota exceeded"), "metiva", kms.ErrUnavailable, "quota", false},
		"standby behind":   {say(http.StatusPreconditionFailed, "required index state not present"), "metiva", kms.ErrUnavailable, "412", false},
		"endless":          {send(http.StatusOK, strings.Repeat(" ", 1<<20)), "metiva", kms.ErrUnavailable, "longer than", false},
		"cut connection":   {func(int, http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }, "metiva", kms.ErrUnavailable, "", false},
		"never":            {func(_ int, _ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }, "metiva", kms.ErrUnavailable, "deadline", false},
		"redirect to http": {redirect("http://127.0.0.1:1/"), "metiva", kms.ErrAnswer, "downgrade", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := kmstest.Start(t)
			cfg := config(srv)
			k, _ := open(t, cfg)
			m, raw := plain(t, seal.PurposeConsentToken)
			closed, err := m.Envelop(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			// The time is over when the second request comes, however slow the machine is.
			cfg.URI, cfg.Timeout, cfg.TryTimeout = srv.URI(c.key), time.Minute, time.Minute
			if name == "never" {
				cfg.TryTimeout = 100 * time.Millisecond
			}
			k, out := open(t, cfg)
			over := timeOver{t.Context(), make(chan struct{})}
			srv.Fault(func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 2 {
					close(over.done)
				}
				return c.fault != nil && c.fault(n, w, r)
			})
			_, err = closed.Open(over, k)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			said := err.Error() + out.String()
			if !strings.Contains(said, c.words) || strings.ContainsAny(err.Error(), "\n\t") || len(err.Error()) > 600 {
				t.Errorf("got %q, want %q on one short line", err, c.words)
			}
			if strings.Contains(said, kmstest.Token) || strings.Contains(said, string(raw)) {
				t.Errorf("a secret is told: %s", said)
			}
			if n := len(srv.Requests()); (n == 1) != c.once {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func redirect(to string) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		return true
	}
}

func TestAKMSThatComesBackIsWaitedFor(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	k, out := open(t, config(srv))
	m, _ := plain(t, seal.PurposeConsentToken)
	closed, err := m.Envelop(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	srv.Fault(func(n int, w http.ResponseWriter, r *http.Request) bool {
		return n <= 3 && say(http.StatusServiceUnavailable, "Vault is sealed")(n, w, r)
	})
	if _, err := closed.Open(t.Context(), k); err != nil || len(srv.Requests()) != 4 {
		t.Errorf("%v after %d requests", err, len(srv.Requests()))
	}
	if n := strings.Count(out.String(), "trying again"); n != 3 {
		t.Errorf("%d waits in the log: %s", n, out)
	}
}

func TestAKMSThatIsAwayIsToldInTime(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := config(srv)
	cfg.URI, cfg.Timeout = "hcvault://"+away+"/transit/keys/metiva", 200*time.Millisecond
	k, _ := open(t, cfg)
	m, _ := plain(t, seal.PurposeConsentToken)
	begun := time.Now()
	if _, err := m.Envelop(t.Context(), k); !errors.Is(err, kms.ErrUnavailable) || !strings.Contains(err.Error(), "tries in 200ms") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	// A stop is not waited for.
	cfg.Timeout = time.Hour
	k, _ = open(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := m.Envelop(ctx, k); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAStopEndsARequest(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	cfg := config(srv)
	cfg.Timeout, cfg.TryTimeout = time.Hour, time.Hour
	k, _ := open(t, cfg)
	m, _ := plain(t, seal.PurposeConsentToken)
	ctx, cancel := context.WithCancel(t.Context())
	srv.Fault(func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	})
	if _, err := m.Envelop(ctx, k); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAnotherServerIsNotAsked(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	m, _ := plain(t, seal.PurposeConsentToken)
	foreign := filepath.Join(t.TempDir(), "ca.pem")
	other := httptest.NewUnstartedServer(http.NotFoundHandler())
	other.Config.ErrorLog = log.New(io.Discard, "", 0)
	other.Start()
	t.Cleanup(other.Close)
	cert := selfSigned(t)
	if err := os.WriteFile(foreign, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(srv.Host)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*kms.Config){
		"another authority": func(c *kms.Config) { c.CAFile = foreign },
		"another name":      func(c *kms.Config) { c.URI = "hcvault://localhost:" + port + "/transit/keys/metiva" },
		"no TLS":            func(c *kms.Config) { c.URI = "hcvault://" + other.Listener.Addr().String() + "/transit/keys/metiva" },
	} {
		cfg := config(srv)
		change(&cfg)
		k, _ := open(t, cfg)
		srv.Fault(nil)
		if _, err := m.Envelop(t.Context(), k); !errors.Is(err, kms.ErrUntrusted) || len(srv.Requests()) != 0 {
			t.Errorf("%s: %v after %d requests", name, err, len(srv.Requests()))
		}
	}
}

func TestTheTokenIsReadEachTime(t *testing.T) {
	t.Parallel()
	srv := kmstest.Start(t)
	k, _ := open(t, config(srv))
	m, _ := plain(t, seal.PurposeConsentToken)
	if err := os.WriteFile(srv.TokenFile, []byte("hvs.expired"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Envelop(t.Context(), k); !errors.Is(err, kms.ErrDenied) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(srv.TokenFile, []byte(kmstest.Token), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Envelop(t.Context(), k); err != nil {
		t.Error(err)
	}
	if err := os.Remove(srv.TokenFile); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Envelop(t.Context(), k); !errors.Is(err, kms.ErrDenied) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
