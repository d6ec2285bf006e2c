package collector

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// burstSeconds is how many seconds of its rate a site or network may send at
// once: visitors come back together from a tunnel or a lunch break.
const burstSeconds = 10

// limits are what one collector lets through, each for itself: of a network, a
// site and a tenant. They hold for events that would be produced. A request that
// is refused as a whole costs its network one of them, so that a flood of those
// is answered with 429 and does not come on top of the events; the network of a
// visitor who objects is not looked at.
type limits struct {
	networks *buckets
	sites    *buckets
	tenants  *quotas

	siteSeed maphash.Seed
	// networkSeed makes a network's key in the table. It is random, replaced
	// every UTC day and never leaves the process: the table holds no address, and
	// nobody can make one from yesterday's key.
	networkSeed atomic.Pointer[daySeed]

	byNetwork, bySite, byTenant prometheus.Counter
}

type daySeed struct {
	day  int64
	seed maphash.Seed
}

func newLimits(cfg Config, m *metrics) *limits {
	return &limits{
		networks:  newBuckets(cfg.NetworkEventsPerSecond, cfg.LimitedNetworksMax),
		sites:     newBuckets(cfg.SiteEventsPerSecond, cfg.LimitedSitesMax),
		tenants:   &quotas{perMinute: cfg.TenantEventsPerMinute, used: map[string]*quota{}},
		siteSeed:  maphash.MakeSeed(),
		byNetwork: m.limited.WithLabelValues("network"), bySite: m.limited.WithLabelValues("site"), byTenant: m.limited.WithLabelValues("tenant"),
	}
}

// seedOf is the day's seed.
func (l *limits) seedOf(t time.Time) maphash.Seed {
	day := dayOf(t)
	known := l.networkSeed.Load()
	if known == nil || known.day < day {
		l.networkSeed.CompareAndSwap(known, &daySeed{day: day, seed: maphash.MakeSeed()})
		known = l.networkSeed.Load()
	}
	return known.seed
}

// admit takes n events of a request and says how many of them, from the first,
// are within every limit. For the rest, wait is when the limit has room again.
func (l *limits) admit(r *request, n int) (admitted int, wait time.Duration) {
	now := r.received
	admitted = n
	var networkKey uint64
	if r.networkLimited {
		networkKey = l.networkKey(r)
		k, w := l.networks.take(networkKey, now, admitted)
		refused(l.byNetwork, admitted-k)
		admitted, wait = k, max(wait, w)
	}
	afterNetwork := admitted
	siteKey := maphash.String(l.siteSeed, r.site.siteID)
	k, w := l.sites.take(siteKey, now, admitted)
	refused(l.bySite, admitted-k)
	admitted, wait = k, max(wait, w)
	afterSite := admitted
	k, w = l.tenants.take(r.site.companyID, now, admitted)
	refused(l.byTenant, admitted-k)
	admitted, wait = k, max(wait, w)
	// What a later limit refused was not sent through an earlier one.
	if r.networkLimited {
		l.networks.give(networkKey, afterNetwork-admitted)
	}
	l.sites.give(siteKey, afterSite-admitted)
	return admitted, wait
}

// limitRefusal turns the refusal of a whole request into one for its rate when
// its network has sent too much. Refusals that are the collector's, the site's or
// the visitor's choice are left as they are.
func (r *request) limitRefusal(ctx *fasthttp.RequestCtx, status int, reason metivav1.Reason) (int, metivav1.Reason) {
	switch reason {
	case metivav1.Reason_REASON_MALFORMED, metivav1.Reason_REASON_TOO_LARGE, metivav1.Reason_REASON_UNSUPPORTED_TYPE,
		metivav1.Reason_REASON_UNKNOWN_SITE, metivav1.Reason_REASON_ORIGIN_NOT_ALLOWED:
	default:
		return status, reason
	}
	if r.headers.gpc || r.headers.dnt || r.signals.OptOut {
		return status, reason
	}
	if !r.address.IsValid() {
		r.readAddress(ctx.Conn())
	}
	if !r.networkLimited || !r.address.IsValid() {
		return status, reason
	}
	l := r.c.limits
	taken, wait := l.networks.take(l.networkKey(r), r.received, 1)
	if taken > 0 {
		return status, reason
	}
	refused(l.byNetwork, max(1, r.total))
	r.retryAfter = wait
	return fasthttp.StatusTooManyRequests, metivav1.Reason_REASON_RATE_LIMITED
}

// networkKey is the key of the client's network in the table.
func (l *limits) networkKey(r *request) uint64 {
	r.networkHash.SetSeed(l.seedOf(r.received)) // also resets it
	r.address.WriteNetworkTo(r.networkHash)
	return r.networkHash.Sum64()
}

func refused(c prometheus.Counter, n int) {
	if n > 0 {
		c.Add(float64(n))
	}
}

// forget drops the quotas of past minutes.
func (l *limits) forget(now time.Time) { l.tenants.forget(now) }

// buckets are token buckets in a table of fixed size, kept as the time at which
// each is full again. A key has one of the places of its set; when they are
// taken, the fullest bucket makes room. One that is full loses nothing by that.
type buckets struct {
	interval int64 // nanoseconds a token takes
	burst    int64 // nanoseconds an empty bucket takes
	sets     []bucketSet
}

const bucketsPerSet = 7

// bucketSet is two cache lines, fetched together.
type bucketSet struct {
	mu     sync.Mutex
	places [bucketsPerSet]bucket
	_      [8]byte
}

type bucket struct {
	key    uint64 // 0: free
	fullAt int64  // Unix nanoseconds
}

// newBuckets makes a table for at least bucketsMax keys, of 18 bytes each.
func newBuckets(perSecond, bucketsMax int) *buckets {
	sets := (bucketsMax + bucketsPerSet - 1) / bucketsPerSet
	return &buckets{
		interval: int64(time.Second) / int64(perSecond), burst: int64(burstSeconds * time.Second),
		sets: make([]bucketSet, 1<<bits.Len(uint(sets-1))),
	}
}

func (b *buckets) set(key uint64) (s *bucketSet, stored uint64) {
	return &b.sets[key&uint64(len(b.sets)-1)], key | 1<<63
}

// take takes up to n tokens; wait is when there is another one, if n were too
// many.
func (b *buckets) take(key uint64, now time.Time, n int) (taken int, wait time.Duration) {
	at := now.UnixNano()
	s, key := b.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	place := &s.places[0]
	for i := range s.places {
		if p := &s.places[i]; p.key == key {
			place = p
			break
		} else if p.fullAt < place.fullAt {
			place = p
		}
	}
	if place.key != key {
		*place = bucket{key: key}
	}
	// A clock that was set back must not empty a bucket for longer than it takes
	// to fill.
	fullAt := min(max(place.fullAt, at), at+b.burst)
	taken = int(min(int64(n), (at+b.burst-fullAt)/b.interval))
	place.fullAt = fullAt + int64(taken)*b.interval
	if taken < n {
		wait = time.Duration(place.fullAt + b.interval - at - b.burst)
	}
	return taken, wait
}

// give puts n tokens back.
func (b *buckets) give(key uint64, n int) {
	if n <= 0 {
		return
	}
	s, key := b.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.places {
		if p := &s.places[i]; p.key == key {
			p.fullAt -= int64(n) * b.interval
			return
		}
	}
}

// quotas count events by tenant and minute.
type quotas struct {
	perMinute int

	mu   sync.Mutex
	used map[string]*quota // tenants of registered sites only
}

type quota struct {
	minute int64
	events int
}

// take takes up to n events of the minute; wait is when the next one begins.
func (q *quotas) take(companyID string, now time.Time, n int) (taken int, wait time.Duration) {
	minute := now.Unix() / 60
	q.mu.Lock()
	defer q.mu.Unlock()
	used := q.used[companyID]
	if used == nil {
		used = &quota{}
		q.used[companyID] = used
	}
	if used.minute != minute {
		*used = quota{minute: minute}
	}
	taken = min(n, q.perMinute-used.events)
	if used.events += taken; taken < n {
		wait = time.Unix((minute+1)*60, 0).Sub(now)
	}
	return taken, wait
}

func (q *quotas) forget(now time.Time) {
	minute := now.Unix() / 60
	q.mu.Lock()
	defer q.mu.Unlock()
	for tenant, used := range q.used {
		if used.minute < minute {
			delete(q.used, tenant)
		}
	}
}
