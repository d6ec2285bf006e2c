package metiva

import (
	"context"
	"log/slog"

	"github.com/metiva-io/metiva/pkg/embedded/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/kafka"
	"github.com/metiva-io/metiva/pkg/obs"
)

// embeddedCommand hosts an engine that is a library; `metiva up` runs it as a
// supervised child.
type embeddedCommand struct {
	Kafka      embeddedKafka      `cmd:""`
	Clickhouse embeddedClickHouse `cmd:""`
}

type embeddedKafka struct {
	Data   string `required:"" help:"Directory of the log."`
	Listen string `required:"" help:"Loopback address and port."`
}

// Run serves until the context ends.
func (c *embeddedKafka) Run(ctx context.Context, t terminal) error {
	return kafka.Serve(ctx, kafka.Config{DataDir: c.Data, Listen: c.Listen}, obs.NewLogger(t.err, "kafka", slog.LevelInfo))
}

type embeddedClickHouse struct {
	Data    string `required:"" help:"Directory of the tables."`
	Socket  string `required:"" help:"Unix socket to serve on."`
	Library string `required:"" help:"Path of libchdb.so."`
}

// Run serves until the context ends.
func (c *embeddedClickHouse) Run(ctx context.Context, t terminal) error {
	cfg := clickhouse.Config{LibraryPath: c.Library, DataDir: c.Data, SocketPath: c.Socket}
	return clickhouse.Serve(ctx, cfg, obs.NewLogger(t.err, "clickhouse", slog.LevelInfo))
}
