package erasure

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/pkg/tombstone"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// record is one for a compacted topic; an empty value removes it.
type record struct {
	topic      string
	key, value []byte
}

// tombstones are the records that keep the subject away.
func (w *work) tombstones() ([]record, error) {
	is := &w.is
	subject := is.subject.bytes()
	value, err := proto.Marshal(&metivav1.Erasure{CompanyId: is.CompanyID, SubjectId: subject, ErasedAtMs: is.ErasedAt.UnixMilli()})
	if err != nil {
		return nil, fmt.Errorf("encoding an erasure: %w", err)
	}
	out := []record{{schemas.TopicControlErasures, tombstone.RecordKey(is.CompanyID, subject), value}}
	if is.Kind == Tenant {
		return out, nil
	}
	// Their browser still holds a grant: taken back, it forgets the visitor id.
	value, err = proto.Marshal(&metivav1.Withdrawal{
		CompanyId: is.CompanyID, SubjectId: subject, Sequence: consent.EverySequence, WithdrawnAtMs: is.ErasedAt.UnixMilli(),
	})
	if err != nil {
		return nil, fmt.Errorf("encoding a withdrawal: %w", err)
	}
	return append(out, record{schemas.TopicControlWithdrawals, consent.WithdrawalRecordKey(is.CompanyID, is.subject.ID), value}), nil
}

// tombstone suspends a tenant, and publishes the erasure. It is in the outbox before it
// is in Kafka: core publishes it again when Kafka has lost it.
func (w *work) tombstone(ctx context.Context) error {
	if w.is.Kind == Tenant {
		if err := w.suspend(ctx); err != nil {
			return err
		}
		if err := w.e.probe("suspended"); err != nil {
			return err
		}
	}
	records, err := w.tombstones()
	if err != nil {
		return err
	}
	// core destroys keys as soon as it hears of the erasure: they are counted before.
	if err := w.countKeys(ctx); err != nil {
		return err
	}
	if err := w.e.probe("keys counted first"); err != nil {
		return err
	}
	err = tenant.Run(ctx, w.e.cfg.Pool, w.claim, func(ctx context.Context, tx tenant.Tx) error {
		for _, r := range records {
			if _, err := tx.Exec(ctx, queryOutbox, r.topic, r.key, r.value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("queueing the tombstone: %w", quiet(err))
	}
	if err := w.e.probe("queued"); err != nil {
		return err
	}
	for _, r := range records {
		if err := w.e.publish(ctx, r); err != nil {
			return err
		}
	}
	if err := w.e.probe("published"); err != nil {
		return err
	}
	return w.advance(ctx, Tombstoned)
}

// publish returns once the record is acknowledged, on the partition of its key.
func (e *Eraser) publish(ctx context.Context, r record) error {
	partition, err := e.cfg.Producer.PartitionFor(ctx, r.topic, r.key)
	if err == nil {
		err = e.cfg.Producer.ProduceSync(ctx, r.topic, partition, r.key, r.value)
	}
	if err != nil {
		return fmt.Errorf("publishing to %s: %w", r.topic, err)
	}
	return nil
}

// countKeys counts the keys of the subject that no count has in it.
func (w *work) countKeys(ctx context.Context) error {
	found, err := w.look(ctx, schemas.TopicControlKeys, func(key, value []byte) bool {
		return seal.OwnsKey(w.is.CompanyID, w.is.subject.ID, key, value)
	})
	if err != nil {
		return err
	}
	return w.keep(ctx, func(t *tally) { t.count("keys", found) })
}

// destroyKeys counts the keys that came meanwhile, then destroys them.
func (w *work) destroyKeys(outer context.Context) error {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	var table *kafka.Table
	shredder, err := seal.NewShredder(seal.ShredderConfig{
		Tombstone: func(ctx context.Context, key []byte) error {
			return w.e.publish(ctx, record{schemas.TopicControlKeys, key, nil})
		},
		CatchUp: func(ctx context.Context) error { return table.CatchUp(ctx) },
		Log:     w.e.cfg.Log,
	})
	if err != nil {
		return err
	}
	table = w.e.cfg.Client.NewTable(schemas.TopicControlKeys, func(key, value []byte) error {
		if err := shredder.ApplyKey(key, value); err != nil {
			// Whose it is stands in the value alone. It opens nothing for anybody either.
			w.e.cfg.Log.Error("a control record cannot be read", "topic", schemas.TopicControlKeys)
		}
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- table.Run(ctx) }()
	err = w.destroyKeysOf(ctx, shredder)
	cancel()
	if err := errors.Join(err, <-ended); err != nil {
		return err
	}
	return w.advance(outer, KeysDestroyed)
}

func (w *work) destroyKeysOf(ctx context.Context, shredder *seal.Shredder) error {
	if err := w.countKeys(ctx); err != nil {
		return err
	}
	if err := w.e.probe("keys counted"); err != nil {
		return err
	}
	var err error
	if w.is.Kind == Tenant {
		_, err = shredder.DestroyTenant(ctx, w.is.CompanyID)
	} else {
		_, err = shredder.DestroySubject(ctx, w.is.CompanyID, w.is.subject.ID)
	}
	if err != nil {
		return err
	}
	return w.e.probe("keys destroyed")
}
