package browser

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/collector/snippet/chromium"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/tenant"
)

const actor = "operator:test"

// world is what all tests share.
type world struct {
	stack    *stack.Stack
	chromium string // path of the browser
	browser  context.Context

	store  *registry.Store
	claim  tenant.Claim
	brand  string
	tokens *consent.Tokens
	rows   *rows
	log    *topics
}

// shared is set before the first test runs and not changed after.
var shared *world

// together is how many tests run at once: they wait for the pipeline, not for the
// processor.
const together = "8"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", together); err != nil {
		panic(err)
	}
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// runAll starts everything, runs the tests, and looks once more at what every
// test has left: an event that came after its test had looked is one too many.
func runAll(m *testing.M) (code int, err error) {
	path, err := chromium.Find(os.Getenv)
	if err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "metiva-test-")
	if err != nil {
		return 1, fmt.Errorf("making a data directory: %w", err)
	}
	defer func() { err = errors.Join(err, stack.Remove(dir)) }()
	// Postgres, as root, runs as another user and has to pass through.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 1, fmt.Errorf("opening the data directory: %w", err)
	}
	bin := filepath.Join(dir, "bin")
	if err := build(bin); err != nil {
		return 1, err
	}
	var progress bytes.Buffer
	cfg := stack.Config{DataDir: filepath.Join(dir, "data"), CacheDir: cacheDir(), BinDir: bin, Progress: &progress}
	err = stack.Run(context.Background(), cfg, func(ctx context.Context, s *stack.Stack) error {
		return run(ctx, s, path, func(w *world) {
			shared = w
			if code = m.Run(); code == 0 {
				code = w.afterAll(ctx)
			}
		})
	})
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s\n%s", progress.String(), tails(cfg.DataDir))
	}
	return code, err
}

// build builds what `make build` builds, without what only a debugger reads.
func build(dir string) error {
	args := []string{"build", "-ldflags=-s -w", "-o", dir + "/"}
	for _, name := range []string{"collector", "enrich", "sink", "core", "metiva"} {
		args = append(args, "./cmd/"+name)
	}
	cmd := exec.CommandContext(context.Background(), "go", args...)
	cmd.Dir = filepath.Join("..", "..", "..")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making a folder for the binaries: %w", err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the binaries: %w\n%s", err, out)
	}
	return nil
}

func cacheDir() string {
	if dir := os.Getenv("METIVA_CACHE"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "metiva")
	}
	return filepath.Join(os.Getenv("HOME"), ".cache", "metiva")
}

// agent is a browser's: the headless one calls itself a bot.
const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"

// run opens the stores and the browser and closes them after do.
func run(ctx context.Context, s *stack.Stack, chromiumPath string, do func(*world)) error {
	a := s.Addresses()
	w := &world{stack: s, chromium: chromiumPath}
	store, closeStore, err := stack.OpenRegistry(ctx, a.Postgres)
	if err != nil {
		return err
	}
	defer closeStore()
	w.store = store
	if err := w.register(ctx); err != nil {
		return err
	}
	material, err := seal.ReadKeyFile(filepath.Join(a.KeysDir, seal.KeyFileName(seal.PurposeConsentToken)), seal.PurposeConsentToken)
	if err != nil {
		return err
	}
	if w.tokens, err = consent.NewTokens(material.Secret()); err != nil {
		return err
	}
	conn, err := clickhouse.Open(clickhouse.Config{URL: a.ClickHouseURL})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	w.rows = &rows{conn: conn, final: make(map[string][]string)}
	quiet := slog.New(slog.DiscardHandler)
	client, err := kafka.NewClient(kafka.Config{Brokers: a.KafkaBrokers}, quiet, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	if w.log, err = newTopics(a.KeysDir); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer stop()
	for topic, apply := range w.log.readers() {
		reading.Go(func() { _ = client.NewTable(topic, apply).Run(ctx) })
	}
	browser, stopBrowser, err := chromium.Start(context.Background(), chromiumPath, chromedp.UserAgent(agent),
		// As a visitor's: without it navigator.webdriver says that a program drives it.
		chromedp.Flag("disable-blink-features", "AutomationControlled"))
	if err != nil {
		return err
	}
	defer stopBrowser()
	w.browser = browser
	do(w)
	return nil
}

// register makes the tenant all sites belong to.
func (w *world) register(ctx context.Context) error {
	agency, err := w.store.CreateAgency(ctx, actor, "Bureau Test")
	if err != nil {
		return err
	}
	company, err := w.store.CreateTenant(ctx, actor, agency.ID, "Test BV")
	if err != nil {
		return err
	}
	if w.claim, err = tenant.OperatorClaim(company.CompanyID, actor); err != nil {
		return err
	}
	brand, err := w.store.CreateBrand(ctx, w.claim, "Test")
	w.brand = brand.ID
	return err
}

// tails is the end of each log, for a failure's message.
func tails(data string) string {
	const bytesMax = 2000
	var b strings.Builder
	logs, _ := filepath.Glob(filepath.Join(data, "log", "*.log"))
	for _, file := range logs {
		raw, _ := os.ReadFile(file)
		fmt.Fprintf(&b, "--- %s\n%s\n", filepath.Base(file), raw[max(0, len(raw)-bytesMax):])
	}
	return b.String()
}
