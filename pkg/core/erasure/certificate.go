package erasure

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/schemas"
)

// Certificate says what was erased, and when. It names a visitor by a keyed hash only.
type Certificate struct {
	Version   int    `json:"version"` // 1
	ErasureID string `json:"erasure_id"`
	CompanyID string `json:"company_id"`
	Kind      Kind   `json:"kind"`
	// SubjectHash is Signer.SubjectHash; empty for a tenant.
	SubjectHash string    `json:"subject_hash,omitempty"`
	Round       int       `json:"round"`
	RequestedAt time.Time `json:"requested_at"`
	ErasedAt    time.Time `json:"erased_at"`
	VerifiedAt  time.Time `json:"verified_at"`
	// Found counts what was erased, in all rounds (Erasure.Found).
	Found map[string]uint64 `json:"found"`
	// FoundInRound is what of it this round erased; left out of the first.
	FoundInRound map[string]uint64 `json:"found_in_round,omitempty"`
	// Left counts the rows that are left by table, each zero.
	Left map[string]uint64 `json:"left"`
	// Deletions are the mutations of ClickHouse that are done, of those it still knows.
	Deletions uint64 `json:"deletions"`
	// OutdatedParts were on ClickHouse's disk still, unread, and go within minutes.
	OutdatedParts uint64 `json:"outdated_parts"`
	// ExpiresAt is until when records of a topic may lie in Kafka. What is sealed in
	// them does not open.
	ExpiresAt map[string]time.Time `json:"expires_at"`
}

// signed is a certificate as it is stored and printed.
type signed struct {
	Certificate json.RawMessage `json:"certificate"`
	Algorithm   string          `json:"algorithm"` // Ed25519, over certificatePrefix and the compact JSON
	PublicKey   string          `json:"public_key"`
	Signature   string          `json:"signature"`
}

const (
	certificateVersion = 1
	certificatePrefix  = "metiva erasure certificate v1\n"
	algorithm          = "Ed25519"
)

// ErrSignature is returned for a certificate that was not signed with the key, or was
// changed.
var ErrSignature = errors.New("the certificate's signature is not that of the key")

// Signer signs certificates.
type Signer struct {
	key     ed25519.PrivateKey
	naming  []byte
	present bool
}

// NewSigner uses the 32 bytes of an erasure key (seal.PurposeErasure).
func NewSigner(seed []byte) (Signer, error) {
	if len(seed) != ed25519.SeedSize {
		return Signer{}, errors.New("the erasure key has the wrong length")
	}
	naming := hmac.New(sha256.New, seed)
	naming.Write([]byte("metiva erasure subject v1"))
	return Signer{key: ed25519.NewKeyFromSeed(seed), naming: naming.Sum(nil), present: true}, nil
}

// IsZero reports whether it is no signer.
func (s Signer) IsZero() bool { return !s.present }

// Format keeps the key out of whatever prints a signer.
func (s Signer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secret.New("signer").String())) }

// PublicKey checks what the signer signs.
func (s Signer) PublicKey() ed25519.PublicKey {
	public, _ := s.key.Public().(ed25519.PublicKey)
	return public
}

// SubjectHash names a subject of a tenant to whoever holds the key, and to nobody
// else: the first 16 bytes of an HMAC, in hexadecimal.
func (s Signer) SubjectHash(companyID string, subjectID [schemas.IDBytes]byte) string {
	mac := hmac.New(sha256.New, s.naming)
	mac.Write([]byte(companyID))
	mac.Write([]byte{0})
	mac.Write(subjectID[:])
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// sign gives the certificate with its signature, as compact JSON.
func (s Signer) sign(c Certificate) ([]byte, error) {
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encoding a certificate: %w", err)
	}
	return json.Marshal(signed{
		Certificate: raw, Algorithm: algorithm, PublicKey: base64.StdEncoding.EncodeToString(s.PublicKey()),
		Signature: base64.StdEncoding.EncodeToString(ed25519.Sign(s.key, append([]byte(certificatePrefix), raw...))),
	})
}

// Verify reads a certificate as it was printed, with whatever white space, and checks
// its signature. The key in it is not believed: public is the one known otherwise.
func Verify(public ed25519.PublicKey, printed []byte) (Certificate, error) {
	var outer signed
	if err := json.Unmarshal(printed, &outer); err != nil || len(public) != ed25519.PublicKeySize {
		return Certificate{}, ErrSignature
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(outer.Signature)
	if err != nil || outer.Algorithm != algorithm {
		return Certificate{}, ErrSignature
	}
	var raw bytes.Buffer
	raw.WriteString(certificatePrefix)
	if err := json.Compact(&raw, outer.Certificate); err != nil || !ed25519.Verify(public, raw.Bytes(), signature) {
		return Certificate{}, ErrSignature
	}
	var c Certificate
	if err := json.Unmarshal(outer.Certificate, &c); err != nil || c.Version != certificateVersion {
		return Certificate{}, fmt.Errorf("the certificate is of another version: %w", ErrSignature)
	}
	return c, nil
}

// certify signs what is true now, and stores it. Of two processes the first one's
// certificate stands.
func (w *work) certify(ctx context.Context) error {
	left, err := w.rows.Count(ctx)
	if err != nil {
		return err
	}
	proof, err := w.proof(ctx)
	if err != nil {
		return err
	}
	is := &w.is
	c := Certificate{
		Version: certificateVersion, ErasureID: is.ID, CompanyID: is.CompanyID, Kind: is.Kind, Round: is.Round,
		RequestedAt: is.RequestedAt, ErasedAt: is.ErasedAt, VerifiedAt: w.e.cfg.Now().UTC().Truncate(time.Millisecond),
		Found: is.Found, Left: left, Deletions: proof.Mutations, OutdatedParts: proof.OutdatedParts, ExpiresAt: make(map[string]time.Time),
	}
	if is.Round > 1 {
		c.FoundInRound = make(map[string]uint64)
		for what, n := range is.Found {
			if n > is.before[what] {
				c.FoundInRound[what] = n - is.before[what]
			}
		}
	}
	for table, n := range left {
		if n > 0 {
			return fmt.Errorf("%w: %s", ErrRowsRemain, table)
		}
	}
	if is.Kind != Tenant {
		c.SubjectHash = w.e.cfg.Signer.SubjectHash(is.CompanyID, is.subject.ID)
	}
	for _, topic := range schemas.Topics() {
		if !topic.Compacted() {
			c.ExpiresAt[topic.Name] = c.VerifiedAt.Add(topic.Retention)
		}
	}
	printed, err := w.e.cfg.Signer.sign(c)
	if err != nil {
		return err
	}
	if err := w.e.probe("signed"); err != nil {
		return err
	}
	if err := w.exec(ctx, queryCertify, is.ID, printed, is.Round); err != nil {
		return err
	}
	if err := w.e.probe("certificate stored"); err != nil {
		return err
	}
	return w.load(ctx, is.ID, nil)
}
