package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	embeddedclickhouse "github.com/metiva-io/metiva/pkg/embedded/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/supervise"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/secret"
	clickhouseschema "github.com/metiva-io/metiva/schemas/clickhouse"
)

const (
	serverClickHouse = "clickhouse"
	serverEnrich     = "enrich"
	serverSink       = "sink"
)

// statementMax is longer than the longest statement, a merge of millions of rows.
const statementMax = 20 * time.Minute

// pipelineRig is the engines of a run and the processes between them.
type pipelineRig struct {
	cfg     PipelineConfig
	servers *rig
	broker  string
	client  *kafka.Client
}

func newPipelineRig(ctx context.Context, cfg PipelineConfig) (r *pipelineRig, err error) {
	for _, name := range []string{"metiva", serverCollector, serverEnrich, serverSink} {
		if _, err := os.Stat(filepath.Join(cfg.BinDir, name)); err != nil {
			return nil, fmt.Errorf("the binary %s is missing next to metiva: run make build", name)
		}
	}
	dir, err := os.MkdirTemp("", "metiva-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the run: %w", err)
	}
	r = &pipelineRig{cfg: cfg, servers: &rig{
		cfg: Config{BinDir: cfg.BinDir, Log: cfg.Log}, dir: dir, admins: make(map[string]string), client: &http.Client{Timeout: readyTimeout},
	}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()
	r.say("starting the engines")
	if err := seal.GenerateDevelopmentKeys(r.servers.keys()); err != nil {
		return nil, err
	}
	if err := r.startKafka(ctx, serverKafka); err != nil {
		return nil, err
	}
	return r, r.startClickHouse(ctx)
}

// startClickHouse starts the engine, on the data it had when it was started before.
func (r *pipelineRig) startClickHouse(ctx context.Context) error {
	return r.servers.launch(ctx, serverClickHouse, r.socket(), supervise.Spec{
		Path: filepath.Join(r.cfg.BinDir, "metiva"), Ready: func(ctx context.Context) error { return embeddedclickhouse.Probe(ctx, r.socket()) },
		Args: []string{"embedded", "clickhouse", "--data", filepath.Join(r.servers.dir, serverClickHouse), "--socket", r.socket(), "--library", r.cfg.LibraryPath},
	})
}

// startKafka starts a broker with the product's topics; the client is its.
func (r *pipelineRig) startKafka(ctx context.Context, name string) (err error) {
	if r.client != nil {
		err, r.client = r.client.Close(), nil
		if err != nil {
			return err
		}
	}
	if r.broker, err = freeAddress(ctx); err != nil {
		return err
	}
	if err := r.servers.launch(ctx, name, r.broker, r.servers.kafkaSpec(name, r.broker)); err != nil {
		return err
	}
	if r.client, err = kafka.NewClient(kafka.Config{Brokers: []string{r.broker}, ClientID: "metiva-bench"}, r.cfg.Log, prometheus.NewRegistry()); err != nil {
		return err
	}
	if err := r.client.EnsureTopics(ctx, stack.TopicSpecs(1)); err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	return nil
}

func (r *pipelineRig) socket() string { return filepath.Join(r.servers.dir, "ch.sock") }

func (r *pipelineRig) url(database string) secret.Text {
	return secret.New("http+unix://" + r.socket() + "?database=" + database)
}

// database opens a database of its own with all tables.
func (r *pipelineRig) database(ctx context.Context, name string) (*clickhouse.Conn, error) {
	conn, err := clickhouse.Open(clickhouse.Config{URL: r.url(name), ReadTimeout: statementMax})
	if err != nil {
		return nil, err
	}
	if _, err := clickhouse.Migrate(ctx, conn, clickhouseschema.Files, r.cfg.Log); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// processes starts the sink, enrich and the collector, in this order: each finds its
// reader there.
func (r *pipelineRig) processes(ctx context.Context) error {
	if err := r.servers.seedSites(ctx, r.broker, pipelineSites()); err != nil {
		return err
	}
	listen, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	own := map[string][]string{
		serverSink:   {"METIVA_CLICKHOUSE_URL=" + r.url(pipelineDatabase).Reveal()},
		serverEnrich: {"METIVA_GEO_DIR=" + r.cfg.GeoDir},
	}
	for _, name := range []string{serverSink, serverEnrich, serverCollector} {
		admin, err := freeAddress(ctx)
		if err != nil {
			return err
		}
		r.servers.admins[name] = admin
		spec := r.servers.collectorSpec(name, r.broker, listen, admin)
		if name != serverCollector {
			spec = supervise.Spec{
				Path: filepath.Join(r.cfg.BinDir, name), Ready: r.servers.answers("http://" + admin + "/readyz"),
				Env: append(own[name], "METIVA_ENV=development", "METIVA_REGION=nl", "METIVA_KAFKA_BROKERS="+r.broker,
					"METIVA_KEYS_DIR="+r.servers.keys(), "METIVA_ADMIN_LISTEN="+admin),
			}
		}
		if err := r.servers.launch(ctx, name, listen, spec); err != nil {
			return err
		}
	}
	return nil
}

func (r *pipelineRig) stop() error {
	var faults []error
	if r.client != nil {
		faults = append(faults, r.client.Close())
	}
	return errors.Join(append(faults, r.servers.stop())...)
}

func (r *pipelineRig) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.cfg.Progress, format+"\n", args...)
}

// lastLinesOfAll is the end of every log, for the message of a failure.
func (r *pipelineRig) lastLinesOfAll() string {
	var out strings.Builder
	for _, name := range []string{serverKafka, serverClickHouse, serverCollector, serverEnrich, serverSink} {
		out.WriteString(r.servers.lastLines(name))
	}
	return out.String()
}
