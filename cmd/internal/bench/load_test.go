package bench

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// fasthttp keeps one goroutine for the Date header for good, and one that
	// sleeps ten seconds after a server has ended.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

func nothing(func() int64) error { return nil }

// serveBare runs the bare handler until the test ends.
func serveBare(t *testing.T) string {
	t.Helper()
	address, err := freeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ServeBare(ctx, address, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return address
		}
		<-tick.C
	}
	t.Fatal("the bare handler does not listen")
	return ""
}

func TestClosedLoad(t *testing.T) {
	address := serveBare(t)
	var before, after int64
	s, err := load{
		address: address, visitors: visitors{host: address, siteKey: siteKey}, connections: 4, events: batchEvents,
		warm: 50 * time.Millisecond, measure: 200 * time.Millisecond,
	}.run(t.Context(),
		func(answered func() int64) error { before = answered(); return nil },
		func(answered func() int64) error { after = answered(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if before <= 0 || after <= before || s.requests < after || s.events != batchEvents*s.requests || s.refused != 0 {
		t.Errorf("%d answered when it was warm, %d at the end, in all %d requests with %d events, %d refused", before, after, s.requests, s.events, s.refused)
	}
	if n := int64(len(s.latencies)); n == 0 || n >= s.requests {
		t.Errorf("%d of %d requests are measured, the first were warming up", n, s.requests)
	}
	if s.quantile(0.5) <= 0 || s.quantile(0.5) > s.quantile(0.99) {
		t.Errorf("p50 %s, p99 %s", s.quantile(0.5), s.quantile(0.99))
	}
}

// serveSlowly answers 503, and nobody for stall after the first request.
func serveSlowly(t *testing.T, stall time.Duration) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		reader, stalled := bufio.NewReader(conn), time.After(stall)
		for {
			req, err := http.ReadRequest(reader)
			if err != nil {
				return
			}
			if _, err := reader.Discard(int(req.ContentLength)); err != nil {
				return
			}
			if stalled != nil {
				select {
				case <-stalled:
				case <-ended:
					return
				}
				stalled = nil
			}
			if _, err := conn.Write([]byte("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno")); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { close(ended); _ = ln.Close(); <-done })
	return ln.Addr().String()
}

// TestOpenLoadCountsTheWaiting: one answer takes 300 ms, and the thirty requests
// that were meant to be sent meanwhile are late, not fast and few.
func TestOpenLoadCountsTheWaiting(t *testing.T) {
	address := serveSlowly(t, 300*time.Millisecond)
	s, err := load{
		address: address, visitors: visitors{host: address, siteKey: siteKey}, connections: 1, events: 1,
		rate: 100, measure: 600 * time.Millisecond,
	}.run(t.Context(), nothing, nothing)
	if err != nil {
		t.Fatal(err)
	}
	late := 0
	for _, l := range s.latencies {
		if l >= 100*time.Millisecond {
			late++
		}
	}
	if late < 15 || s.requests < 55 || s.requests > 61 {
		t.Errorf("%d of %d requests are late", late, s.requests)
	}
	if s.refused != s.requests {
		t.Errorf("%d of %d answers of 503 are counted as refused", s.refused, s.requests)
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	address := serveSlowly(t, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	_, err := load{
		address: address, visitors: visitors{host: address, siteKey: siteKey}, connections: 1, events: 1, measure: time.Minute,
	}.run(ctx, func(func() int64) error { cancel(); return nil }, nothing)
	if !errors.Is(err, context.Canceled) || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}
