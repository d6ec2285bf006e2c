package clickhouse_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
)

// TestErrorsHoldNoAddress: over HTTP a statement's parameters, settings and user
// stand in the address of its request, which Go's client puts into every error. None
// of them is in ours, whichever way a statement fails; the cause and the host are.
func TestErrorsHoldNoAddress(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	gone := httptest.NewServer(http.NotFoundHandler())
	address := gone.Listener.Addr().String()
	gone.Close()
	engine := clickhousetest.Start(t)
	// Answers, until it goes away: the driver asks the server's version first.
	leaving := openDoor(t, engine, false)
	open := func(host string) *clickhouse.Conn {
		c, err := clickhouse.Open(clickhouse.Config{URL: secret.New("http://hushuser:hushpassword@" + host + "/default"), DialTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	known := open(leaving.address())
	if err := known.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	leaving.CloseClientConnections()
	leaving.Close()

	options := []clickhouse.Option{clickhouse.Param("account", "hushvalue"), clickhouse.Setting("log_comment", "hushsetting")}
	const sql = "SELECT {account:String}"
	for host, c := range map[string]*clickhouse.Conn{address: open(address), leaving.address(): known} {
		for name, do := range map[string]func() error{
			"exec":  func() error { return c.Exec(ctx, sql, options...) },
			"each":  func() error { return c.Each(ctx, sql, func(func(...any) error) error { return nil }, options...) },
			"row":   func() error { var s string; return c.QueryRow(ctx, sql, options...).Scan(&s) },
			"query": func() error { _, err := c.Query(ctx, sql, options...); return err },
			"insert": func() error {
				return c.Insert(ctx, "t", "hushtoken", []clickhouse.Column{{Name: "n", Values: []uint64{1}}})
			},
		} {
			err := do()
			if err == nil {
				t.Fatalf("%s: no error", name)
			}
			if text := err.Error(); strings.Contains(text, "hush") || strings.Contains(text, "param_") || !strings.Contains(text, host) {
				t.Errorf("%s: %s", name, text)
			}
			var failed *url.Error
			var netErr net.Error
			if !errors.As(err, &failed) || !errors.As(err, &netErr) {
				t.Errorf("%s: the cause is lost: %v", name, err)
			}
		}
	}
}
