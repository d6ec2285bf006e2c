package clickhouse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// hostsMax bounds the hosts of a URL; each takes its share of the dial timeout.
const hostsMax = 16

// splitHosts takes the hosts after the first out of a URL, because net/url reads
// one: "https://u:p@a:8443,b:8443/db" is "https://u:p@a:8443/db" and b:8443.
func splitHosts(text string) (single string, more []string) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return text, nil
	}
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	user := ""
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, authority = authority[:i+1], authority[i+1:]
	}
	hosts := strings.Split(authority, ",")
	return scheme + "://" + user + hosts[0] + path, hosts[1:]
}

// checkHosts holds the further hosts to the form of the first.
func checkHosts(hosts []string) error {
	for _, h := range hosts {
		host, port, err := net.SplitHostPort(h)
		if err != nil || host == "" || port == "" || strings.ContainsAny(h, "@/?# ") {
			return errors.New("a further host of the clickhouse URL is not host:port")
		}
	}
	if len(hosts) >= hostsMax {
		return fmt.Errorf("the clickhouse URL names more than %d hosts", hostsMax)
	}
	return nil
}

// remote reports whether an address is not this machine.
func remote(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if host == "localhost" {
		return false
	}
	a, err := netip.ParseAddr(host)
	return err != nil || !a.IsLoopback()
}

// tlsConfig verifies each host by its own name.
func (c Config) tlsConfig() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCAFile == "" {
		return out, nil
	}
	pem, err := os.ReadFile(c.TLSCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the clickhouse CA file: %w", err)
	}
	out.RootCAs = x509.NewCertPool()
	if !out.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("the clickhouse CA file %s holds no certificate", c.TLSCAFile)
	}
	return out, nil
}

// failover opens connections to the host that answered last, and goes on to the
// next one when it does not: the connections of a pool so meet on one host, and
// a host that hangs costs its share of the dial timeout once, not each time.
type failover struct{ last atomic.Int64 }

func (f *failover) dial(ctx context.Context, _ int, o *driver.Options, dial driver.Dial) (driver.DialResult, error) {
	n := len(o.Addr)
	first := int(f.last.Load())
	// The driver's own timeouts of a connection that is not there yet hold for
	// one host, not for all.
	share := *o
	share.DialTimeout = o.DialTimeout / time.Duration(n)
	var errs []error
	for i := range n {
		at := (first + i) % n
		result, err := dialWithin(ctx, share.DialTimeout, o.Addr[at], &share, dial)
		if err == nil {
			f.last.Store(int64(at))
			return result, nil
		}
		errs = append(errs, err)
	}
	return driver.DialResult{}, errors.Join(errs...)
}

func dialWithin(ctx context.Context, timeout time.Duration, address string, o *driver.Options, dial driver.Dial) (driver.DialResult, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return dial(ctx, address, o)
}
