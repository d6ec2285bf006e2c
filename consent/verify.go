package consent

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// FaultKind says what is wrong with a chain.
type FaultKind string

// The faults.
const (
	// FaultUnreadable: a record cannot be decoded or lacks a field.
	FaultUnreadable FaultKind = "unreadable"
	// FaultHash: the record is not what its hash was made of.
	FaultHash FaultKind = "hash"
	// FaultHole: the record of the position is missing while a later one is there.
	FaultHole FaultKind = "hole"
	// FaultPrevious: the record does not name the hash of the one before it.
	FaultPrevious FaultKind = "previous"
	// FaultFork: two records claim the position.
	FaultFork FaultKind = "fork"
	// FaultTail: a head that was noted earlier is no longer in its chain.
	FaultTail FaultKind = "tail"
)

// faultsMax is how many faults a report lists; it counts all.
const faultsMax = 100

// Fault is one thing wrong. It holds nothing of a record but its place.
type Fault struct {
	CompanyID string    `json:"company_id,omitempty"`
	ChainID   string    `json:"chain_id,omitempty"`
	Position  uint64    `json:"position,omitempty"`
	Kind      FaultKind `json:"kind"`
}

// Head is the last record of a chain: what an operator notes elsewhere, so that
// a tail that is removed later is missed.
type Head struct {
	CompanyID string    `json:"company_id"`
	ChainID   string    `json:"chain_id"`
	Position  uint64    `json:"position"`
	SHA256    string    `json:"sha256"` // hexadecimal
	GivenAt   time.Time `json:"given_at"`
}

// ChainReport is one chain as far as it was seen.
type ChainReport struct {
	Head
	// StartsAt is the lowest position; above 1, what was before is past retention.
	StartsAt uint64 `json:"starts_at"`
	Records  uint64 `json:"records"`
	// Repeated counts further copies of the same records, which are harmless.
	Repeated uint64 `json:"repeated"`
	Faults   int    `json:"faults"`
}

// Report is what Verifier found. JSON as written by encoding/json.
type Report struct {
	OK      bool          `json:"ok"`
	Records uint64        `json:"records"`
	Chains  []ChainReport `json:"chains"`
	// Faults are the first hundred; FaultCount is how many there are.
	Faults     []Fault `json:"faults"`
	FaultCount int     `json:"fault_count"`
}

// Verifier checks chains from their records in any order. It remembers about a
// hundred bytes of each record.
type Verifier struct {
	// Complete says that no record has left the log yet: a chain that does not
	// start at 1 is then one whose beginning was removed.
	Complete bool

	records uint64
	chains  map[chainKey]*seenChain
	faults  []Fault
	count   int
	noted   []Head
}

type chainKey struct{ companyID, id string }

type seenChain struct {
	links    map[uint64]link
	repeated uint64
	faults   int
}

// link is what is remembered of a record.
type link struct {
	hash, previous Hash
	givenAtMs      int64
}

// NewVerifier returns one that has seen nothing.
func NewVerifier() *Verifier { return &Verifier{chains: map[chainKey]*seenChain{}} }

// Unreadable counts a record that ReadRecord refused.
func (v *Verifier) Unreadable() {
	v.records++
	v.fault(chainKey{}, 0, FaultUnreadable)
}

// Add takes a record ReadRecord accepted.
func (v *Verifier) Add(rec *metivav1.ConsentRecord) {
	if checkRecord(rec) != nil {
		v.Unreadable()
		return
	}
	v.records++
	key := chainKey{rec.GetCompanyId(), rec.GetChainId()}
	position := rec.GetChainPosition()
	chain := v.chains[key]
	if chain == nil {
		chain = &seenChain{links: map[uint64]link{}}
		v.chains[key] = chain
	}
	added := link{hash: Hash(rec.GetRecordSha256()), givenAtMs: rec.GetGivenAtMs()}
	copy(added.previous[:], rec.GetPreviousSha256())
	if RecordHash(rec) != added.hash {
		v.fault(key, position, FaultHash)
	}
	known, ok := chain.links[position]
	switch {
	case !ok:
		chain.links[position] = added
	case known.hash == added.hash:
		chain.repeated++
	default:
		v.fault(key, position, FaultFork)
	}
}

// Expect notes a head of an earlier report, which must still be there.
func (v *Verifier) Expect(h Head) { v.noted = append(v.noted, h) }

func (v *Verifier) fault(key chainKey, position uint64, kind FaultKind) {
	v.count++
	if chain := v.chains[key]; chain != nil {
		chain.faults++
	}
	if len(v.faults) < faultsMax {
		v.faults = append(v.faults, Fault{CompanyID: key.companyID, ChainID: key.id, Position: position, Kind: kind})
	}
}

// Report checks how the records follow one another and says what was found.
// Heads of records given before oldest are past retention and not missed. It is
// called once.
func (v *Verifier) Report(oldest time.Time) Report {
	keys := make([]chainKey, 0, len(v.chains))
	for key := range v.chains {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b chainKey) int {
		return cmp.Or(cmp.Compare(a.companyID, b.companyID), cmp.Compare(a.id, b.id))
	})
	for _, h := range v.noted {
		v.checkNoted(h, oldest)
	}
	r := Report{Records: v.records, Chains: []ChainReport{}}
	for _, key := range keys {
		r.Chains = append(r.Chains, v.checkChain(key))
	}
	r.Faults, r.FaultCount, r.OK = append([]Fault{}, v.faults...), v.count, v.count == 0
	return r
}

// checkChain walks a chain from its first record to its last. A hole counts once,
// at its first position.
func (v *Verifier) checkChain(key chainKey) ChainReport {
	chain := v.chains[key]
	positions := make([]uint64, 0, len(chain.links))
	for position := range chain.links {
		positions = append(positions, position)
	}
	slices.Sort(positions)
	first, last := positions[0], positions[len(positions)-1]
	if v.Complete && first > 1 {
		v.fault(key, 1, FaultHole)
	}
	for i, position := range positions[1:] {
		switch before := positions[i]; {
		case position != before+1:
			v.fault(key, before+1, FaultHole)
		case chain.links[position].previous != chain.links[before].hash:
			v.fault(key, position, FaultPrevious)
		}
	}
	head := chain.links[last]
	return ChainReport{
		Head:     Head{CompanyID: key.companyID, ChainID: key.id, Position: last, SHA256: head.hash.String(), GivenAt: time.UnixMilli(head.givenAtMs).UTC()},
		StartsAt: first, Records: uint64(len(positions)), Repeated: chain.repeated, Faults: chain.faults,
	}
}

func (v *Verifier) checkNoted(h Head, oldest time.Time) {
	key := chainKey{h.CompanyID, h.ChainID}
	chain := v.chains[key]
	if chain != nil {
		if found, ok := chain.links[h.Position]; ok {
			if found.hash.String() != h.SHA256 {
				v.fault(key, h.Position, FaultFork)
			}
			return
		}
	}
	// Retention takes a chain's beginning, or all of it, and nothing that is younger.
	if h.GivenAt.Before(oldest) && (chain == nil || h.Position < chain.first()) {
		return
	}
	v.fault(key, h.Position, FaultTail)
}

func (c *seenChain) first() (lowest uint64) {
	for position := range c.links {
		if lowest == 0 || position < lowest {
			lowest = position
		}
	}
	return lowest
}

// ErrChainFault is the error of a report with faults.
var ErrChainFault = errors.New("the consent records do not form unbroken chains")
