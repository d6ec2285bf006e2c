package seal_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const testLimit = 30 * time.Second

// keyTopic is control.keys on a real broker.
type keyTopic struct {
	t        *testing.T
	broker   *kafkatest.Broker
	client   *kafka.Client
	producer *kafka.Producer
	ctx      context.Context
	running  sync.WaitGroup
}

func newKeyTopic(t *testing.T) *keyTopic {
	t.Helper()
	k := &keyTopic{t: t, broker: kafkatest.Start(t)}
	k.broker.CreateCompacted(schemas.TopicControlKeys)
	var err error
	if k.client, err = kafka.NewClient(kafka.Config{Brokers: k.broker.Addrs(), ClientID: "seal-test"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	if k.producer, err = k.client.NewProducer(kafka.ProducerConfig{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.ctx = ctx
	k.running.Go(func() { _ = k.producer.Run(ctx) })
	t.Cleanup(func() { cancel(); k.running.Wait(); _ = k.client.Close() })
	return k
}

// table reads the topic into apply and returns once it is at the end.
func (k *keyTopic) table(apply func(key, value []byte) error) *kafka.Table {
	k.t.Helper()
	table := k.client.NewTable(schemas.TopicControlKeys, apply)
	k.running.Go(func() { _ = table.Run(k.ctx) })
	k.catchUp(table)
	return table
}

func (k *keyTopic) catchUp(tables ...*kafka.Table) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.ctx, testLimit)
	defer cancel()
	for _, table := range tables {
		if err := table.CatchUp(ctx); err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k *keyTopic) publish(ctx context.Context, rec *metivav1.DataKey) error {
	value, err := schemas.Encode(nil, &metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: rec}})
	if err != nil {
		return err
	}
	return k.producer.ProduceSync(ctx, schemas.TopicControlKeys, 0, seal.RecordKeyOf(rec), value)
}

func (k *keyTopic) tombstone(ctx context.Context, recordKey []byte) error {
	return k.producer.ProduceSync(ctx, schemas.TopicControlKeys, 0, recordKey, nil)
}

func (k *keyTopic) shredder() *seal.Shredder {
	k.t.Helper()
	var table *kafka.Table
	shredder, err := seal.NewShredder(seal.ShredderConfig{
		Tombstone: k.tombstone,
		CatchUp:   func(ctx context.Context) error { return table.CatchUp(ctx) },
		Log:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		k.t.Fatal(err)
	}
	table = k.table(shredder.ApplyKey)
	return shredder
}

func resolverKey(t *testing.T) seal.PrivateKey {
	t.Helper()
	dir := t.TempDir()
	if err := seal.GenerateDevelopmentKeys(dir); err != nil {
		t.Fatal(err)
	}
	m, err := seal.ReadKeyFile(filepath.Join(dir, seal.KeyFileName(seal.PurposeResolverPrivate)), seal.PurposeResolverPrivate)
	if err != nil {
		t.Fatal(err)
	}
	private, err := m.PrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return private
}

// TestDestructionOverKafka: two subjects' captures, one erased. Every process
// that reads the topic stops opening that subject's values, one that starts
// later never could, and compaction leaves nothing of the key in the log.
func TestDestructionOverKafka(t *testing.T) {
	t.Parallel()
	k, private := newKeyTopic(t), resolverKey(t)
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	sealer, err := seal.NewSealer(private.Public(), "w", k.publish, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	opener := seal.NewOpener(private)
	table := k.table(opener.ApplyKey)
	type capture struct {
		binding seal.Binding
		blob    []byte
	}
	var captures []capture
	for i := range byte(4) {
		b := seal.Binding{CompanyID: "cmp_a", SiteID: "sit", EventID: [16]byte{i + 1}, SubjectID: [16]byte{i%2 + 1}, Field: seal.FormField("email")}
		key, err := sealer.NewSubjectKey(ctx, b.CompanyID, b.SubjectID)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := key.SealField(nil, b, []byte("a@b.example"))
		if err != nil {
			t.Fatal(err)
		}
		key.Forget()
		captures = append(captures, capture{b, blob})
	}
	k.catchUp(table)
	for _, c := range captures {
		if got, err := opener.OpenField(nil, c.binding, c.blob); err != nil || string(got) != "a@b.example" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	erased := [16]byte{1}
	if n, err := k.shredder().DestroySubject(ctx, "cmp_a", erased); n != 2 || err != nil {
		t.Fatalf("destroyed %d keys, %v", n, err)
	}
	k.catchUp(table)
	late := seal.NewOpener(private)
	k.table(late.ApplyKey)
	for name, o := range map[string]*seal.Opener{"reading along": opener, "started later": late} {
		for _, c := range captures {
			_, err := o.OpenField(nil, c.binding, c.blob)
			if gone := c.binding.SubjectID == erased; gone != errors.Is(err, seal.ErrShredded) || !gone && err != nil {
				t.Errorf("%s, subject %x: %v", name, c.binding.SubjectID[0], err)
			}
		}
	}
	if err := sealer.Prepare(ctx, "cmp_b"); err != nil { // the last batch is never compacted
		t.Fatal(err)
	}
	k.broker.Compact()
	wrapped := 0
	k.table(func(key, value []byte) error {
		if _, subject, _, ok := seal.ParseSubjectKeyRecordKey(key); ok && subject == erased && len(value) > 0 {
			wrapped++
		}
		return nil
	})
	if wrapped > 0 {
		t.Errorf("%d keys of the erased subject are in the compacted log", wrapped)
	}
	if n, err := k.shredder().DestroyTenant(ctx, "cmp_a"); n != 2 || err != nil {
		t.Errorf("the tenant's rest: %d keys, %v", n, err)
	}
	k.catchUp(table)
	for _, c := range captures {
		if _, err := opener.OpenField(nil, c.binding, c.blob); !errors.Is(err, seal.ErrShredded) {
			t.Errorf("after the tenant's erasure: %v", err)
		}
	}
}
