package enrich

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
)

func TestZZPoison(t *testing.T) {
	w := newWorld(t)
	big, err := w.client.NewProducer(kafka.ProducerConfig{BatchBytesMax: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	w.goRun(big.Run)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := big.ProduceSync(ctx, schemas.TopicEventsCollected, 0, []byte("k"), bytes.Repeat([]byte("x"), 700_000)); err != nil {
		t.Fatal(err)
	}
	if err := big.ProduceSync(ctx, schemas.TopicEventsCollected, 1, bytes.Repeat([]byte("k"), 700_000), []byte("x")); err != nil {
		t.Fatal(err)
	}
	out := w.outputs()
	w.goRun(w.worker().Run)
	recs, letters, _ := out.take(2, 2)
	t.Log(len(recs), len(letters), len(letters[0].Value))
}
