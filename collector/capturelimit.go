package collector

import (
	"hash/maphash"
	"math/bits"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// captureLimits are what one collector takes of captures, beside the limits of
// events: a page is read often, a form is sent now and then, and each capture
// leaves a key on control.keys for as long as the person is kept.
type captureLimits struct {
	networks, sites   *buckets
	byNetwork, bySite prometheus.Counter
}

func newCaptureLimits(cfg Config, m *metrics) *captureLimits {
	return &captureLimits{
		networks:  newMinuteBuckets(cfg.NetworkCapturesPerMinute, cfg.LimitedNetworksMax),
		sites:     newMinuteBuckets(cfg.SiteCapturesPerMinute, cfg.LimitedSitesMax),
		byNetwork: m.limited.WithLabelValues("capture_network"), bySite: m.limited.WithLabelValues("capture_site"),
	}
}

// newMinuteBuckets makes buckets that hold and fill by a minute's worth.
func newMinuteBuckets(perMinute, bucketsMax int) *buckets {
	sets := (bucketsMax + bucketsPerSet - 1) / bucketsPerSet
	return &buckets{
		interval: int64(time.Minute) / int64(perMinute), burst: int64(time.Minute),
		sets: make([]bucketSet, 1<<bits.Len(uint(sets-1))),
	}
}

// admit takes one capture; when it may not, wait is when it may.
func (l *captureLimits) admit(r *request) (ok bool, wait time.Duration) {
	var networkKey uint64
	if r.networkLimited {
		r.networkHash.SetSeed(r.c.limits.seedOf(r.received)) // also resets it
		r.address.WriteNetworkTo(r.networkHash)
		networkKey = r.networkHash.Sum64()
		if taken, wait := l.networks.take(networkKey, r.received, 1); taken == 0 {
			l.byNetwork.Inc()
			return false, wait
		}
	}
	siteKey := maphash.String(r.c.limits.siteSeed, r.site.siteID)
	if taken, wait := l.sites.take(siteKey, r.received, 1); taken == 0 {
		l.bySite.Inc()
		if r.networkLimited {
			l.networks.give(networkKey, 1)
		}
		return false, wait
	}
	return true, 0
}
