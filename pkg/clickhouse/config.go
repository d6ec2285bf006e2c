package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/metiva-io/metiva/pkg/secret"
)

// Config says where ClickHouse is. Zero durations and counts take defaults.
type Config struct {
	// URL is one of
	//
	//	http+unix:///path/to.sock?database=metiva  the embedded engine
	//	http(s)://user:password@host:8123/database
	//	clickhouse(s)://user:password@host:9000/database
	//
	// The database has to be named. host:9000 may be several, with commas between
	// them: replicas with the same tables, of which one is used at a time.
	URL secret.Text
	// TLSCAFile (PEM) replaces the system's roots for https and clickhouses.
	TLSCAFile string
	// DialTimeout bounds opening a connection; 5 s by default, of which each of
	// several hosts has its share.
	DialTimeout time.Duration
	// ReadTimeout bounds the wait for an answer to begin; 60 s by default. It
	// has to be longer than the slowest insert.
	ReadTimeout time.Duration
	// ConnectionsMax is the size of the pool; 4 by default.
	ConnectionsMax int
}

const (
	dialTimeoutDefault    = 5 * time.Second
	readTimeoutDefault    = 60 * time.Second
	connectionsMaxDefault = 4
)

// Validate lists every fault of the configuration. No message holds the URL,
// which may hold a password.
func (c Config) Validate() error {
	t, err := c.target()
	errs := []error{err}
	if err == nil && c.TLSCAFile != "" && !t.tls {
		errs = append(errs, errors.New("a clickhouse CA file is set, and the URL is without TLS"))
	}
	if c.DialTimeout < 0 || c.ReadTimeout < 0 {
		errs = append(errs, errors.New("a clickhouse timeout is negative"))
	}
	if c.ConnectionsMax < 0 {
		errs = append(errs, errors.New("the number of clickhouse connections is negative"))
	}
	return errors.Join(errs...)
}

// PlaintextRemote reports whether the connection would leave this machine
// unencrypted. Production refuses it.
func (c Config) PlaintextRemote() bool {
	t, err := c.target()
	if err != nil || t.tls || t.socket != "" {
		return false
	}
	return slices.ContainsFunc(t.addresses, remote)
}

// target is a parsed URL.
type target struct {
	protocol  driver.Protocol
	tls       bool
	socket    string // path of a unix socket; the address is then a name only
	addresses []string
	user      string
	password  string
	database  string
}

// databaseName is what a database may be called here: it stands in SQL.
var databaseName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

func (c Config) target() (target, error) {
	if c.URL.IsZero() {
		return target{}, errors.New("the clickhouse URL is not set")
	}
	single, more := splitHosts(c.URL.Reveal())
	u, err := url.Parse(single)
	if err != nil {
		return target{}, errors.New("the clickhouse URL cannot be read")
	}
	if err := checkHosts(more); err != nil {
		return target{}, err
	}
	t := target{addresses: append([]string{u.Host}, more...), user: u.User.Username()}
	t.password, _ = u.User.Password()
	query := u.Query()
	t.database = query.Get("database")
	query.Del("database")
	if len(query) > 0 {
		return target{}, errors.New("the clickhouse URL has parameters other than database")
	}
	ports := ""
	switch u.Scheme {
	case "http+unix":
		t.protocol, t.socket, t.addresses = driver.HTTP, u.Path, []string{"clickhouse"}
		if u.Host != "" || len(more) > 0 || !strings.HasPrefix(u.Path, "/") {
			return target{}, errors.New("an http+unix URL has three slashes and an absolute path")
		}
	case "http", "https":
		t.protocol, t.tls, ports = driver.HTTP, u.Scheme == "https", "8123 (http) or 8443 (https)"
	case "clickhouse", "clickhouses":
		t.protocol, t.tls, ports = driver.Native, u.Scheme == "clickhouses", "9000 (clickhouse) or 9440 (clickhouses)"
	default:
		return target{}, errors.New("the clickhouse URL starts with none of http+unix, http, https, clickhouse, clickhouses")
	}
	if t.socket == "" {
		if u.Hostname() == "" || u.Port() == "" {
			return target{}, fmt.Errorf("the clickhouse URL names no host and port, as %s", ports)
		}
		if t.database == "" {
			t.database = strings.TrimPrefix(u.Path, "/")
		}
	}
	if !databaseName.MatchString(t.database) {
		return target{}, errors.New("the clickhouse URL names no database of lower-case letters, digits and underscores")
	}
	return t, nil
}

// options are the driver's, for a database of the target ("" is the server's
// default one).
func (c Config) options(t target, database string) (*driver.Options, error) {
	o := &driver.Options{
		Protocol:     t.protocol,
		Addr:         t.addresses,
		Auth:         driver.Auth{Database: database, Username: t.user, Password: t.password},
		DialTimeout:  orDefault(c.DialTimeout, dialTimeoutDefault),
		ReadTimeout:  orDefault(c.ReadTimeout, readTimeoutDefault),
		MaxOpenConns: orDefault(c.ConnectionsMax, connectionsMaxDefault),
	}
	o.MaxIdleConns = o.MaxOpenConns
	if t.tls {
		var err error
		if o.TLS, err = c.tlsConfig(); err != nil {
			return nil, err
		}
	}
	if len(t.addresses) > 1 {
		o.DialStrategy = new(failover).dial
	}
	if t.socket != "" {
		o.DialContext = func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: o.DialTimeout}).DialContext(ctx, "unix", t.socket)
		}
		// A proxy from the environment has no business with a socket.
		o.TransportFunc = func(rt *http.Transport) (http.RoundTripper, error) {
			rt.Proxy = nil
			return rt, nil
		}
	} else if t.protocol == driver.Native {
		o.Compression = &driver.Compression{Method: driver.CompressionLZ4}
	}
	return o, nil
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}
