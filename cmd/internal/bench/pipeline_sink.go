package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
	"github.com/metiva-io/metiva/sink"
	store "github.com/metiva-io/metiva/sink/clickhouse"
)

// sinkSample is what one round measured; CPU in seconds an event.
type sinkSample struct {
	bareCPU, sinkCPU       float64
	bareWall, sinkWall     time.Duration
	bareAllocs, sinkAllocs float64
	bareBatches            int
	sinkBatches            int
	wrong                  int                          // rows that are missing or there twice
	batches                [schemas.TenantBuckets][]int // rows of the sink's, by partition
}

// noting is a store that notes the batches.
type noting struct {
	*store.Store
	mu      sync.Mutex
	batches *[schemas.TenantBuckets][]int
}

func (n *noting) InsertEvents(ctx context.Context, token string, rows []store.EventRow) error {
	e := rows[0].Event
	partition := schemas.EventPartition(e.GetCompanyId(), e.GetVisitKey(), schemas.TenantBuckets)
	n.mu.Lock()
	n.batches[partition] = append(n.batches[partition], len(rows))
	n.mu.Unlock()
	return n.Store.InsertEvents(ctx, token, rows)
}

// recorded are the events of each partition of events.enriched, as they stand in
// Kafka.
type recorded [schemas.TenantBuckets][][]byte

// sinkRounds records events and has them written in turns by a whole sink and by a
// bare loop, each time into an empty database.
func (r *pipelineRig) sinkRounds(ctx context.Context) (samples []sinkSample, bytesPerRow float64, err error) {
	// A broker of its own: what the pipeline wrote before stands in the other's topic.
	if err := r.servers.end(serverKafka); err != nil {
		return nil, 0, err
	}
	if err := r.startKafka(ctx, serverKafka+"-sink"); err != nil {
		return nil, 0, err
	}
	r.say("recording %d events", r.cfg.Events)
	var events recorded
	if err := r.recordEnriched(ctx, &events); err != nil {
		return nil, 0, err
	}
	for round := range r.cfg.Rounds {
		r.say("round %d of %d", round+1, r.cfg.Rounds)
		var s sinkSample
		if bytesPerRow, err = r.sinkRound(ctx, round, &s); err != nil {
			return nil, 0, err
		}
		// The bare loop has the batches the sink has just made.
		if err := r.bareRound(ctx, &events, round, &s); err != nil {
			return nil, 0, err
		}
		samples = append(samples, s)
	}
	if r.cfg.ProfileDir != "" {
		err = r.profile(ctx, &events)
	}
	return samples, bytesPerRow, err
}

// recordEnriched puts the events on events.enriched and keeps their values.
func (r *pipelineRig) recordEnriched(ctx context.Context, events *recorded) (err error) {
	producer, err := r.client.NewProducer(kafka.ProducerConfig{Compression: copyCompression})
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- producer.Run(running) }()
	defer func() { cancel(); err = errors.Join(err, <-ended) }()
	made := newEnrichedRows(time.Now().Add(-time.Hour))
	var acks []*kafka.Ack
	for n := range r.cfg.Events {
		e := made.event(n)
		value, err := schemas.Encode(nil, schemas.EnrichedOf(e))
		if err != nil {
			return fmt.Errorf("encoding an event: %w", err)
		}
		partition := schemas.EventPartition(e.GetCompanyId(), e.GetVisitKey(), schemas.TenantBuckets)
		events[partition] = append(events[partition], value)
		ack, err := producer.Produce(schemas.TopicEventsEnriched, partition, []byte{byte(partition)}, value)
		if err != nil {
			return err
		}
		if acks = append(acks, ack); len(acks) < copyRecordsMax && n+1 < r.cfg.Events {
			continue
		}
		for _, ack := range acks {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-ack.Done():
			}
			if err := ack.Err(); err != nil {
				return err
			}
		}
		acks = acks[:0]
	}
	return nil
}

// inDatabase gives do a database that is gone afterwards.
func (r *pipelineRig) inDatabase(ctx context.Context, name string, do func(*clickhouse.Conn) error) (err error) {
	conn, err := r.database(ctx, name)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, conn.Exec(context.WithoutCancel(ctx), "DROP DATABASE "+name+" SYNC"), conn.Close())
	}()
	return do(conn)
}

// sinkRound has a whole sink, in this process, read and write the recorded events.
func (r *pipelineRig) sinkRound(ctx context.Context, round int, s *sinkSample) (bytesPerRow float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeMax)
	defer cancel()
	group := fmt.Sprintf("bench-sink-%d", round)
	return bytesPerRow, r.inDatabase(ctx, fmt.Sprintf("sink_%d", round), func(conn *clickhouse.Conn) error {
		consumer, err := r.client.NewConsumer(kafka.ConsumerConfig{Group: group, Topics: []string{schemas.TopicEventsEnriched}, FetchBytesMax: sink.FetchBytesMax})
		if err != nil {
			return err
		}
		registry := prometheus.NewRegistry()
		worker, err := sink.New(sink.Config{}, sink.Deps{
			Consumer: consumer, Dead: noLetters{}, Store: &noting{Store: store.New(conn), batches: &s.batches}, Log: r.cfg.Log, Metrics: registry, Now: time.Now,
		})
		if err != nil {
			return err
		}
		u, err := measured(func() error {
			return until(ctx, worker.Run, func() (bool, error) {
				written, err := counted(registry, "metiva_sink_rows_total")
				return written >= float64(r.cfg.Events), err
			})
		})
		if err != nil {
			return err
		}
		n := float64(r.cfg.Events)
		s.sinkCPU, s.sinkWall, s.sinkAllocs = u.cpu.Seconds()/n, u.wall(), float64(u.mallocs)/n
		batches, err := counted(registry, "metiva_sink_batches_total")
		if err != nil {
			return err
		}
		s.sinkBatches = int(batches)
		if s.wrong, err = wrongRows(ctx, conn, r.cfg.Events); err != nil {
			return err
		}
		err = conn.QueryRow(ctx, "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts WHERE active AND database = currentDatabase() AND table = 'events'").Scan(&bytesPerRow)
		if err != nil {
			return fmt.Errorf("reading the size of the parts: %w", err)
		}
		return nil
	})
}

// noLetters: the recorded events are all good.
type noLetters struct{}

var errBadEvent = errors.New("the sink calls a recorded event dead")

func (noLetters) PartitionFor(context.Context, string, []byte) (int, error) { return 0, errBadEvent }

func (noLetters) ProduceSync(context.Context, string, int, []byte, []byte, ...kafka.Header) error {
	return errBadEvent
}

// counted is the sum of a counter over its labels.
func counted(from prometheus.Gatherer, name string) (sum float64, err error) {
	families, err := from.Gather()
	if err != nil {
		return 0, fmt.Errorf("reading the sink's metrics: %w", err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum, nil
}

// wrongRows is how many events are missing or there twice.
func wrongRows(ctx context.Context, conn *clickhouse.Conn, events int) (int, error) {
	rows, err := rowsByID(ctx, conn)
	if err != nil {
		return 0, err
	}
	wrong := max(events-len(rows), len(rows)-events)
	for _, n := range rows {
		if n > 1 {
			wrong++
		}
	}
	return wrong, nil
}

// bareRound inserts the same rows, by the same driver, in the batches the sink has just
// made. What counts is gathering each column, appending it and sending the block, as a
// program would that has its rows in memory and knows nothing of Kafka; how the rows
// came there does not. What collects the garbage of both works through both.
func (r *pipelineRig) bareRound(ctx context.Context, events *recorded, round int, s *sinkSample) error {
	return r.inDatabase(ctx, fmt.Sprintf("bare_%d", round), func(conn *clickhouse.Conn) error {
		n := float64(r.cfg.Events)
		var cpu time.Duration
		var mallocs uint64
		runtime.GC()
		for partition := range events {
			from := 0
			for _, size := range s.batches[partition] {
				rows, err := decodeAll(events[partition][from : from+size])
				if err != nil {
					return err
				}
				token := fmt.Sprintf("bare/%d/%d", partition, from)
				from += size
				before, err := used()
				if err != nil {
					return err
				}
				if err := conn.Insert(ctx, store.TableEvents, token, bareColumns(rows)); err != nil {
					return err
				}
				after, err := used()
				if err != nil {
					return err
				}
				cpu, mallocs = cpu+after.cpu-before.cpu, mallocs+after.mallocs-before.mallocs
				s.bareWall += after.at.Sub(before.at)
				s.bareBatches++
			}
		}
		s.bareCPU, s.bareAllocs = cpu.Seconds()/n, float64(mallocs)/n
		return nil
	})
}

func decodeAll(values [][]byte) ([]*metivav1.EnrichedEvent, error) {
	rows := make([]*metivav1.EnrichedEvent, len(values))
	for i, value := range values {
		var record metivav1.EnrichedRecord
		if err := proto.Unmarshal(value, &record); err != nil {
			return nil, fmt.Errorf("reading a recorded event: %w", err)
		}
		rows[i] = record.GetEvent()
	}
	return rows, nil
}

// profile takes CPU profiles of a further round.
func (r *pipelineRig) profile(ctx context.Context, events *recorded) error {
	if err := os.MkdirAll(r.cfg.ProfileDir, 0o700); err != nil {
		return fmt.Errorf("making the folder for the profiles: %w", err)
	}
	var s sinkSample
	for _, p := range []struct {
		name string
		do   func() error
	}{
		{"sink", func() error { _, err := r.sinkRound(ctx, r.cfg.Rounds, &s); return err }},
		{"bare", func() error { return r.bareRound(ctx, events, r.cfg.Rounds, &s) }},
	} {
		r.say("taking the profiles of the %s", p.name)
		f, err := os.OpenFile(filepath.Join(r.cfg.ProfileDir, p.name+"-cpu.pprof"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("opening a profile: %w", err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return errors.Join(fmt.Errorf("taking a profile: %w", err), f.Close())
		}
		// What was allocated since the process began, before and after: pprof -base.
		err = r.writeAllocations(p.name + "-allocs-before.pprof")
		err = errors.Join(err, p.do())
		pprof.StopCPUProfile()
		err = errors.Join(err, r.writeAllocations(p.name+"-allocs.pprof"))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (r *pipelineRig) writeAllocations(name string) error {
	f, err := os.OpenFile(filepath.Join(r.cfg.ProfileDir, name), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("opening a profile: %w", err)
	}
	runtime.GC() // the profile is as of the last one
	if err := errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close()); err != nil {
		return fmt.Errorf("writing the profile %s: %w", name, err)
	}
	return nil
}
