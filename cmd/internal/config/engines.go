package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/secret"
)

// Kafka is where the topics are.
type Kafka struct {
	Brokers       []string
	TLS           bool
	TLSCAFile     string
	SASLMechanism string
	SASLUser      string
	SASLPassword  secret.Text
}

// Bind adds the Kafka settings.
func (k *Kafka) Bind(s *Set) {
	s.List(&k.Brokers, Option{Flag: "kafka-brokers", Env: "METIVA_KAFKA_BROKERS", Help: "Kafka brokers, host:port, comma-separated."})
	s.Bool(&k.TLS, Option{Flag: "kafka-tls", Env: "METIVA_KAFKA_TLS", Default: "false", Help: "Connect to Kafka with TLS; production requires it outside loopback."})
	s.String(&k.TLSCAFile, Option{Flag: "kafka-tls-ca-file", Env: "METIVA_KAFKA_TLS_CA_FILE", Help: "PEM file of the authority that signed the brokers' certificates; empty for the system's."})
	s.String(&k.SASLMechanism, Option{Flag: "kafka-sasl-mechanism", Env: "METIVA_KAFKA_SASL_MECHANISM", Help: "plain, scram-sha-256 or scram-sha-512; empty for none."})
	s.String(&k.SASLUser, Option{Flag: "kafka-sasl-user", Env: "METIVA_KAFKA_SASL_USER", Help: "User name for SASL."})
	s.Secret(&k.SASLPassword, Option{Flag: "kafka-sasl-password", Env: "METIVA_KAFKA_SASL_PASSWORD", Help: "Password for SASL."})
}

// Client is the configuration of pkg/kafka.
func (k *Kafka) Client(clientID string) kafka.Config {
	return kafka.Config{
		Brokers: k.Brokers, ClientID: clientID, TLS: k.TLS, TLSCAFile: k.TLSCAFile,
		SASLMechanism: k.SASLMechanism, SASLUser: k.SASLUser, SASLPassword: k.SASLPassword,
	}
}

// Validate joins every fault.
func (k *Kafka) Validate(p *Process) error {
	var faults []error
	if len(k.Brokers) == 0 {
		faults = append(faults, errors.New("METIVA_KAFKA_BROKERS is missing: set host:port of at least one broker"))
	}
	for i, b := range k.Brokers {
		host, _, err := net.SplitHostPort(b)
		if err != nil {
			faults = append(faults, fmt.Errorf("METIVA_KAFKA_BROKERS: broker %d is not host:port", i+1))
			continue
		}
		if p.InProduction() && !k.TLS && !Loopback(host) {
			faults = append(faults, fmt.Errorf("METIVA_KAFKA_TLS is off and broker %d is not on loopback: set METIVA_KAFKA_TLS=true", i+1))
		}
	}
	switch k.SASLMechanism {
	case "":
	case "plain", "scram-sha-256", "scram-sha-512":
		if k.SASLUser == "" || k.SASLPassword.IsZero() {
			faults = append(faults, errors.New("METIVA_KAFKA_SASL_MECHANISM is set: set METIVA_KAFKA_SASL_USER and METIVA_KAFKA_SASL_PASSWORD too"))
		}
	default:
		faults = append(faults, errors.New("METIVA_KAFKA_SASL_MECHANISM must be plain, scram-sha-256, scram-sha-512 or empty"))
	}
	return errors.Join(faults...)
}

// ClickHouse is where the analytics are.
type ClickHouse struct {
	URL       secret.Text
	TLSCAFile string
}

// Bind adds the ClickHouse settings.
func (c *ClickHouse) Bind(s *Set) {
	s.Secret(&c.URL, Option{Flag: "clickhouse-url", Env: "METIVA_CLICKHOUSE_URL", Help: "https://user:password@host:8443/database, clickhouses://host:9440/database, or http+unix:///path/to/socket?database=name; several hosts with commas between them."})
	s.String(&c.TLSCAFile, Option{Flag: "clickhouse-tls-ca-file", Env: "METIVA_CLICKHOUSE_TLS_CA_FILE", Help: "PEM file of the authority that signed ClickHouse's certificate; empty for the system's."})
}

// Validate joins every fault; it never repeats the URL.
func (c *ClickHouse) Validate(p *Process) error {
	if c.URL.IsZero() {
		return errors.New("METIVA_CLICKHOUSE_URL is missing: set the address of ClickHouse")
	}
	scheme, rest, ok := strings.Cut(c.URL.Reveal(), "://")
	if !ok {
		return errors.New("METIVA_CLICKHOUSE_URL is not a URL")
	}
	switch scheme {
	case "https", "clickhouses", "http+unix":
	case "http", "clickhouse":
		// net/url reads one host; here may be several.
		authority, _, _ := strings.Cut(rest, "/")
		hosts := authority[strings.LastIndexByte(authority, '@')+1:]
		if p.InProduction() && !staysHere(hosts, "") {
			return errors.New("METIVA_CLICKHOUSE_URL is a plaintext connection and not on loopback: use https:// or clickhouses://")
		}
	default:
		return errors.New("METIVA_CLICKHOUSE_URL must begin with https://, clickhouses://, http://, clickhouse:// or http+unix://")
	}
	return nil
}

// Postgres is one connection to Postgres as one role.
type Postgres struct {
	URL secret.Text
	// Env and Flag name the setting, since core has one for each role.
	Env, Flag, Role string
}

// Bind adds the Postgres setting.
func (c *Postgres) Bind(s *Set) {
	s.Secret(&c.URL, Option{Flag: c.Flag, Env: c.Env, Help: "postgres://role:password@host/database?sslmode=verify-full as " + c.Role + "."})
}

// Validate joins every fault; it never repeats the URL.
func (c *Postgres) Validate(p *Process) error {
	if c.URL.IsZero() {
		return fmt.Errorf("%s is missing: set the Postgres address for %s", c.Env, c.Role)
	}
	u, err := url.Parse(c.URL.Reveal())
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return fmt.Errorf("%s is not a URL that begins with postgres://", c.Env)
	}
	q := u.Query()
	if !p.InProduction() || staysHere(u.Host, q.Get("host")) {
		return nil
	}
	switch q.Get("sslmode") {
	case "verify-full", "verify-ca":
		return nil
	default:
		return fmt.Errorf("%s does not verify the server and is not on loopback: add sslmode=verify-full", c.Env)
	}
}

// staysHere reports whether every host of a URL is a unix socket or loopback.
// The authority and Postgres's parameter may list several hosts, and the
// parameter wins.
func staysHere(authority, parameter string) bool {
	list := authority
	if parameter != "" {
		list = parameter
	}
	for h := range strings.SplitSeq(list, ",") {
		if host, _, err := net.SplitHostPort(h); err == nil {
			h = host
		}
		if !strings.HasPrefix(h, "/") && !Loopback(strings.Trim(h, "[]")) {
			return false
		}
	}
	return true
}

// Keys is where the key files are.
type Keys struct{ Dir string }

// Bind adds the setting for the key files.
func (k *Keys) Bind(s *Set) {
	s.String(&k.Dir, Option{Flag: "keys-dir", Env: "METIVA_KEYS_DIR", Help: "Directory with this process's key files (see docs/operations/keys.md)."})
}

// Path is the file of the key with the given purpose.
func (k *Keys) Path(purpose string) string { return filepath.Join(k.Dir, purpose+".key") }
