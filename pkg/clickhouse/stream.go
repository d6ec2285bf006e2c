package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// ErrNeedsHTTP is returned by Stream on a connection of the native protocol, over
// which a server writes its own blocks and no other format.
var ErrNeedsHTTP = errors.New("clickhouse writes formats over HTTP only: give its http or https address")

// Stream runs a statement and returns its answer as the server writes it in a
// format ("Parquet"), piece by piece: what is not read yet is not held here. The
// caller closes it, and a statement that is not read to its end is given up.
//
// A statement that fails after its answer began fails the read that follows, never
// with io.EOF, so that an answer read to io.EOF is whole. Its beginning was handed
// out by then.
func (c *Conn) Stream(ctx context.Context, sql, format string, options ...Option) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	ctx, err := c.prepare(ctx, options)
	if err != nil {
		cancel()
		return nil, err
	}
	body, err := c.driver.QueryFormat(ctx, format, sql)
	if err != nil {
		cancel()
		if errors.Is(err, driver.ErrFormatNativeUnsupported) {
			return nil, ErrNeedsHTTP
		}
		return nil, fmt.Errorf("asking clickhouse for %s: %w", format, quiet(err))
	}
	return &stream{body: body, cancel: cancel}, nil
}

// stream is an answer whose errors are quiet, and whose statement ends with it.
type stream struct {
	body   io.ReadCloser
	cancel context.CancelFunc
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = quiet(err)
	}
	return n, err
}

func (s *stream) Close() error {
	s.cancel()
	return quiet(s.body.Close())
}
