package scorer

import (
	"container/list"
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
}

type entry struct {
	key     string
	value   []byte
	version uint64
	// lastDay is the last day on which the state is kept.
	lastDay int32
}

func (e *entry) bytes() int { return len(e.key) + cap(e.value) + entryOverheadBytes }

// companyID is the tenant of the state.
func (e *entry) companyID() string {
	company, _, _ := strings.Cut(e.key, "/")
	return company
}

func newStore() *store { return &store{byKey: make(map[string]*list.Element), order: list.New()} }

// keyOf is the key of an account's state: the tenant comes first. The ids of tenants
// and sites have no slash.
func keyOf(companyID, siteID, accountID string) string {
	return companyID + "/" + siteID + "/" + accountID
}

func (s *store) get(key string) []byte {
	if e, ok := s.byKey[key]; ok {
		return e.Value.(*entry).value //nolint:forcetypeassert // the list holds nothing else
	}
	return nil
}

// put keeps a copy of a state.
func (s *store) put(key string, value []byte, a *score.Account) {
	retention := a.RetentionDays()
	if retention == 0 {
		retention = retentionDaysDefault
	}
	s.remove(key)
	e := &entry{key: key, value: append(make([]byte, 0, len(value)), value...), version: a.Version(), lastDay: a.NewestDay() + int32(min(retention, 1<<20))}
	s.byKey[key] = s.order.PushBack(e)
	s.bytes += e.bytes()
}

func (s *store) remove(key string) {
	if e, ok := s.byKey[key]; ok {
		s.bytes -= s.order.Remove(e).(*entry).bytes() //nolint:forcetypeassert // the list holds nothing else
		delete(s.byKey, key)
	}
}

// restore takes one record of accounts.state, as it stands in the log. It reports
// whether the record could be read.
func (s *store) restore(key, value []byte) bool {
	k := string(key)
	if len(value) == 0 {
		s.remove(k)
		return true
	}
	a, err := score.DecodeAccount(value)
	if err != nil {
		return false
	}
	if e, ok := s.byKey[k]; ok && e.Value.(*entry).version > a.Version() { //nolint:forcetypeassert // the list holds nothing else
		return true
	}
	s.put(k, value, a)
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
