package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/valyala/fasthttp"
)

// ServeBare answers every request with 204 until ctx ends: the least a fasthttp
// server can do once it has read a request.
func ServeBare(ctx context.Context, listen string, log *slog.Logger) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listening for the bare handler: %w", err)
	}
	server := &fasthttp.Server{
		Handler:               func(ctx *fasthttp.RequestCtx) { ctx.SetStatusCode(fasthttp.StatusNoContent) },
		ReadBufferSize:        bareHeaderBytesMax,
		CloseOnShutdown:       true,
		NoDefaultServerHeader: true,
		NoDefaultContentType:  true,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	log.Info("the bare handler is listening", slog.String("address", listen))
	select {
	case err := <-served:
		return fmt.Errorf("serving the bare handler: %w", err)
	case <-ctx.Done():
	}
	if err := server.Shutdown(); err != nil {
		return fmt.Errorf("stopping the bare handler: %w", err)
	}
	return nil
}

// bareHeaderBytesMax is the collector's default.
const bareHeaderBytesMax = 8 << 10
