package enrich

import (
	"strconv"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// A record that no collector makes may be as large as a broker takes, and with
// our headers too large for it. It must not block its partition.
const (
	deadValueBytesMax = 64 << 10
	keyBytesMax       = 64
)

// boundedKey is the key to pass on: none for one that no collector makes.
func boundedKey(key []byte) []byte {
	if len(key) > keyBytesMax {
		return nil
	}
	return key
}

// deadValue is the value to keep on events.dead. Of one beyond the bound only
// the headers are kept: they say where the record is.
func deadValue(r *kafka.Record) []byte {
	if len(r.Value) > deadValueBytesMax {
		return nil
	}
	return r.Value
}

// deadHeaders say why and from where a record is on events.dead. The value
// goes there as it came, sealed (deadValue).
func deadHeaders(r *kafka.Record, reason metivav1.Reason, now time.Time) []kafka.Header {
	return []kafka.Header{
		{Key: schemas.HeaderDeadReason, Value: []byte(schemas.Label(reason))},
		{Key: schemas.HeaderDeadStage, Value: []byte(schemas.Label(metivav1.Stage_STAGE_ENRICH))},
		{Key: schemas.HeaderDeadTopic, Value: []byte(r.Topic)},
		{Key: schemas.HeaderDeadPartition, Value: strconv.AppendInt(nil, int64(r.Partition), 10)},
		{Key: schemas.HeaderDeadOffset, Value: strconv.AppendInt(nil, r.Offset, 10)},
		{Key: schemas.HeaderDeadTimeMs, Value: strconv.AppendInt(nil, now.UnixMilli(), 10)},
	}
}
