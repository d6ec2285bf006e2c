package sink

import (
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
)

// pace is how large and how old the next batch of a partition may become. While little
// comes, batches are small and fresh; a partition that is behind fills larger ones. The
// age follows what writing takes: with a slow ClickHouse a batch waits longer for its
// records, so that there are fewer of them. What range a batch has in the end is
// planned before it is written, so none of this changes the token of a retry.
type pace struct {
	cfg   *Config
	bytes int64
	age   time.Duration
}

const (
	// paceBytesLeast is what a partition that is not behind may batch.
	paceBytesLeast = 512 << 10
	// ageOfWriting: a batch waits so many times as long as the last took to write.
	ageOfWriting = 2
)

func newPace(cfg *Config) pace {
	return pace{cfg: cfg, bytes: min(paceBytesLeast, int64(cfg.BatchBytesMax)), age: cfg.BatchAgeMin}
}

// limit is that of the next batch, for which so many bytes were granted.
func (p *pace) limit(granted int64) kafka.BatchLimit {
	return kafka.BatchLimit{RecordsMax: p.cfg.BatchRowsMax, BytesMax: int(granted), WaitMax: p.age}
}

// wrote takes note of a batch that had the limit and was written within a time.
func (p *pace) wrote(b kafka.Batch, limit kafka.BatchLimit, took time.Duration) {
	size := int64(0)
	for i := range b.Records {
		size += int64(len(b.Records[i].Key) + len(b.Records[i].Value))
	}
	// The next record may be the one that did not fit.
	full := len(b.Records) >= limit.RecordsMax || size > int64(limit.BytesMax)*7/8
	if full {
		p.bytes = min(4*p.bytes, int64(p.cfg.BatchBytesMax))
	} else {
		p.bytes = max(p.bytes/2, min(paceBytesLeast, int64(p.cfg.BatchBytesMax)))
	}
	p.age = min(max(ageOfWriting*took, p.cfg.BatchAgeMin), p.cfg.BatchAgeMax)
}
