package obs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sort"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewLogger writes JSON lines that name the process.
func NewLogger(w io.Writer, process string, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})).With(slog.String("process", process))
}

// NewRegistry is a registry with the Go runtime's and the process's metrics.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// Readiness says whether a process may be sent work: ready once each of its
// named conditions is met.
type Readiness struct {
	mu         sync.Mutex
	conditions map[string]error
}

// errNotYet is the state of a condition nobody has reported on.
var errNotYet = errors.New("not yet")

// NewReadiness starts with none of the conditions met.
func NewReadiness(names ...string) *Readiness {
	r := &Readiness{conditions: make(map[string]error, len(names))}
	for _, n := range names {
		r.conditions[n] = errNotYet
	}
	return r
}

// Set reports a condition as met (nil) or says why not.
func (r *Readiness) Set(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conditions[name] = err
}

// Err is nil when every condition is met; otherwise it names those that are
// not, in alphabetical order.
func (r *Readiness) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]string, 0, len(r.conditions))
	for n, err := range r.conditions {
		if err != nil {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	var errs []error
	for _, n := range names {
		errs = append(errs, fmt.Errorf("%s: %w", n, r.conditions[n]))
	}
	return errors.Join(errs...)
}

// Admin serves the admin endpoints.
type Admin struct {
	handler http.Handler
	log     *slog.Logger
}

// NewAdmin builds the admin endpoints: /healthz answers 200 while the process
// runs, /readyz 200 or 503 with the conditions that are not met, /metrics the
// registry, /debug/pprof the profiles but not the command line, which may hold
// a password.
func NewAdmin(reg *prometheus.Registry, ready *Readiness, log *slog.Logger) *Admin {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready.Err(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return &Admin{handler: mux, log: log}
}

const (
	adminHeaderTimeout = 5 * time.Second
	adminHeaderBytes   = 16 << 10
	adminDrainTimeout  = 2 * time.Second
)

// Serve answers on ln until ctx ends.
func (a *Admin) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: adminHeaderTimeout,
		MaxHeaderBytes:    adminHeaderBytes,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving the admin endpoints: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), adminDrainTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		_ = srv.Close() // a profile may still be streaming; the process ends now
	}
	return nil
}
