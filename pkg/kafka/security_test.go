package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
)

func TestSASL(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []struct{ ours, theirs string }{
		{kafka.SASLPlain, "PLAIN"}, {kafka.SASLScramSHA256, "SCRAM-SHA-256"}, {kafka.SASLScramSHA512, "SCRAM-SHA-512"},
	} {
		t.Run(mechanism.ours, func(t *testing.T) {
			t.Parallel()
			b := kafkatest.StartWith(t, kafkatest.Options{SASLMechanism: mechanism.theirs, SASLUser: "u=,ser", SASLPassword: "pass word"})
			b.CreateTopic("t", 1)
			cfg := kafka.Config{Brokers: b.Addrs(), SASLMechanism: mechanism.ours, SASLUser: "u=,ser", SASLPassword: secretText("pass word")}
			c := newClientWith(t, cfg)
			if err := newProducer(t, c, kafka.ProducerConfig{}).ProduceSync(testCtx(t), "t", 0, nil, []byte("0")); err != nil {
				t.Fatal(err)
			}
			checkOnce(t, readAll(t, c, "t")[0], 1)
			cfg.SASLPassword = secretText("wrong")
			if err := newClientWith(t, cfg).Ping(testCtx(t)); err == nil {
				t.Error("a wrong password passed")
			}
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	b := kafkatest.StartWith(t, kafkatest.Options{TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}})
	b.CreateTopic("t", 1)
	c := newClientWith(t, kafka.Config{Brokers: b.Addrs(), TLS: true, TLSCAFile: ca})
	if err := newProducer(t, c, kafka.ProducerConfig{}).ProduceSync(testCtx(t), "t", 0, nil, []byte("0")); err != nil {
		t.Fatal(err)
	}
	checkOnce(t, readAll(t, c, "t")[0], 1)
	for name, cfg := range map[string]kafka.Config{
		"a certificate of an unknown authority": {Brokers: b.Addrs(), TLS: true},
		"no TLS":                                {Brokers: b.Addrs()},
	} {
		if err := newClientWith(t, cfg).Ping(testCtx(t)); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}
