package enrich

import (
	"encoding/binary"
	"hash/maphash"
	"sync/atomic"

	"github.com/metiva-io/metiva/schemas"
)

// filterBits is the size of a filter: with 100,000 names one in ten others is taken for
// one. A power of two.
const filterBits = 1 << 20

// filter says of a subject or a tenant for certain that it was not added. Nothing is
// taken out of it. It is safe for concurrent use, and reading it writes nothing, so that
// partitions on several cores do not wait for each other.
type filter struct {
	seed maphash.Seed
	bits []atomic.Uint64
}

func newFilter() filter {
	return filter{seed: maphash.MakeSeed(), bits: make([]atomic.Uint64, filterBits/64)}
}

func (f *filter) addSubject(id []byte)     { f.add(subjectHash(id)) }
func (f *filter) addTenant(id string)      { f.add(maphash.String(f.seed, id)) }
func (f *filter) hasTenant(id string) bool { return f.has(maphash.String(f.seed, id)) }

// hasSubject is false for what is no subject's id.
func (f *filter) hasSubject(id []byte) bool {
	return len(id) == schemas.IDBytes && f.has(subjectHash(id))
}

// subjectHash is the random half of an id. Whoever chose it to be another's would wait
// for a lock, no more.
func subjectHash(id []byte) uint64 { return binary.LittleEndian.Uint64(id[schemas.IDBytes-8:]) }

func (f *filter) add(hash uint64) {
	f.bits[hash%filterBits/64].Or(1 << (hash % 64))
}

func (f *filter) has(hash uint64) bool {
	return f.bits[hash%filterBits/64].Load()&(1<<(hash%64)) != 0
}
