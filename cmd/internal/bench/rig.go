package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/consent"
	embeddedkafka "github.com/metiva-io/metiva/pkg/embedded/kafka"
	"github.com/metiva-io/metiva/pkg/embedded/supervise"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	serverKafka = "kafka"
	// kafkaAway is the broker the third server starts with and then loses.
	kafkaAway    = "kafka-away"
	readyTimeout = time.Minute
	stopTimeout  = 15 * time.Second
	logTailBytes = 2000

	// The one site of the run. Its ids are nobody's: the broker is the run's own.
	companyID     = "cmp_bench000000000000000"
	brandID       = "brd_bench000000000000000"
	siteID        = "sit_bench000000000000000"
	siteKey       = "pk_bench0000000000000000000"
	retentionDays = 90
	tokenVisitors = 64
	tokenLife     = 30 * 24 * time.Hour
	dayForm       = "2006-01-02"

	// aloneWarm is how long the third server gets events while it has Kafka: the
	// first of them makes it publish the data key.
	aloneWarm = 200 * time.Millisecond
	// spoolBytesMax holds a default run some ten times over.
	spoolBytesMax = 16 << 30
)

// rig is the child processes of a run and its temporary directory.
type rig struct {
	cfg      Config
	dir      string
	children []*child          // in the order they were started
	admins   map[string]string // of each collector
	tokens   []string
	client   *http.Client
}

type child struct {
	name, address string
	process       *supervise.Process
	cancel        context.CancelFunc
	done          chan error
	log           *os.File
}

func newRig(cfg Config) (*rig, error) {
	for _, name := range []string{"metiva", "collector"} {
		if _, err := os.Stat(filepath.Join(cfg.BinDir, name)); err != nil {
			return nil, fmt.Errorf("the binary %s is missing next to metiva: run make build", name)
		}
	}
	dir, err := os.MkdirTemp("", "metiva-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a directory for the run: %w", err)
	}
	return &rig{cfg: cfg, dir: dir, admins: make(map[string]string), client: &http.Client{
		Transport: &http.Transport{DisableCompression: true}, Timeout: readyTimeout,
	}}, nil
}

// newEngineRig is a rig for engines alone.
func newEngineRig(binDir, dir string, log *slog.Logger) *rig {
	return &rig{cfg: Config{BinDir: binDir, Log: log}, dir: dir, client: &http.Client{Timeout: readyTimeout}}
}

// prepare makes the keys and the visitors' tokens.
func (r *rig) prepare() (err error) {
	if err := seal.GenerateDevelopmentKeys(r.keys()); err != nil {
		return err
	}
	r.tokens, err = r.grant()
	return err
}

// start brings the servers up, the site known to the collector.
func (r *rig) start(ctx context.Context) error {
	if err := r.prepare(); err != nil {
		return err
	}
	bare, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	if err := r.launch(ctx, serverBare, bare, supervise.Spec{
		Path: filepath.Join(r.cfg.BinDir, "metiva"), Args: []string{"bench", "bare", "--listen", bare}, Ready: r.answers("http://" + bare + "/"),
	}); err != nil {
		return err
	}
	if err := r.startCollector(ctx, serverCollector, serverKafka); err != nil {
		return err
	}
	return r.startAlone(ctx)
}

// startAlone starts the collector whose broker goes away: it is ready, has the
// data key of the day in Kafka, and answers from its spool from then on.
func (r *rig) startAlone(ctx context.Context) error {
	if err := r.startCollector(ctx, serverSpool, kafkaAway); err != nil {
		return err
	}
	first := load{address: r.address(serverSpool), visitors: r.visitors(serverSpool), connections: 1, events: 1, measure: aloneWarm}
	nothing := func(func() int64) error { return nil }
	s, err := first.run(ctx, nothing, nothing)
	if err != nil {
		return fmt.Errorf("sending the first events to the %s server: %w", serverSpool, err)
	}
	if s.refused > 0 {
		return fmt.Errorf("the %s server refused %d of its first events", serverSpool, s.refused)
	}
	return r.end(kafkaAway)
}

// startCollector starts a collector with a broker of its own.
func (r *rig) startCollector(ctx context.Context, name, kafkaName string) error {
	broker, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	if err := r.launch(ctx, kafkaName, broker, r.kafkaSpec(kafkaName, broker)); err != nil {
		return err
	}
	if err := r.seed(ctx, broker); err != nil {
		return err
	}
	listen, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	admin, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	r.admins[name] = admin
	return r.launch(ctx, name, listen, r.collectorSpec(name, broker, listen, admin))
}

// collectorSpec is the child process of a collector.
func (r *rig) collectorSpec(name, broker, listen, admin string) supervise.Spec {
	env := []string{
		"METIVA_ENV=development", "METIVA_REGION=nl", "METIVA_KAFKA_BROKERS=" + broker, "METIVA_KEYS_DIR=" + r.keys(),
		"METIVA_ADMIN_LISTEN=" + admin, "METIVA_COLLECTOR_LISTEN=" + listen, "METIVA_TRUSTED_PROXIES=127.0.0.0/8",
		"METIVA_COLLECTOR_SPOOL_DIR=" + filepath.Join(r.dir, name), "METIVA_COLLECTOR_SPOOL_BYTES_MAX=" + strconv.Itoa(spoolBytesMax),
		// One site has all the load: its limits are counted and never reached.
		"METIVA_COLLECTOR_NETWORK_EVENTS_PER_SECOND=1000000", "METIVA_COLLECTOR_SITE_EVENTS_PER_SECOND=1000000",
		"METIVA_COLLECTOR_TENANT_EVENTS_PER_MINUTE=60000000",
	}
	for name, value := range r.cfg.CollectorEnv {
		env = append(env, name+"="+value)
	}
	return supervise.Spec{Path: filepath.Join(r.cfg.BinDir, "collector"), Env: env, Ready: r.answers("http://" + admin + "/readyz")}
}

// kafkaSpec is the child process of an embedded broker.
func (r *rig) kafkaSpec(name, listen string) supervise.Spec {
	return supervise.Spec{
		Path: filepath.Join(r.cfg.BinDir, "metiva"), Ready: embeddedkafka.Probe(listen),
		Args: []string{"embedded", "kafka", "--data", filepath.Join(r.dir, name), "--listen", listen},
	}
}

func (r *rig) keys() string { return filepath.Join(r.dir, "keys") }

// launch starts a child and waits until it is ready. Spec says what is its own:
// path, arguments, environment, readiness, and how it is stopped.
func (r *rig) launch(ctx context.Context, name, address string, spec supervise.Spec) error {
	out, err := os.OpenFile(filepath.Join(r.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", name, err)
	}
	// A child ends when stop says so, after those that use it, and not with ctx.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &child{name: name, address: address, cancel: cancel, done: make(chan error, 1), log: out}
	spec.Name, spec.Dir, spec.Output, spec.ReadyTimeout = name, r.dir, out, readyTimeout
	spec.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=" + r.dir}, spec.Env...)
	if spec.StopTimeout == 0 {
		spec.StopTimeout = stopTimeout
	}
	c.process = supervise.New(spec, r.cfg.Log)
	r.children = append(r.children, c)
	go func() { c.done <- c.process.Run(running) }()
	select {
	case <-c.process.Ready():
		return nil
	case err := <-c.done:
		c.done <- nil
		return fmt.Errorf("%w%s", err, r.lastLines(name))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop ends the children, the last started first, and removes what they wrote.
func (r *rig) stop() error {
	var faults []error
	for i := len(r.children) - 1; i >= 0; i-- {
		faults = append(faults, r.children[i].end())
	}
	r.client.CloseIdleConnections()
	if err := os.RemoveAll(r.dir); err != nil {
		faults = append(faults, fmt.Errorf("removing the directory of the run: %w", err))
	}
	return errors.Join(faults...)
}

// end stops one child before the others.
func (r *rig) end(name string) error {
	c := r.child(name)
	r.children = slices.DeleteFunc(r.children, func(other *child) bool { return other == c })
	return c.end()
}

// end stops the child, which must not have ended by itself before.
func (c *child) end() error {
	var faults []error
	c.cancel()
	if err := <-c.done; err != nil {
		faults = append(faults, fmt.Errorf("stopping %s: %w", c.name, err))
	}
	if n := c.process.Restarts(); n > 0 {
		faults = append(faults, fmt.Errorf("%s ended by itself %d times while it was measured", c.name, n))
	}
	_ = c.log.Close()
	return errors.Join(faults...)
}

func (r *rig) child(name string) *child {
	for _, c := range r.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (r *rig) address(name string) string { return r.child(name).address }
func (r *rig) pid(name string) int        { return r.child(name).process.PID() }

// visitors makes the requests for a server.
func (r *rig) visitors(name string) visitors {
	return visitors{host: r.address(name), siteKey: siteKey, tokens: r.tokens}
}

// lastLines is the end of a child's log, for the message of a failure.
func (r *rig) lastLines(name string) string {
	raw, err := os.ReadFile(filepath.Join(r.dir, name+".log"))
	if err != nil || len(raw) == 0 {
		return ""
	}
	return "\nthe last lines of " + name + ":\n" + string(raw[max(0, len(raw)-logTailBytes):])
}

// seed makes the topics and publishes the site and its visit salts: the collector
// finds them when it starts.
func (r *rig) seed(ctx context.Context, broker string) (err error) {
	client, err := kafka.NewClient(kafka.Config{Brokers: []string{broker}, ClientID: "metiva-bench"}, r.cfg.Log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := client.EnsureTopics(ctx, stack.TopicSpecs(1)); err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	producer, err := client.NewProducer(kafka.ProducerConfig{})
	if err != nil {
		return err
	}
	producing, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- producer.Run(producing) }()
	defer func() { cancel(); err = errors.Join(err, <-ended) }()

	publish := func(topic string, key []byte, m proto.Message) error {
		value, err := proto.Marshal(m)
		if err != nil {
			return fmt.Errorf("encoding a record for %s: %w", topic, err)
		}
		return producer.ProduceSync(ctx, topic, 0, key, value)
	}
	if err := publish(schemas.TopicControlSites, []byte(siteID), &metivav1.SiteRecord{
		CompanyId: companyID, BrandId: brandID, SiteId: siteID, SiteKeys: []string{siteKey}, AllowedOrigins: []string{origin},
		Mode: metivav1.SiteMode_SITE_MODE_COMPANY, HonourDnt: true, RetentionDays: retentionDays, Active: true, Version: 1,
	}); err != nil {
		return fmt.Errorf("publishing the site: %w", err)
	}
	edge, err := seal.ReadKeyFile(filepath.Join(r.keys(), seal.KeyFileName(seal.PurposeEdgePublic)), seal.PurposeEdgePublic)
	if err != nil {
		return err
	}
	public, err := edge.PublicKey()
	if err != nil {
		return err
	}
	for ahead := range 2 { // a run may see midnight
		day := time.Now().UTC().AddDate(0, 0, ahead).Format(dayForm)
		var salt [32]byte
		_, _ = rand.Read(salt[:]) // never fails (crypto/rand)
		wrapped, err := seal.WrapSalt(public, companyID, day, salt)
		if err != nil {
			return err
		}
		record := &metivav1.KeyRecord{Kind: &metivav1.KeyRecord_VisitSalt{VisitSalt: wrapped}}
		if err := publish(schemas.TopicControlKeys, seal.SaltRecordKey(companyID, day), record); err != nil {
			return fmt.Errorf("publishing a visit salt: %w", err)
		}
	}
	return nil
}

// grant issues the tokens of the visitors that agreed.
func (r *rig) grant() (granted []string, err error) {
	key, err := seal.ReadKeyFile(filepath.Join(r.keys(), seal.KeyFileName(seal.PurposeConsentToken)), seal.PurposeConsentToken)
	if err != nil {
		return nil, err
	}
	tokens, err := consent.NewTokens(key.Secret())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for range tokenVisitors {
		g := consent.Grant{Sequence: 1, TextVersion: "2026-11", ExpiresAt: now.Add(tokenLife)}
		_, _ = rand.Read(g.VisitorID[:]) // never fails (crypto/rand)
		token, err := tokens.Issue(siteID, g, now)
		if err != nil {
			return nil, err
		}
		granted = append(granted, token)
	}
	return granted, nil
}

// answers reports whether a URL answers with 2xx.
func (r *rig) answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		body, err := r.get(ctx, url)
		if err != nil {
			return err
		}
		return body.Close()
	}
}

func (r *rig) get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking a server: %w", err)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking a server: %w", err)
	}
	if res.StatusCode/100 != 2 {
		_ = res.Body.Close()
		return nil, fmt.Errorf("asking a server: %s", res.Status)
	}
	return res.Body, nil
}

// freeAddress is a loopback address nobody listens on.
func freeAddress(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(0)))
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return "", fmt.Errorf("freeing a port: %w", err)
	}
	return address, nil
}
