package erasure

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// swept is a compacted topic, and which of its records are the subject's.
type swept struct {
	name string
	is   func(key, value []byte) bool
}

func (w *work) swept() []swept {
	return []swept{
		{schemas.TopicVisitsState, w.isJournal},
		{schemas.TopicAccountsState, w.isAccount},
		{schemas.TopicControlWithdrawals, w.isWithdrawal},
	}
}

// sweepTopics writes tombstones for what compacted topics keep of the subject: enrich
// drops its own states too, once it runs and knows of the erasure.
func (w *work) sweepTopics(ctx context.Context) error {
	for _, topic := range w.swept() {
		found, err := w.look(ctx, topic.name, topic.is)
		if err != nil {
			return err
		}
		if err := w.keep(ctx, func(t *tally) { t.count("kafka."+topic.name, found) }); err != nil {
			return err
		}
		// In their order, so that two attempts do the same.
		order := slices.SortedFunc(maps.Keys(found.live), func(a, b place) int { return strings.Compare(a.key, b.key) })
		for _, at := range order {
			// On the partition it lies on, whatever its key says: that is where it is read.
			if err := w.e.cfg.Producer.ProduceSync(ctx, topic.name, at.partition, []byte(at.key), nil); err != nil {
				return fmt.Errorf("removing a record of %s: %w", topic.name, err)
			}
		}
	}
	return nil
}

func (w *work) isJournal(_, value []byte) bool {
	var s metivav1.VisitState
	if proto.Unmarshal(value, &s) != nil || s.GetJournal().GetCompanyId() != w.is.CompanyID {
		return false
	}
	return w.is.Kind == Tenant || bytes.Equal(s.GetJournal().GetVisitorId(), w.is.subject.ID[:])
}

// isAccount: the state of an account is about a company, and names no visitor.
func (w *work) isAccount(_, value []byte) bool {
	var s metivav1.AccountState
	return w.is.Kind == Tenant && proto.Unmarshal(value, &s) == nil && s.GetCompanyId() == w.is.CompanyID
}

// isWithdrawal: a visitor's withdrawal stays, since it protects them; a tenant's
// tombstone does more than all of its withdrawals.
func (w *work) isWithdrawal(key, _ []byte) bool {
	return w.is.Kind == Tenant && strings.HasPrefix(string(key), w.is.CompanyID+"/")
}
