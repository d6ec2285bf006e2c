package kafka

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go/sasl"

	"github.com/metiva-io/metiva/pkg/secret"
)

// scram is the client side of SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802,
// RFC 7677) without channel binding. It exists because kafka-go's own needs a
// module that nothing else here needs.
type scram struct {
	name     string // as in Config.SASLMechanism
	user     string
	password secret.Text
}

// Iterations outside these bounds are refused: fewer than RFC 7677 asks for
// would make the exchange cheap to crack, more would let a broker burn our CPU.
const (
	scramIterationsMin = 4096
	scramIterationsMax = 1 << 20
)

func (s scram) Name() string { return strings.ToUpper(s.name) }

func (s scram) hash() hash.Hash {
	if s.name == SASLScramSHA512 {
		return sha512.New()
	}
	return sha256.New()
}

// Start makes the client's first message.
func (s scram) Start(context.Context) (sasl.StateMachine, []byte, error) {
	var nonce [24]byte
	_, _ = rand.Read(nonce[:]) // never fails since Go 1.24
	c := &scramSession{scram: s, nonce: base64.RawURLEncoding.EncodeToString(nonce[:])}
	user := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s.user)
	c.firstBare = "n=" + user + ",r=" + c.nonce
	return c, []byte("n,," + c.firstBare), nil
}

type scramSession struct {
	scram
	nonce, firstBare string
	serverSignature  []byte
}

// Next answers the server's first message and checks its second.
func (c *scramSession) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if c.serverSignature != nil {
		got, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(bytes.TrimSpace(challenge)), "v="))
		if err != nil || !hmac.Equal(got, c.serverSignature) {
			return false, nil, errors.New("kafka: SCRAM server signature does not match")
		}
		return true, nil, nil
	}
	serverFirst := string(challenge)
	fields := map[byte]string{}
	for _, part := range strings.Split(serverFirst, ",") {
		if len(part) > 2 && part[1] == '=' {
			fields[part[0]] = part[2:]
		}
	}
	salt, err := base64.StdEncoding.DecodeString(fields['s'])
	iterations, errIter := strconv.Atoi(fields['i'])
	if err != nil || errIter != nil || len(salt) == 0 || !strings.HasPrefix(fields['r'], c.nonce) || len(fields['r']) == len(c.nonce) {
		return false, nil, errors.New("kafka: SCRAM challenge is malformed")
	}
	if iterations < scramIterationsMin || iterations > scramIterationsMax {
		return false, nil, fmt.Errorf("kafka: SCRAM asks for %d iterations", iterations)
	}
	salted, err := pbkdf2.Key(c.hash, c.password.Reveal(), salt, iterations, c.hash().Size())
	if err != nil {
		return false, nil, fmt.Errorf("deriving the SCRAM key: %w", err)
	}
	clientKey := c.mac(salted, "Client Key")
	stored := c.hash()
	stored.Write(clientKey)
	final := "c=biws,r=" + fields['r']
	auth := c.firstBare + "," + serverFirst + "," + final
	proof := c.mac(stored.Sum(nil), auth)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	c.serverSignature = c.mac(c.mac(salted, "Server Key"), auth)
	return false, []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

func (c *scramSession) mac(key []byte, message string) []byte {
	m := hmac.New(c.hash, key)
	m.Write([]byte(message))
	return m.Sum(nil)
}
