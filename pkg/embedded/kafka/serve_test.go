package kafka_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	embedded "github.com/metiva-io/metiva/pkg/embedded/kafka"
	"github.com/metiva-io/metiva/pkg/kafka"
)

// The test binary is its own child: with these set it serves the broker, as
// `metiva embedded kafka` does.
const (
	childDir    = "METIVA_TEST_SERVE_DIR"
	childListen = "METIVA_TEST_SERVE_LISTEN"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := embedded.Serve(ctx, embedded.Config{DataDir: dir, Listen: os.Getenv(childListen)},
			slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// child starts a broker process and waits until it is ready.
func child(t *testing.T, dir, listen string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childListen+"="+listen)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	probe := embedded.Probe(listen)
	for {
		if probe(context.Background()) == nil {
			return cmd
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the broker is not ready")
		}
	}
}

func client(t *testing.T, listen string) *kafka.Client {
	t.Helper()
	c, err := kafka.NewClient(kafka.Config{Brokers: []string{listen}, RequestTimeout: 2 * time.Second}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// What is acknowledged before SIGKILL is there after it, once and in order,
// on the same port, with the group's offset; and nothing stale is in the way.
func TestServeSurvivesKill(t *testing.T) {
	t.Parallel()
	dir, listen := filepath.Join(t.TempDir(), "kafka"), freeAddress(t)
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := child(t, dir, listen)
	c := client(t, listen)
	specs := []kafka.TopicSpec{{Name: "t", Partitions: 1, Retention: time.Hour}, {Name: "table", Partitions: 1, Compacted: true}}
	if err := c.EnsureTopics(ctx, specs); err != nil {
		t.Fatal(err)
	}
	p, err := c.NewProducer(kafka.ProducerConfig{Linger: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	runCtx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.Run(runCtx) }()

	// One goroutine sends one record after the other through three kills.
	var acked atomic.Int64
	sent := make(chan error, 1)
	go func() {
		for i := range 600 {
			if err := p.ProduceSync(ctx, "t", 0, nil, fmt.Append(nil, i)); err != nil {
				sent <- fmt.Errorf("record %d: %w", i, err)
				return
			}
			acked.Add(1)
		}
		sent <- nil
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	if first := commitOne(t, c); first != 0 {
		t.Errorf("the group began at %d", first)
	}
	for _, at := range []int64{100, 250, 400} {
		for acked.Load() < at {
			select {
			case err := <-sent:
				t.Fatalf("sending has ended early: %v", err)
			case <-tick.C:
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		cmd = child(t, dir, listen)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	stop()
	<-ended
	if first := commitOne(t, c); first != 1 {
		t.Errorf("after the kills the group begins at %d, 1 was committed", first)
	}

	checkNumbers(t, ctx, c, 600)
}

// checkNumbers fails unless the topic holds the numbers 0..n-1, once each and
// in order.
func checkNumbers(t *testing.T, ctx context.Context, c *kafka.Client, n int) {
	t.Helper()
	var values []string
	table := c.NewTable("t", func(_, value []byte) error {
		values = append(values, string(value))
		return nil
	})
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- table.Run(ctx) }()
	select {
	case <-table.Ready():
	case <-ctx.Done():
		t.Fatal("reading took too long")
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if len(values) != n {
		t.Errorf("%d records in the log, %d were acknowledged", len(values), n)
	}
	for i, v := range values {
		if v != fmt.Sprint(i) {
			t.Fatalf("record %d holds %s", i, v)
		}
	}
}

// commitOne takes one record in the group's name, commits it, and gives its
// offset.
func commitOne(t *testing.T, c *kafka.Client) int64 {
	t.Helper()
	consumer, err := c.NewConsumer(kafka.ConsumerConfig{Group: "g", Topics: []string{"t"}, HeartbeatInterval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	first := make(chan int64, 1)
	err = consumer.Run(ctx, func(ctx context.Context, claim *kafka.Claim) error {
		b, err := claim.NextBatch(ctx, kafka.BatchLimit{RecordsMax: 1})
		if err == nil {
			err = claim.Commit(ctx, b)
		}
		if err == nil {
			first <- b.First
			cancel()
			<-ctx.Done()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case offset := <-first:
		return offset
	default:
		t.Fatal("the group has read nothing")
		return -1
	}
}

func TestServeRefusesASecondBroker(t *testing.T) {
	t.Parallel()
	dir, listen := t.TempDir(), freeAddress(t)
	child(t, dir, listen)
	err := embedded.Serve(t.Context(), embedded.Config{DataDir: dir, Listen: freeAddress(t)}, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("two brokers share a data directory")
	}
}

func TestServeStopsOnContext(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{DataDir: t.TempDir(), Listen: freeAddress(t), CleanEvery: time.Millisecond}
	for range 2 { // the same directory and port again
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- embedded.Serve(ctx, cfg, slog.New(slog.DiscardHandler)) }()
		tick := time.NewTicker(5 * time.Millisecond)
		for embedded.Probe(cfg.Listen)(ctx) != nil {
			select {
			case err := <-done:
				t.Fatalf("serve: %v", err)
			case <-tick.C:
			}
		}
		tick.Stop()
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("serve has not ended")
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cfg embedded.Config
		ok  bool
	}{
		{embedded.Config{DataDir: "d", Listen: "127.0.0.1:9092"}, true},
		{embedded.Config{DataDir: "d", Listen: "[::1]:9092"}, true},
		{embedded.Config{Listen: "127.0.0.1:9092"}, false},
		{embedded.Config{DataDir: "d", Listen: "0.0.0.0:9092"}, false},
		{embedded.Config{DataDir: "d", Listen: "127.0.0.1:0"}, false},
		{embedded.Config{DataDir: "d", Listen: "localhost:9092"}, false},
		{embedded.Config{DataDir: "d", Listen: "127.0.0.1:1", CleanEvery: -1}, false},
	} {
		if err := tc.cfg.Validate(); (err == nil) != tc.ok {
			t.Errorf("%+v: %v", tc.cfg, err)
		}
	}
}
