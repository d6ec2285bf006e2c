package core

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
)

// shred destroys the keys of erased tenants and subjects that appear after their
// erasure, such as one that lay in a collector's spool, and what an interrupted erasure
// left, until ctx ends.
func shred(ctx context.Context, w *app.Watched, client *kafka.Client, producer *kafka.Producer) error {
	var keys *kafka.Table
	shredder, err := seal.NewShredder(seal.ShredderConfig{
		Tombstone: func(ctx context.Context, key []byte) error {
			return keyed{producer}.Publish(ctx, schemas.TopicControlKeys, key, nil)
		},
		CatchUp: func(ctx context.Context) error { return keys.CatchUp(ctx) },
		Log:     w.Log,
	})
	if err != nil {
		return err
	}
	table := func(topic string, apply func(key, value []byte) error) *kafka.Table {
		return client.NewTable(topic, func(key, value []byte) error {
			if err := apply(key, value); err != nil {
				w.Log.Error("a control record cannot be read", "topic", topic)
			}
			return nil
		})
	}
	keys = table(schemas.TopicControlKeys, shredder.ApplyKey)
	erasures := table(schemas.TopicControlErasures, shredder.ApplyErasure)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return keys.Run(ctx) })
	group.Go(func() error { return erasures.Run(ctx) })
	group.Go(func() error { return shredder.Run(ctx) })
	return group.Wait()
}
