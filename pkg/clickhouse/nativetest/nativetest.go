package nativetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// revision of the protocol has parameters of statements, and no more than the
// door below speaks.
const revision = 54459

// Door speaks ClickHouse's native protocol on a TCP address of this machine.
type Door struct {
	t       testing.TB
	client  *http.Client
	ln      net.Listener
	inserts atomic.Int64
	closed  sync.Once
	served  sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]bool
	ended bool
}

// Open opens a door to the engine on a unix socket, until the test ends. With a
// certificate it speaks TLS.
func Open(t testing.TB, socketPath string, certificate *tls.Certificate) *Door {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socketPath)
	}}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if certificate != nil {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12})
	}
	d := &Door{t: t, client: &http.Client{Transport: transport}, ln: ln, open: make(map[net.Conn]bool)}
	d.served.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if d.enter(conn) {
				d.served.Go(func() {
					defer d.leave(conn)
					(&session{door: d, conn: conn, r: chproto.NewReader(conn)}).serve()
				})
			}
		}
	})
	t.Cleanup(func() { d.Close(); transport.CloseIdleConnections() })
	return d
}

// Address is its host and port.
func (d *Door) Address() string { return d.ln.Addr().String() }

// Inserts is how many inserts the engine took through it.
func (d *Door) Inserts() int64 { return d.inserts.Load() }

// Close ends the door and cuts its connections, as when a host is lost.
func (d *Door) Close() {
	d.closed.Do(func() {
		_ = d.ln.Close()
		d.mu.Lock()
		d.ended = true
		for conn := range d.open {
			_ = conn.Close()
		}
		d.mu.Unlock()
		d.served.Wait()
	})
}

func (d *Door) enter(conn net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		_ = conn.Close()
		return false
	}
	d.open[conn] = true
	return true
}

func (d *Door) leave(conn net.Conn) {
	_ = conn.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.open, conn)
}

type session struct {
	door     *Door
	conn     net.Conn
	r        *chproto.Reader
	out      chproto.Buffer
	database string
	packed   bool
}

// statement is a query with what was sent along.
type statement struct {
	sql    string
	values url.Values
}

// text, number and octet read what the protocol is made of; an error ends the
// connection.
func (c *session) text() string   { return must(c.r.Str()) }
func (c *session) number() uint64 { return must(c.r.UVarInt()) }
func (c *session) octet() byte    { return must(c.r.ReadByte()) }

func must[V any](v V, err error) V {
	if err != nil {
		panic(errProtocol{err})
	}
	return v
}

type errProtocol struct{ error }

func (c *session) serve() {
	defer func() {
		if e, ours := recover().(errProtocol); ours && !errors.Is(e.error, io.EOF) && !errors.Is(e.error, net.ErrClosed) {
			c.door.t.Logf("a native connection ended: %v", e.error)
		}
	}()
	c.hello()
	for {
		switch packet := c.octet(); packet {
		case proto.ClientPing:
			c.out.PutByte(proto.ServerPong)
			c.flush()
		case proto.ClientQuery:
			if err := c.run(c.query()); err != nil {
				c.exception(err)
			} else {
				c.out.PutByte(proto.ServerEndOfStream)
			}
			c.flush()
		default:
			panic(errProtocol{fmt.Errorf("packet %d", packet)})
		}
	}
}

func (c *session) flush() {
	must(c.conn.Write(c.out.Buf))
	c.out.Reset()
}

func (c *session) hello() {
	c.octet() // hello
	c.text()  // client
	for range 3 {
		c.number() // version and revision
	}
	c.database = c.text()
	c.text() // user
	c.text() // password
	c.out.PutByte(proto.ServerHello)
	c.out.PutString("ClickHouse")
	c.out.PutUVarInt(26)
	c.out.PutUVarInt(7)
	c.out.PutUVarInt(revision)
	c.out.PutString("UTC")
	c.out.PutString("door")
	c.out.PutUVarInt(2)
	c.flush()
	c.text() // quota key
}

// query reads a statement, and the empty block behind it.
func (c *session) query() statement {
	s := statement{values: url.Values{"database": {c.database}, "default_format": {"Native"}}}
	c.text()  // id
	c.octet() // kind
	for range 3 {
		c.text()
	}
	must(c.r.Int64()) // start
	c.octet()         // interface
	for range 3 {
		c.text()
	}
	for range 3 {
		c.number()
	}
	c.text()   // quota key
	c.number() // depth
	c.number() // patch
	if c.octet() != 0 {
		panic(errProtocol{errors.New("a trace")})
	}
	for range 3 {
		c.number() // replicas
	}
	for name := c.text(); name != ""; name = c.text() {
		c.number()
		s.values.Set(name, c.text())
	}
	c.text()  // secret
	c.octet() // stage
	c.packed = c.octet() != 0
	s.sql = c.text()
	unquote := strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\n`, "\n", `\r`, "\r", `\t`, "\t", `\0`, "\x00")
	for name := c.text(); name != ""; name = c.text() {
		c.number()
		value := c.text()
		s.values.Set("param_"+name, unquote.Replace(value[1:len(value)-1]))
	}
	c.block()
	return s
}

// block reads the next block of the client.
func (c *session) block() *proto.Block {
	if packet := c.octet(); packet != proto.ClientData {
		panic(errProtocol{fmt.Errorf("packet %d for a block", packet)})
	}
	c.text() // table
	if c.packed {
		c.r.EnableCompression()
		defer c.r.DisableCompression()
	}
	b := &proto.Block{ServerContext: serverContext()}
	must(0, b.Decode(c.r, revision))
	return b
}

// send writes a block to the client.
func (c *session) send(b *proto.Block) {
	c.out.PutByte(proto.ServerData)
	c.out.PutString("")
	var plain chproto.Buffer
	if b.Rows() > 0 {
		must(0, b.Encode(&plain, revision))
	} else { // a server writes nothing of a column but what it is
		must(0, b.EncodeHeader(&plain, revision))
		for _, col := range b.Columns {
			plain.PutString(col.Name())
			plain.PutString(string(col.Type()))
			plain.PutBool(false)
		}
	}
	if !c.packed {
		c.out.PutRaw(plain.Buf)
		return
	}
	w := compress.NewWriter(compress.LevelZero, compress.LZ4)
	must(0, w.Compress(plain.Buf))
	c.out.PutRaw(w.Data)
}

func (c *session) exception(err error) {
	code := 1000
	var refused errStatement
	if errors.As(err, &refused) {
		code = refused.code
	}
	c.out.PutByte(proto.ServerException)
	c.out.PutInt32(int32(code))
	c.out.PutString("DB::Exception")
	c.out.PutString(err.Error())
	c.out.PutString("")
	c.out.PutBool(false)
}

// errStatement is an exception of the engine.
type errStatement struct {
	code int
	text string
}

func (e errStatement) Error() string { return e.text }

// run hands a statement to the engine and its answer to the client.
func (c *session) run(s statement) error {
	if strings.HasPrefix(s.sql, "INSERT INTO ") && !strings.Contains(s.sql, "SELECT") {
		return c.insert(s)
	}
	body, err := c.ask(s.values, strings.NewReader(s.sql))
	if err != nil {
		return err
	}
	if len(body) == 0 && strings.HasPrefix(s.sql, "SELECT") {
		return c.sendNoRows(s)
	}
	return eachBlock(body, c.send)
}

// sendNoRows is the answer without rows, of which a server tells the columns, and the
// engine over HTTP nothing.
func (c *session) sendNoRows(s statement) error {
	body, err := c.ask(s.values, strings.NewReader("DESCRIBE TABLE ("+s.sql+")"))
	if err != nil {
		return err
	}
	none := &proto.Block{ServerContext: serverContext()}
	err = eachBlock(body, func(b *proto.Block) {
		for i := range b.Rows() {
			name, kind := fmt.Sprint(b.Columns[0].Row(i, false)), fmt.Sprint(b.Columns[1].Row(i, false))
			must(0, none.AddColumn(name, columnType(kind)))
		}
	})
	if err == nil {
		c.send(none)
	}
	return err
}

// insert tells the client the columns, takes its blocks and writes them.
func (c *session) insert(s statement) error {
	table, rest, _ := strings.Cut(strings.TrimPrefix(s.sql, "INSERT INTO "), " ")
	names := strings.Split(rest[strings.Index(rest, "(")+1:strings.Index(rest, ")")], ",")
	for i := range names {
		names[i] = strings.Trim(names[i], " `")
	}
	body, err := c.ask(url.Values{"database": {c.database}, "default_format": {"Native"}}, strings.NewReader("DESCRIBE TABLE "+table))
	if err != nil {
		return err
	}
	types := make(map[string]string)
	if err := eachBlock(body, func(b *proto.Block) {
		for i := range b.Rows() {
			types[fmt.Sprint(b.Columns[0].Row(i, false))] = fmt.Sprint(b.Columns[1].Row(i, false))
		}
	}); err != nil {
		return err
	}
	sample := &proto.Block{ServerContext: serverContext()}
	for _, name := range names {
		if err := sample.AddColumn(name, columnType(types[name])); err != nil {
			return err
		}
	}
	c.send(sample)
	c.flush()
	var data chproto.Buffer
	for b := c.block(); b.Rows() > 0; b = c.block() {
		if err := b.Encode(&data, 0); err != nil {
			return err
		}
	}
	if len(data.Buf) == 0 {
		return nil
	}
	s.values.Set("query", "INSERT INTO "+table+" ("+strings.Join(names, ", ")+") FORMAT Native")
	if _, err = c.ask(s.values, bytes.NewReader(data.Buf)); err == nil {
		c.door.inserts.Add(1)
	}
	return err
}

func eachBlock(body []byte, each func(*proto.Block)) error {
	r := chproto.NewReader(bytes.NewReader(body))
	for {
		b := &proto.Block{ServerContext: serverContext()}
		switch err := b.Decode(r, 0); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		each(b)
	}
}

func (c *session) ask(values url.Values, body io.Reader) ([]byte, error) {
	res, err := c.door.client.Post("http://clickhouse/?"+values.Encode(), "application/octet-stream", body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		code, _ := strconv.Atoi(res.Header.Get("X-ClickHouse-Exception-Code"))
		return nil, errStatement{code, string(answer)}
	}
	return answer, err
}

// serverContext is what the driver wants to know of a server to read blocks.
func serverContext() *column.ServerContext {
	return &column.ServerContext{Revision: revision, VersionMajor: 26, VersionMinor: 7, VersionPatch: 2, Timezone: time.UTC}
}

func columnType(text string) column.Type { return column.Type(text) }
