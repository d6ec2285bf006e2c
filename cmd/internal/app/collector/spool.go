package collector

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/config"
	stage "github.com/metiva-io/metiva/collector"
	"github.com/metiva-io/metiva/collector/spool"
	"github.com/metiva-io/metiva/pkg/kafka"
)

// Spool is the configuration of the disk buffer.
type Spool struct {
	Dir      string
	BytesMax int
	Hedge    stage.DurableConfig

	buffer spool.Config
}

func (c *Spool) bind(s *config.Set) {
	s.String(&c.Dir, config.Option{Flag: "spool-dir", Env: "METIVA_COLLECTOR_SPOOL_DIR", Default: "var/spool", Help: "Directory of the disk buffer for events that Kafka does not take. Each collector has its own below it, named by METIVA_COLLECTOR_NAME; it must outlive the process."})
	s.Int(&c.BytesMax, config.Option{Flag: "spool-bytes-max", Env: "METIVA_COLLECTOR_SPOOL_BYTES_MAX", Default: "2147483648", Help: "Largest disk buffer: ten minutes of 5000 events per second. When it is full and Kafka away, events are answered retry."})
	s.Duration(&c.Hedge.HedgeAfter, config.Option{Flag: "hedge-after", Env: "METIVA_COLLECTOR_HEDGE_AFTER", Default: "40ms", Help: "How long an event waits for Kafka before it goes to the disk buffer as well."})
}

// drainShare of the process's time for stopping is for the last records; three
// quarters are the edge's, and the rest stays for the admin listener.
const drainShare = 5

func (c *Spool) validate(name string, drain time.Duration) error {
	c.Hedge.DrainTimeout = drain / drainShare
	var faults []error
	if !filepath.IsLocal(name) || filepath.Base(name) != name || name == "." {
		faults = append(faults, errors.New("METIVA_COLLECTOR_NAME must be fit for the name of a directory"))
	}
	if c.Dir == "" {
		faults = append(faults, errors.New("METIVA_COLLECTOR_SPOOL_DIR is missing"))
	}
	c.buffer = spool.Config{Dir: filepath.Join(c.Dir, name), BytesMax: int64(c.BytesMax)}
	if c.BytesMax <= 0 {
		faults = append(faults, errors.New("METIVA_COLLECTOR_SPOOL_BYTES_MAX must be more than zero"))
	} else if err := c.buffer.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("METIVA_COLLECTOR_SPOOL_BYTES_MAX: %w", err))
	}
	if err := c.Hedge.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("METIVA_COLLECTOR_HEDGE_AFTER: %w", err))
	}
	return errors.Join(faults...)
}

// openDurable puts the spool beside the producer.
func openDurable(w *app.Watched, cfg *Config, producer *kafka.Producer, unsent *stage.Unsent) (*stage.Durable, error) {
	buffer, err := spool.Open(cfg.Spool.buffer, spool.Deps{Log: w.Log, Registry: w.Registry, Now: time.Now, Recovered: unsent.See})
	if errors.Is(err, spool.ErrLocked) {
		return nil, fmt.Errorf("the disk buffer of %s is in use: each collector needs a METIVA_COLLECTOR_NAME of its own: %w", cfg.Edge.Name, err)
	}
	if err != nil {
		return nil, err
	}
	if n := buffer.Stats().Records; n > 0 {
		w.Log.Info("records wait in the spool", slog.Int64("records", n))
	}
	others, err := spool.Abandoned(cfg.Spool.Dir)
	if err != nil {
		w.Log.Warn("looking for abandoned spools", slog.Any("error", err))
	}
	for _, name := range others {
		w.Log.Warn("a spool holds records and no collector uses it: start one with its name to send them", slog.String("name", name))
	}
	return stage.NewDurable(cfg.Spool.Hedge, stage.DurableDeps{
		Kafka: stage.KafkaProducer(producer), RunKafka: producer.Run, Spool: buffer,
		Readiness: w.Ready, Log: w.Log, Registry: w.Registry, Now: time.Now,
	})
}
