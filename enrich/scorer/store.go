package scorer

import (
	"container/list"
	"encoding/binary"
	"strings"

	"github.com/metiva-io/metiva/enrich/score"
)

// entryOverheadBytes is about what an entry takes besides its key and value.
const entryOverheadBytes = 200

// retentionDaysDefault is how long a state stays when no visit said how long its
// tenant keeps events.
const retentionDaysDefault = 395

// store is the states of one partition's accounts, encoded, the one that was written
// first of all at the front. It belongs to one goroutine.
type store struct {
	byKey map[string]*list.Element
	order *list.List // of *entry
	bytes int
	// highest is the highest epoch read; outdone is keys in the log that stand behind
	// another owner's of the same account.
	highest uint64
	outdone map[string]struct{}
}

type entry struct {
	key     string
	value   []byte
	version uint64
	// epoch is that of the owner whose record this is.
	epoch uint64
	// lastDay is the last day on which the state is kept.
	lastDay int32
}

func (e *entry) bytes() int { return len(e.key) + cap(e.value) + entryOverheadBytes }

// companyID is the tenant of the state.
func (e *entry) companyID() string {
	company, _, _ := strings.Cut(e.key, "/")
	return company
}

func newStore() *store {
	return &store{byKey: make(map[string]*list.Element), order: list.New(), outdone: make(map[string]struct{})}
}

// keyOf is the key of an account's state: the tenant comes first. The ids of tenants
// and sites have no slash.
func keyOf(companyID, siteID, accountID string) string {
	return companyID + "/" + siteID + "/" + accountID
}

// An owner's records of accounts.state have its epoch behind the account's key, so that
// compaction never keeps what one owner has written in place of another's.
const epochBytes = 8

// stateKey is the key of an account's state as the owner with an epoch writes it. Epoch
// 0 is what was written before keys had one.
func stateKey(key string, epoch uint64) string {
	if epoch == 0 {
		return key
	}
	b := append(make([]byte, 0, len(key)+1+epochBytes), key...)
	return string(binary.BigEndian.AppendUint64(append(b, 0), epoch))
}

// parseStateKey is the reverse of stateKey; the texts of a key have no zero byte.
func parseStateKey(k string) (key string, epoch uint64) {
	at := len(k) - epochBytes - 1
	if at < 0 || k[at] != 0 {
		return k, 0
	}
	return k[:at], binary.BigEndian.Uint64([]byte(k[at+1:]))
}

// find is the entry of an account, or nil.
func (s *store) find(key string) *entry {
	if e, ok := s.byKey[key]; ok {
		return e.Value.(*entry) //nolint:forcetypeassert // the list holds nothing else
	}
	return nil
}

func (s *store) get(key string) []byte {
	if e := s.find(key); e != nil {
		return e.value
	}
	return nil
}

// put keeps a copy of a state, written by the owner with an epoch.
func (s *store) put(key string, epoch uint64, value []byte, a *score.Account) {
	retention := a.RetentionDays()
	if retention == 0 {
		retention = retentionDaysDefault
	}
	s.remove(key)
	e := &entry{key: key, value: append(make([]byte, 0, len(value)), value...), version: a.Version(), epoch: epoch, lastDay: a.NewestDay() + int32(min(retention, 1<<20))}
	s.byKey[key] = s.order.PushBack(e)
	s.bytes += e.bytes()
}

func (s *store) remove(key string) {
	if e, ok := s.byKey[key]; ok {
		s.bytes -= s.order.Remove(e).(*entry).bytes() //nolint:forcetypeassert // the list holds nothing else
		delete(s.byKey, key)
	}
}

// restore takes one record of accounts.state, as it stands in the log. Of several
// owners' records of one account the highest version counts: it has seen the most of
// the log. It reports whether the record could be read.
func (s *store) restore(record, value []byte) bool {
	key, epoch := parseStateKey(string(record))
	s.highest = max(s.highest, epoch)
	known := s.find(key)
	if len(value) == 0 {
		delete(s.outdone, string(record))
		if known != nil && known.epoch == epoch {
			s.remove(key)
		}
		return true
	}
	a, err := score.DecodeAccount(value)
	if err != nil {
		return false
	}
	if known != nil && known.epoch != epoch {
		if known.version > a.Version() || known.version == a.Version() && known.epoch > epoch {
			s.outdone[string(record)] = struct{}{}
			return true
		}
		s.outdone[stateKey(key, known.epoch)] = struct{}{}
		delete(s.outdone, string(record))
	}
	s.put(key, epoch, value, a)
	return true
}

// matching is the keys of the entries that match, oldest first.
func (s *store) matching(match func(e *entry) bool) []string {
	var keys []string
	for e := s.order.Front(); e != nil; e = e.Next() {
		if x := e.Value.(*entry); match(x) { //nolint:forcetypeassert // the list holds nothing else
			keys = append(keys, x.key)
		}
	}
	return keys
}

// beyond is the keys to remove, oldest first, for the rest to fit.
func (s *store) beyond(bytesMax int) []string {
	var keys []string
	left := s.bytes
	for e := s.order.Front(); e != nil && left > bytesMax; e = e.Next() {
		x := e.Value.(*entry) //nolint:forcetypeassert // the list holds nothing else
		left -= x.bytes()
		keys = append(keys, x.key)
	}
	return keys
}
