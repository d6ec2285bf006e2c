package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/enrich"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// enrichRig is the broker of a run, what was recorded on it, and what reads it.
type enrichRig struct {
	cfg     EnrichConfig
	servers *rig
	client  *kafka.Client
	broker  string
	opener  *seal.Opener
	probe   *enrich.Probe
	// records are the first of those recorded, for the chain alone.
	records []kafka.Record
}

const (
	// lookEvery is how often a round looks whether it is over. What a look costs is
	// part of the worker's account.
	lookEvery = 100 * time.Millisecond
	// takeMax bounds one reading of the recorded events.
	takeMax = 5 * time.Minute
)

// newEnrichRig starts a broker, records the events and makes the probe.
func newEnrichRig(ctx context.Context, cfg EnrichConfig) (r *enrichRig, err error) {
	if _, err := os.Stat(filepath.Join(cfg.BinDir, "metiva")); err != nil {
		return nil, errors.New("the binary metiva is missing: run make build")
	}
	dir, err := os.MkdirTemp("", "metiva-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the run: %w", err)
	}
	r = &enrichRig{cfg: cfg, servers: &rig{cfg: Config{BinDir: cfg.BinDir, Log: cfg.Log}, dir: dir, client: &http.Client{Timeout: readyTimeout}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()
	if r.broker, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	if err := r.servers.launch(ctx, serverKafka, r.broker, r.servers.kafkaSpec(serverKafka, r.broker)); err != nil {
		return nil, err
	}
	if r.client, err = kafka.NewClient(kafka.Config{Brokers: []string{r.broker}, ClientID: "metiva-bench"}, cfg.Log, prometheus.NewRegistry()); err != nil {
		return nil, err
	}
	if err := r.client.EnsureTopics(ctx, stack.TopicSpecs(1)); err != nil {
		return nil, fmt.Errorf("creating topics: %w", err)
	}
	r.say("recording %d events", cfg.Events)
	if err := r.record(ctx); err != nil {
		return nil, fmt.Errorf("recording events: %w%s", err, r.servers.lastLines(serverKafka))
	}
	worker, err := r.worker("probe", prometheus.NewRegistry())
	if err != nil {
		return nil, err
	}
	if r.probe, err = worker.NewProbe(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *enrichRig) stop() error {
	var faults []error
	if r.probe != nil {
		r.probe.Close()
	}
	if r.client != nil {
		faults = append(faults, r.client.Close())
	}
	return errors.Join(append(faults, r.servers.stop())...)
}

func (r *enrichRig) worker(group string, registry *prometheus.Registry) (*enrich.Worker, error) {
	return enrich.New(enrich.Config{Group: group, Compression: copyCompression}, enrich.Deps{
		Kafka: r.client, Opener: r.opener, Databases: r.cfg.Databases, Chain: r.cfg.Chain,
		Now: time.Now, Log: r.cfg.Log, Registerer: registry,
	})
}

// record makes the keys and the sites, and puts the events on events.collected.
func (r *enrichRig) record(ctx context.Context) (err error) {
	if err := seal.GenerateDevelopmentKeys(r.servers.keys()); err != nil {
		return err
	}
	read := func(purpose string) (seal.KeyMaterial, error) {
		return seal.ReadKeyFile(filepath.Join(r.servers.keys(), seal.KeyFileName(purpose)), purpose)
	}
	public, err := read(seal.PurposeResolverPublic)
	if err != nil {
		return err
	}
	private, err := read(seal.PurposeResolverPrivate)
	if err != nil {
		return err
	}
	to, err := public.PublicKey()
	if err != nil {
		return err
	}
	with, err := private.PrivateKey()
	if err != nil {
		return err
	}
	r.opener = seal.NewOpener(with)
	return r.producing(ctx, func(producer *kafka.Producer) error {
		sealer, err := seal.NewSealer(to, "collector-1", func(ctx context.Context, rec *metivav1.DataKey) error {
			value, err := proto.Marshal(&metivav1.KeyRecord{Kind: &metivav1.KeyRecord_DataKey{DataKey: rec}})
			if err != nil {
				return fmt.Errorf("encoding a key: %w", err)
			}
			key := seal.DataKeyRecordKey(rec.GetKeyId())
			if err := r.opener.ApplyDayKey(key, value); err != nil {
				return err
			}
			return producer.ProduceSync(ctx, schemas.TopicControlKeys, 0, key, value)
		}, time.Now)
		if err != nil {
			return err
		}
		return r.recordEvents(ctx, producer, sealer)
	})
}

// producing gives do a producer and ends it afterwards.
func (r *enrichRig) producing(ctx context.Context, do func(*kafka.Producer) error) (err error) {
	producer, err := r.client.NewProducer(kafka.ProducerConfig{Compression: copyCompression})
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- producer.Run(running) }()
	defer func() { cancel(); err = errors.Join(err, <-ended) }()
	return do(producer)
}

// forgetVisits makes visits.state anew. What the worker of a round before has left
// there would have every event known already, and be read back first.
func (r *enrichRig) forgetVisits(ctx context.Context) error {
	if err := r.client.DeleteTopic(ctx, schemas.TopicVisitsState); err != nil {
		return err
	}
	if err := r.client.EnsureTopics(ctx, stack.TopicSpecs(1)); err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	return nil
}

// enrichOnce has a whole worker take the recorded events, which it has not seen yet.
func (r *enrichRig) enrichOnce(ctx context.Context, round int) (u usage, err error) {
	ctx, cancel := context.WithTimeout(ctx, takeMax)
	defer cancel()
	if err := r.forgetVisits(ctx); err != nil {
		return usage{}, err
	}
	registry := prometheus.NewRegistry()
	worker, err := r.worker(fmt.Sprintf("bench-enrich-%d", round), registry)
	if err != nil {
		return usage{}, err
	}
	var events, others float64
	u, err = measured(func() error {
		return until(ctx, worker.Run, func() (bool, error) {
			events, others, err = recordsOut(registry)
			return events+others >= float64(r.cfg.Events), err
		})
	})
	if err == nil && (events != float64(r.cfg.Events) || others != 0) {
		err = fmt.Errorf("the worker made %.0f events and %.0f others of %d events", events, others, r.cfg.Events)
	}
	return u, err
}

// recordsOut is how many records a worker has had acknowledged.
func recordsOut(from prometheus.Gatherer) (events, others float64, err error) {
	families, err := from.Gather()
	if err != nil {
		return 0, 0, fmt.Errorf("reading the worker's metrics: %w", err)
	}
	for _, f := range families {
		if f.GetName() != "metiva_enrich_records_out_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == "event" {
				events += m.GetCounter().GetValue()
			} else {
				others += m.GetCounter().GetValue()
			}
		}
	}
	return events, others, nil
}

// until runs run until isOver says so, and waits for its end.
func until(ctx context.Context, run func(context.Context) error, isOver func() (bool, error)) error {
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- run(running) }()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			cancel()
			return errors.Join(err, ctx.Err())
		case <-tick.C:
		}
		over, err := isOver()
		if over || err != nil {
			cancel()
			return errors.Join(err, <-ended)
		}
	}
}
