package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"

	"github.com/metiva-io/metiva/pkg/secret"
)

// SASL mechanisms of Config.SASLMechanism.
const (
	SASLNone        = ""
	SASLPlain       = "plain"
	SASLScramSHA256 = "scram-sha-256"
	SASLScramSHA512 = "scram-sha-512"
)

const (
	defaultRequestTimeout = 10 * time.Second
	defaultDialTimeout    = 5 * time.Second
	defaultMetadataTTL    = 5 * time.Second
)

// Config says how to reach a Kafka cluster. Zero durations mean the default.
type Config struct {
	// Brokers are host:port addresses to start from.
	Brokers []string
	// ClientID names this process in the broker's logs and quotas.
	ClientID string
	// TLS encrypts the connections; TLSCAFile (PEM) replaces the system's roots.
	TLS       bool
	TLSCAFile string
	// SASLMechanism is "", "plain", "scram-sha-256" or "scram-sha-512".
	SASLMechanism string
	SASLUser      string
	SASLPassword  secret.Text
	// RequestTimeout bounds one request and its answer (default 10 s).
	RequestTimeout time.Duration
	// DialTimeout bounds one connection with TLS and SASL (default 5 s).
	DialTimeout time.Duration
	// MetadataTTL is the greatest age of what is known about the cluster
	// (default 5 s). A moved leader is noticed by its answer, not by this.
	MetadataTTL time.Duration
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("kafka: no broker addresses"))
	}
	for _, b := range c.Brokers {
		if host, port, err := net.SplitHostPort(b); err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("kafka: broker address %q is not host:port", b))
		}
	}
	switch c.SASLMechanism {
	case SASLNone:
		if c.SASLUser != "" || !c.SASLPassword.IsZero() {
			errs = append(errs, errors.New("kafka: SASL user or password without a SASL mechanism"))
		}
	case SASLPlain, SASLScramSHA256, SASLScramSHA512:
		if c.SASLUser == "" || c.SASLPassword.IsZero() {
			errs = append(errs, errors.New("kafka: SASL mechanism without user and password"))
		}
		if !isPrintableASCII(c.SASLUser) || !isPrintableASCII(c.SASLPassword.Reveal()) {
			errs = append(errs, errors.New("kafka: SASL user and password must be printable ASCII"))
		}
	default:
		errs = append(errs, fmt.Errorf("kafka: SASL mechanism %q is not one of plain, scram-sha-256, scram-sha-512", c.SASLMechanism))
	}
	if c.TLSCAFile != "" && !c.TLS {
		errs = append(errs, errors.New("kafka: TLS CA file without TLS"))
	}
	if c.RequestTimeout < 0 || c.DialTimeout < 0 || c.MetadataTTL < 0 {
		errs = append(errs, errors.New("kafka: a timeout is negative"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.RequestTimeout = orDefault(c.RequestTimeout, defaultRequestTimeout)
	c.DialTimeout = orDefault(c.DialTimeout, defaultDialTimeout)
	c.MetadataTTL = orDefault(c.MetadataTTL, defaultMetadataTTL)
	if c.ClientID == "" {
		c.ClientID = "metiva"
	}
	return c
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func (c Config) tlsConfig() (*tls.Config, error) {
	if !c.TLS {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCAFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.TLSCAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the kafka CA file: %w", err)
	}
	t.RootCAs = x509.NewCertPool()
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("kafka: CA file %s holds no certificate", c.TLSCAFile)
	}
	return t, nil
}

func (c Config) saslMechanism() sasl.Mechanism {
	switch c.SASLMechanism {
	case SASLPlain:
		return plain.Mechanism{Username: c.SASLUser, Password: c.SASLPassword.Reveal()}
	case SASLScramSHA256, SASLScramSHA512:
		return scram{name: c.SASLMechanism, user: c.SASLUser, password: c.SASLPassword}
	default:
		return nil
	}
}

func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
