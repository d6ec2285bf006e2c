package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	embeddedclickhouse "github.com/metiva-io/metiva/pkg/embedded/clickhouse"
	embeddedpostgres "github.com/metiva-io/metiva/pkg/embedded/postgres"
	"github.com/metiva-io/metiva/pkg/embedded/supervise"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/schemas"
	clickhouseschema "github.com/metiva-io/metiva/schemas/clickhouse"
	postgresschema "github.com/metiva-io/metiva/schemas/postgres"
)

const (
	kafkaPortPreferred = 7792
	engineStopTimeout  = 10 * time.Second
	engineReadyTimeout = 2 * time.Minute
)

// start brings everything up, upstream last.
func (s *Stack) start(ctx context.Context) error {
	s.addr.KeysDir, s.addr.LogDir = s.lay.path("keys"), s.lay.path("log")
	s.say("starting metiva in %s", s.lay.root)
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"development keys", func(context.Context) error { return seal.GenerateDevelopmentKeys(s.addr.KeysDir) }},
		{"company database", s.prepareGeo},
		{"postgres", s.startPostgres},
		{"kafka", s.startKafka},
		{"clickhouse", s.startClickHouse},
		{"topics and migrations", s.migrate},
	}
	for _, step := range steps {
		if err := s.step(ctx, step.what, step.do); err != nil {
			return err
		}
	}
	if err := s.startProcesses(ctx); err != nil {
		return err
	}
	return s.publish()
}

func (s *Stack) startKafka(ctx context.Context) error {
	if len(s.cfg.Kafka.Brokers) > 0 {
		s.addr.KafkaBrokers = s.cfg.Kafka.Brokers
		return nil
	}
	port, err := s.lay.port(ctx, Kafka, kafkaPortPreferred)
	if err != nil {
		return err
	}
	listen := fmt.Sprintf("127.0.0.1:%d", port)
	s.addr.KafkaBrokers = []string{listen}
	client, err := s.kafkaClient()
	if err != nil {
		return err
	}
	return s.launchEngine(ctx, Kafka, client.Ping, "--data", s.lay.path("kafka"), "--listen", listen)
}

func (s *Stack) kafkaClient() (*kafka.Client, error) {
	cfg := s.cfg.Kafka
	cfg.Brokers, cfg.ClientID = s.addr.KafkaBrokers, "metiva"
	return kafka.NewClient(cfg, s.log, prometheus.NewRegistry())
}

func (s *Stack) startClickHouse(ctx context.Context) error {
	if !s.cfg.ClickHouseURL.IsZero() {
		s.addr.ClickHouseURL = s.cfg.ClickHouseURL
		return nil
	}
	socket, err := s.lay.socket("clickhouse.sock")
	if err != nil {
		return err
	}
	address := url.URL{Scheme: "http+unix", Path: socket, RawQuery: "database=metiva"}
	s.addr.ClickHouseURL = secret.New(address.String())
	library, err := ClickHouseLibrary(s.cfg.CacheDir)
	if err != nil {
		return err
	}
	probe := func(ctx context.Context) error { return embeddedclickhouse.Probe(ctx, socket) }
	return s.launchEngine(ctx, ClickHouse, probe, "--data", s.lay.path("clickhouse"), "--socket", socket, "--library", library)
}

// ClickHouseLibrary is the path of the embedded ClickHouse, which make engines installs
// in the cache.
func ClickHouseLibrary(cacheDir string) (string, error) {
	library := filepath.Join(cacheDir, "engines", "node_modules", "@chdb", "lib-linux-x64-gnu", "libchdb.so")
	if _, err := os.Stat(library); err != nil {
		return "", errors.New("the embedded ClickHouse is not installed: run make engines")
	}
	return library, nil
}

// launchEngine runs `metiva embedded NAME` as a supervised child.
func (s *Stack) launchEngine(ctx context.Context, name string, ready func(context.Context) error, args ...string) error {
	path, err := s.binary("metiva")
	if err != nil {
		return err
	}
	out, err := s.output(name)
	if err != nil {
		return err
	}
	return s.launch(ctx, name, supervise.New(supervise.Spec{
		Name: name, Path: path, Args: append([]string{"embedded", name}, args...),
		Env: []string{"PATH=/usr/bin:/bin", "HOME=" + os.TempDir()}, Dir: s.lay.root,
		PIDFile: s.lay.path("run", name+".pid"), StaleMarker: "embedded " + name,
		StopTimeout: engineStopTimeout, Ready: ready, ReadyTimeout: engineReadyTimeout, Output: out, Ended: s.crashed(name),
	}, s.log))
}

func (s *Stack) startPostgres(ctx context.Context) error {
	if !s.cfg.Postgres.Migrate.IsZero() {
		s.addr.Postgres = s.cfg.Postgres
		return nil
	}
	bin, err := embeddedpostgres.FindBinaries(s.cfg.CacheDir)
	if err != nil {
		return err
	}
	out, err := s.output(Postgres)
	if err != nil {
		return err
	}
	cfg := embeddedpostgres.Config{BinDir: bin, DataDir: s.lay.root, Ended: s.crashed(Postgres)}
	server, err := embeddedpostgres.New(cfg, slog.New(slog.NewJSONHandler(out, nil)))
	if err != nil {
		return err
	}
	if err := s.launch(ctx, Postgres, server); err != nil {
		return err
	}
	s.addr.Postgres = PostgresURLs{
		Migrate: server.URL(postgresschema.RoleMigrate),
		RW:      server.URL(postgresschema.RoleRW),
		Worker:  server.URL(postgresschema.RoleWorker),
	}
	return nil
}

// migrate creates the topics and applies the migrations of both stores.
func (s *Stack) migrate(ctx context.Context) error {
	client, err := s.kafkaClient()
	if err != nil {
		return err
	}
	if err := client.EnsureTopics(ctx, TopicSpecs(1)); err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	conn, err := clickhouse.Open(clickhouse.Config{URL: s.addr.ClickHouseURL})
	if err != nil {
		return err
	}
	defer closeQuietly(conn)
	if _, err := clickhouse.Migrate(ctx, conn, clickhouseschema.Files, s.log); err != nil {
		return err
	}
	_, err = postgres.Migrate(ctx, s.addr.Postgres.Migrate, s.log)
	return err
}

func closeQuietly(c io.Closer) { _ = c.Close() }

// TopicSpecs are the topics of the contract with the given replication.
func TopicSpecs(replication int) []kafka.TopicSpec {
	var specs []kafka.TopicSpec
	for _, t := range schemas.Topics() {
		specs = append(specs, kafka.TopicSpec{
			Name: t.Name, Partitions: t.Partitions, Retention: t.Retention,
			Compacted: t.Compacted(), ReplicationFactor: replication,
		})
	}
	return specs
}
