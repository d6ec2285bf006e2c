package consent

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// WithdrawalRecordKey is the key of a withdrawal on control.withdrawals:
// "<company>/<subject in hex>".
func WithdrawalRecordKey(companyID string, subject [IDBytes]byte) []byte {
	return hex.AppendEncode([]byte(companyID+"/"), subject[:])
}

// EverySequence is the sequence of a withdrawal by the visitor: it takes back all
// the subject's grants, those of collectors whose clocks run ahead too. None is
// given under the subject again; whoever agrees later is a new visitor.
const EverySequence = math.MaxUint64

// NextSequence is the sequence of a choice that follows one with the sequence
// after (0: none). It needs no state that collectors share: milliseconds are
// later than those of any earlier choice by this clock, and after+1 is later by any
// clock.
func NextSequence(after uint64, now time.Time) uint64 {
	if after == EverySequence {
		return after
	}
	return max(after+1, uint64(max(0, now.UnixMilli())))
}

// Withdrawals is the set of taken-back consents, fed from control.withdrawals.
// It is safe for concurrent use.
type Withdrawals struct {
	mu        sync.RWMutex
	sequences map[subject]uint64
}

type subject struct {
	companyID string
	id        [IDBytes]byte
}

// NewWithdrawals returns an empty set.
func NewWithdrawals() *Withdrawals {
	return &Withdrawals{sequences: make(map[subject]uint64)}
}

// Apply takes one record of control.withdrawals. A lower sequence than the
// known one changes nothing; an empty value forgets the withdrawal, which is
// written only once every token it denies has expired.
func (w *Withdrawals) Apply(recordKey, value []byte) error {
	key, err := parseWithdrawalKey(recordKey)
	if err != nil {
		return err
	}
	if len(value) == 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.sequences, key)
		return nil
	}
	var rec metivav1.Withdrawal
	if err := proto.Unmarshal(value, &rec); err != nil {
		return fmt.Errorf("decoding withdrawal: %w", err)
	}
	if rec.GetCompanyId() != key.companyID || string(rec.GetSubjectId()) != string(key.id[:]) {
		return errors.New("the withdrawal's key does not name its subject")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if known, ok := w.sequences[key]; !ok || rec.GetSequence() > known {
		w.sequences[key] = rec.GetSequence()
	}
	return nil
}

// Withdrawn reports whether a grant with this sequence was taken back. Ties
// deny.
func (w *Withdrawals) Withdrawn(companyID string, subjectID [IDBytes]byte, sequence uint64) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	withdrawn, ok := w.sequences[subject{companyID, subjectID}]
	return ok && sequence <= withdrawn
}

// Check turns a valid proof that was withdrawn into one that says so.
func (w *Withdrawals) Check(companyID string, p Proof) Proof {
	if !p.Valid() || !w.Withdrawn(companyID, p.visitorID, p.sequence) {
		return p
	}
	return Proof{status: proofWithdrawn}
}

func parseWithdrawalKey(recordKey []byte) (subject, error) {
	companyID, text, ok := strings.Cut(string(recordKey), "/")
	id, err := hex.DecodeString(text)
	if !ok || companyID == "" || err != nil || len(id) != IDBytes {
		return subject{}, errors.New("a withdrawal's key must be <company>/<subject in hex>")
	}
	return subject{companyID: companyID, id: [IDBytes]byte(id)}, nil
}
