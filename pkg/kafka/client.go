package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"
)

// Client is a connection pool to one cluster. Its methods may be used from
// many goroutines.
type Client struct {
	cfg       Config
	log       *slog.Logger
	metrics   *metrics
	addr      net.Addr
	transport *kafkago.Transport
	dialer    *kafkago.Dialer
	api       *kafkago.Client
	now       func() time.Time
	memories  memories
	answers   sync.Pool // of *[]byte: memory of fetches that nothing refers to any more

	mu        sync.Mutex
	refreshed time.Time
}

// refreshEvery bounds how often connections are renewed to learn the layout
// of the cluster anew.
const refreshEvery = 100 * time.Millisecond

// NewClient checks the configuration and prepares a client; nothing is dialled.
func NewClient(cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	tlsConfig, err := cfg.tlsConfig()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("registering kafka metrics: %w", err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	mechanism := cfg.saslMechanism()
	transport := &kafkago.Transport{
		Dial:        (&net.Dialer{Timeout: cfg.DialTimeout}).DialContext,
		DialTimeout: cfg.DialTimeout,
		MetadataTTL: cfg.MetadataTTL,
		ClientID:    cfg.ClientID,
		TLS:         tlsConfig,
		SASL:        mechanism,
	}
	c := &Client{
		cfg:       cfg,
		log:       log,
		metrics:   m,
		addr:      kafkago.TCP(cfg.Brokers...),
		transport: transport,
		dialer:    &kafkago.Dialer{ClientID: cfg.ClientID, Timeout: cfg.DialTimeout, TLS: tlsConfig, SASLMechanism: mechanism},
		now:       time.Now,
	}
	c.api = &kafkago.Client{Addr: c.addr, Timeout: cfg.RequestTimeout, Transport: transport}
	return c, nil
}

// Close closes idle connections. End producers, consumers and tables first.
func (c *Client) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// Ping asks a broker for its API versions.
func (c *Client) Ping(ctx context.Context) error {
	res, err := c.api.ApiVersions(ctx, &kafkago.ApiVersionsRequest{})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		c.noteError(err)
		return fmt.Errorf("pinging kafka: %w", err)
	}
	return nil
}

// noteError renews what is known about the cluster when the error says it may
// be out of date. kafka-go has no way to ask for that, but a new connection
// pool starts with new metadata. Requests under way keep their connections.
func (c *Client) noteError(err error) {
	if !wantsRefresh(err) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.refreshed) >= refreshEvery {
		c.refreshed = now
		c.transport.CloseIdleConnections()
	}
}

// Partitions gives the number of partitions of a topic.
func (c *Client) Partitions(ctx context.Context, topic string) (int, error) {
	var last error
	for range 3 {
		n, err := c.partitionsOnce(ctx, topic)
		if err == nil {
			return n, nil
		}
		last = err
		if ctx.Err() != nil || !isTransient(err) {
			break
		}
		c.noteError(err)
		if !sleep(ctx, refreshEvery) {
			break
		}
	}
	return 0, fmt.Errorf("asking kafka for the partitions of %s: %w", topic, last)
}

func (c *Client) partitionsOnce(ctx context.Context, topic string) (int, error) {
	res, err := c.api.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	if len(res.Topics) != 1 {
		return 0, kafkago.UnknownTopicOrPartition
	}
	if err := res.Topics[0].Error; err != nil {
		return 0, err
	}
	if len(res.Topics[0].Partitions) == 0 {
		return 0, kafkago.LeaderNotAvailable
	}
	return len(res.Topics[0].Partitions), nil
}

// EndOffsets gives the next offset of each partition of a topic: every record
// that is in the topic now has a lower one.
func (c *Client) EndOffsets(ctx context.Context, topic string) (map[int]int64, error) {
	return c.offsets(ctx, topic, kafkago.LastOffset)
}

// offsets lists kafkago.FirstOffset or kafkago.LastOffset of each partition.
func (c *Client) offsets(ctx context.Context, topic string, which int64) (map[int]int64, error) {
	n, err := c.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	req := make([]kafkago.OffsetRequest, n)
	for i := range req {
		req[i] = kafkago.OffsetRequest{Partition: i, Timestamp: which}
	}
	var last error
	for range 5 {
		var out map[int]int64
		if out, last = c.offsetsOnce(ctx, topic, req, which); last == nil {
			return out, nil
		}
		if ctx.Err() != nil || !isTransient(last) {
			break
		}
		c.noteError(last)
		if !sleep(ctx, refreshEvery) {
			break
		}
	}
	return nil, fmt.Errorf("listing offsets of %s: %w", topic, last)
}

func (c *Client) offsetsOnce(ctx context.Context, topic string, req []kafkago.OffsetRequest, which int64) (map[int]int64, error) {
	res, err := c.api.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{topic: req}})
	if err != nil {
		return nil, err
	}
	out := make(map[int]int64, len(req))
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return nil, p.Error
		}
		if which == kafkago.FirstOffset {
			out[p.Partition] = p.FirstOffset
		} else {
			out[p.Partition] = p.LastOffset
		}
	}
	if len(out) != len(req) {
		return nil, errors.New("kafka: answer does not cover every partition")
	}
	return out, nil
}

// firstOffset gives the offset of the oldest record of one partition.
func (c *Client) firstOffset(ctx context.Context, topic string, partition int) (int64, error) {
	req := []kafkago.OffsetRequest{kafkago.FirstOffsetOf(partition)}
	out, err := c.offsetsOnce(ctx, topic, req, kafkago.FirstOffset)
	if err != nil {
		return 0, err
	}
	return out[partition], nil
}
