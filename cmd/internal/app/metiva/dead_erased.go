package metiva

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/tombstone"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// readErasures reads who was erased, up to now.
func readErasures(ctx context.Context, client *kafka.Client) (*tombstone.Set, error) {
	erased := tombstone.NewSet()
	err := client.Scan(ctx, schemas.TopicControlErasures, func(r *kafka.Record) error { return erased.Apply(r.Key, r.Value) })
	if err != nil {
		return nil, fmt.Errorf("reading who was erased: %w", err)
	}
	return erased, nil
}

// isErasedRecord reports whether the record of a topic is about somebody who was
// erased. One that cannot be read is about nobody: the stages refuse it again.
func isErasedRecord(erased *tombstone.Set, topic string, value []byte) bool {
	if topic == schemas.TopicEventsEnriched {
		var r metivav1.EnrichedRecord
		if proto.Unmarshal(value, &r) != nil {
			return false
		}
		e := r.GetEvent()
		return erased.Has(e.GetCompanyId(), e.GetVisitorId()) || erased.Tenant(r.GetDrop().GetCompanyId())
	}
	var e metivav1.CollectedEvent
	if proto.Unmarshal(value, &e) != nil {
		return false
	}
	return erased.Has(e.GetCompanyId(), e.GetVisitorId()) || erased.Has(e.GetCompanyId(), e.GetFormCapture().GetSubjectId())
}
