package kafka_test

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	embedded "github.com/metiva-io/metiva/pkg/embedded/kafka"
)

// serve runs a broker in this process until stop is called.
func serve(t *testing.T, dir string) (client *kgo.Client, stop func()) {
	t.Helper()
	cfg := embedded.Config{DataDir: dir, Listen: freeAddress(t)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- embedded.Serve(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for embedded.Probe(cfg.Listen)(ctx) != nil {
		select {
		case err := <-done:
			t.Fatalf("serve: %v", err)
		case <-tick.C:
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Listen), kgo.MaxVersions(kversion.V3_0_0())) // topics by name
	if err != nil {
		t.Fatal(err)
	}
	return client, func() {
		client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// sendBatch appends records with a given identity and first sequence number,
// and gives the offset the broker answers with.
func sendBatch(t *testing.T, client *kgo.Client, id int64, firstSeq, count int32) (int64, error) {
	t.Helper()
	var records []byte
	for i := range count {
		records = append(records, 14, 0, 0, byte(i<<1), 1, 2, 'v', 0) // length 7, deltas, no key, "v", no headers
	}
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: count - 1, FirstTimestamp: 1, MaxTimestamp: 1,
		ProducerID: id, FirstSequence: firstSeq, NumRecords: count, Records: records,
	}
	raw := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))

	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = raw
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = "a-b.c", append(topic.Partitions, p)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.Topics = -1, 5000, append(req.Topics, topic)
	resp, err := client.Broker(0).Request(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	produced, ok := resp.(*kmsg.ProduceResponse)
	if !ok || len(produced.Topics) != 1 {
		t.Fatalf("answer %T", resp)
	}
	answer := produced.Topics[0].Partitions[0]
	return answer.BaseOffset, kerr.ErrorForCode(answer.ErrorCode)
}

// newProducerID makes the topic of sendBatch and gives a producer's identity.
func newProducerID(t *testing.T, client *kgo.Client) int64 {
	t.Helper()
	create := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "a-b.c", 1, 1
	create.Topics = append(create.Topics, topic)
	if _, err := create.RequestWith(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	init, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	return init.ProducerID
}

// A batch that a loss of power has left half written was never acknowledged:
// its repetition must be appended, not taken for known.
func TestDamagedLastBatchIsNotKnown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	client, stop := serve(t, dir)
	id := newProducerID(t, client)
	for i := range int32(3) {
		if got, err := sendBatch(t, client, id, i*2, 2); err != nil || got != int64(i*2) {
			t.Fatalf("batch %d: offset %d, %v", i, got, err)
		}
	}
	damaged := t.TempDir()
	if err := os.CopyFS(damaged, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	stop()
	segments, err := filepath.Glob(filepath.Join(damaged, "log", "partitions", "*", "*.dat"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	data, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 0xff
	if err := os.WriteFile(segments[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	client, stop = serve(t, damaged)
	defer stop()
	if got, err := sendBatch(t, client, id, 2, 2); err != nil || got != 2 {
		t.Errorf("repetition of a whole batch: offset %d, %v", got, err)
	}
	if got, err := sendBatch(t, client, id, 4, 2); err != nil || got != 4 {
		t.Errorf("repetition of the damaged batch: offset %d, %v", got, err)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic, topic.Partitions = "a-b.c", append(topic.Partitions, p)
	req.ReplicaID, req.Topics = -1, append(req.Topics, topic)
	ends, err := req.RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if end := ends.Topics[0].Partitions[0].Offset; end != 6 {
		t.Errorf("the log ends at %d, want 6", end)
	}
}

// A broker that was killed still knows each producer's last sequence numbers:
// it takes no batch twice, and none out of order.
func TestSequencesSurviveKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	client, stop := serve(t, dir)
	id := newProducerID(t, client)
	expect := func(client *kgo.Client, what string, firstSeq, count int32, offset int64, fault error) {
		t.Helper()
		got, err := sendBatch(t, client, id, firstSeq, count)
		if fault == nil && (err != nil || got != offset) || fault != nil && err != fault { //nolint:errorlint // kerr values are the codes
			t.Errorf("%s: offset %d, %v; want %d, %v", what, got, err, offset, fault)
		}
	}
	expect(client, "first", 0, 3, 0, nil)
	stop() // in order: kfake writes its own file
	client, stop = serve(t, dir)
	expect(client, "repetition after an orderly stop", 0, 3, 0, nil)
	for i := range int32(7) {
		expect(client, "next", 3+i*2, 2, int64(3+i*2), nil)
	}

	// The directory as a kill leaves it: nothing has been closed.
	killed := t.TempDir()
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	stop()
	client, stop = serve(t, killed)
	defer func() { stop() }()
	expect(client, "repetition after a kill", 15, 2, 15, nil)
	expect(client, "older repetition after a kill", 9, 2, 9, nil)
	expect(client, "a gap after a kill", 99, 2, 0, kerr.OutOfOrderSequenceNumber)
	expect(client, "next after a kill", 17, 1, 17, nil)
}
