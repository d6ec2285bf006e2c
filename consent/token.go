package consent

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// TokenBytesMax is the longest token that is looked at, in characters.
	TokenBytesMax = 256
	// TextVersionBytesMax is the longest text version a token carries.
	TextVersionBytesMax = 64
	// GrantAgeMax is how far in the future a grant may expire: 13 months, the
	// longest a visitor id may live.
	GrantAgeMax = 396 * 24 * time.Hour

	tokenVersion    = 1
	purposeAnalytic = 1 << 0
	macBytes        = sha256.Size
	keyBytesMin     = 32
	// version, purposes, visitor id
	tokenFixedBytes = 1 + 1 + IDBytes
)

// tokenDomain keeps the MAC apart from any other use of the key.
const tokenDomain = "metiva consent token v1"

// Grant is what a visitor agreed to.
type Grant struct {
	VisitorID [IDBytes]byte
	// Sequence rises with each choice of the visitor, from 1.
	Sequence    uint64
	TextVersion string
	ExpiresAt   time.Time // kept in whole seconds
}

// Proof is a checked consent token. The zero Proof proves nothing.
type Proof struct {
	status      proofStatus
	visitorID   [IDBytes]byte
	sequence    uint64
	textVersion string
}

type proofStatus uint8

const (
	proofNone proofStatus = iota // no token, or one that does not hold
	proofWithdrawn
	proofAnalytics
)

// Valid reports whether the proof grants analytics.
func (p Proof) Valid() bool { return p.status == proofAnalytics }

// Tokens issues and verifies consent tokens. It is safe for concurrent use.
type Tokens struct {
	macs     sync.Pool // of *tokenMAC
	versions versions
}

// versions are text versions that were read, so that a token of a version read
// before does not make a string of it again. They come from tokens whose MAC
// held; of more than versionsMax the rest is not remembered.
type versions struct {
	known  atomic.Pointer[map[string]string]
	adding sync.Mutex
}

const versionsMax = 256

func (v *versions) text(raw []byte) string {
	if known := v.known.Load(); known != nil {
		if text, ok := (*known)[string(raw)]; ok {
			return text
		}
	}
	return v.add(string(raw))
}

func (v *versions) add(text string) string {
	v.adding.Lock()
	defer v.adding.Unlock()
	next := map[string]string{text: text}
	if known := v.known.Load(); known != nil {
		if len(*known) >= versionsMax {
			return text
		}
		maps.Copy(next, *known)
	}
	v.known.Store(&next)
	return text
}

// tokenMAC is a keyed hash with the memory one verification needs.
type tokenMAC struct {
	hash    hash.Hash
	payload [base64DecodedMax]byte
	sum     [macBytes]byte
	prefix  []byte
	// encoding is base64url without padding, strict.
	encoding *base64.Encoding
}

const base64DecodedMax = TokenBytesMax * 3 / 4

// NewTokens returns the issuer and verifier for the collectors' shared key, at
// least 32 random bytes.
func NewTokens(key []byte) (*Tokens, error) {
	if len(key) < keyBytesMin {
		return nil, fmt.Errorf("consent: the token key holds %d bytes, at least %d are needed", len(key), keyBytesMin)
	}
	key = bytes.Clone(key)
	return &Tokens{macs: sync.Pool{New: func() any {
		return &tokenMAC{hash: hmac.New(sha256.New, key), prefix: make([]byte, 0, 64), encoding: base64.RawURLEncoding.Strict()}
	}}}, nil
}

// Issue returns the token for a grant on a site: base64url without padding of
//
//	version (1) | purposes (1) | visitor id (16) | sequence (uvarint) |
//	expiry in Unix seconds (uvarint) | text version | HMAC-SHA256 (32)
//
// The MAC also covers the site id, which is not part of the token. A grant that
// lives longer than GrantAgeMax after now is an error.
func (t *Tokens) Issue(siteID string, g Grant, now time.Time) (string, error) {
	switch {
	case siteID == "":
		return "", errors.New("consent: a token needs a site id")
	case g.VisitorID == [IDBytes]byte{}:
		return "", errors.New("consent: a token needs a visitor id")
	case g.Sequence == 0:
		return "", errors.New("consent: sequences start at 1")
	case g.TextVersion == "" || len(g.TextVersion) > TextVersionBytesMax:
		return "", fmt.Errorf("consent: the text version must have 1 to %d bytes", TextVersionBytesMax)
	case !g.ExpiresAt.After(now) || g.ExpiresAt.Sub(now) > GrantAgeMax:
		return "", fmt.Errorf("consent: the expiry must lie within %s from now", GrantAgeMax)
	}
	payload := make([]byte, 0, base64DecodedMax)
	payload = append(payload, tokenVersion, purposeAnalytic)
	payload = append(payload, g.VisitorID[:]...)
	payload = binary.AppendUvarint(payload, g.Sequence)
	payload = binary.AppendUvarint(payload, uint64(g.ExpiresAt.Unix()))
	payload = append(payload, g.TextVersion...)

	m := t.macs.Get().(*tokenMAC)
	defer t.macs.Put(m)
	payload = append(payload, m.of(siteID, payload)...)
	return base64.RawURLEncoding.EncodeToString(payload), nil
}

// Verify checks a token sent with an event of a site. Anything but a token we
// issued for this site, unexpired, with the analytics purpose, is the zero
// Proof. The MAC is compared in constant time, before anything is read out.
func (t *Tokens) Verify(siteID string, token []byte, now time.Time) Proof {
	m := t.macs.Get().(*tokenMAC)
	defer t.macs.Put(m)
	payload, ok := m.open(siteID, token)
	if !ok {
		return Proof{}
	}
	return t.readPayload(payload, now)
}

// Read is what a token we issued for a site says, expired or not: for reading
// back, renewing and withdrawing, which must not fail because time has passed. It
// makes no Proof, so nothing is recorded on it.
func (t *Tokens) Read(siteID string, token []byte) (g Grant, ok bool) {
	m := t.macs.Get().(*tokenMAC)
	defer t.macs.Put(m)
	payload, ok := m.open(siteID, token)
	if !ok || payload[0] != tokenVersion {
		return Grant{}, false
	}
	g.VisitorID = [IDBytes]byte(payload[2:tokenFixedBytes])
	rest := payload[tokenFixedBytes:]
	sequence, n := binary.Uvarint(rest)
	if n <= 0 || sequence == 0 {
		return Grant{}, false
	}
	rest = rest[n:]
	expires, n := binary.Uvarint(rest)
	if n <= 0 || expires > math.MaxInt64 || len(rest) == n || len(rest) > n+TextVersionBytesMax {
		return Grant{}, false
	}
	g.Sequence, g.TextVersion, g.ExpiresAt = sequence, string(rest[n:]), time.Unix(int64(expires), 0).UTC()
	return g, true
}

// open decodes a token and checks its MAC. The payload is valid until the next
// call.
func (m *tokenMAC) open(siteID string, token []byte) (payload []byte, ok bool) {
	if len(token) == 0 || len(token) > TokenBytesMax || siteID == "" {
		return nil, false
	}
	n, err := m.encoding.Decode(m.payload[:], token)
	// Go's decoder skips line breaks; a token has none.
	if err != nil || m.encoding.EncodedLen(n) != len(token) || n < tokenFixedBytes+macBytes {
		return nil, false
	}
	payload, mac := m.payload[:n-macBytes], m.payload[n-macBytes:n]
	return payload, hmac.Equal(m.of(siteID, payload), mac)
}

func (t *Tokens) readPayload(payload []byte, now time.Time) Proof {
	if payload[0] != tokenVersion || payload[1]&purposeAnalytic == 0 {
		return Proof{}
	}
	p := Proof{status: proofAnalytics, visitorID: [IDBytes]byte(payload[2:tokenFixedBytes])}
	rest := payload[tokenFixedBytes:]
	sequence, n := binary.Uvarint(rest)
	if n <= 0 || sequence == 0 {
		return Proof{}
	}
	rest = rest[n:]
	expires, n := binary.Uvarint(rest)
	// Expiry counts in seconds; the second named is already too late.
	if n <= 0 || now.Unix() < 0 || expires <= uint64(now.Unix()) || expires-uint64(now.Unix()) > uint64(GrantAgeMax/time.Second)+1 {
		return Proof{}
	}
	rest = rest[n:]
	if len(rest) == 0 || len(rest) > TextVersionBytesMax {
		return Proof{}
	}
	p.sequence = sequence
	p.textVersion = t.versions.text(rest)
	return p
}

// of is the MAC over the domain, the site id and the payload, each behind its
// length. The result is valid until the next call.
func (m *tokenMAC) of(siteID string, payload []byte) []byte {
	m.hash.Reset()
	m.prefix = binary.BigEndian.AppendUint32(m.prefix[:0], uint32(len(tokenDomain)))
	m.prefix = append(m.prefix, tokenDomain...)
	m.prefix = binary.BigEndian.AppendUint32(m.prefix, uint32(len(siteID)))
	m.prefix = append(m.prefix, siteID...)
	m.prefix = binary.BigEndian.AppendUint32(m.prefix, uint32(len(payload)))
	m.hash.Write(m.prefix)
	m.hash.Write(payload)
	return m.hash.Sum(m.sum[:0])
}
