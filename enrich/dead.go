package enrich

import (
	"strconv"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// deadHeaders say why and from where a record is on events.dead. The value
// goes there as it came, sealed.
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
