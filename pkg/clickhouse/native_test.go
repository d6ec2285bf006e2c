package clickhouse_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/embedded/clickhouse/clickhousetest"
	"github.com/metiva-io/metiva/pkg/secret"
)

// nativeRevision of the protocol has parameters of statements, and no more than the
// door below speaks.
const nativeRevision = 54459

// nativeDoor speaks ClickHouse's native protocol on a TCP address, as far as
// clickhouse-go uses it, and hands each statement to an embedded engine, which itself
// speaks HTTP only. Blocks cross it decoded and written anew.
type nativeDoor struct {
	t      *testing.T
	client *http.Client
	ln     net.Listener
}

// openNative opens a door. With a certificate it speaks TLS.
func openNative(t *testing.T, engine *clickhousetest.Server, certificate *tls.Certificate) *nativeDoor {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", engine.Config().SocketPath)
	}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if certificate != nil {
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{*certificate}, MinVersion: tls.VersionTLS12})
	}
	d := &nativeDoor{t: t, client: &http.Client{Transport: transport}, ln: ln}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go (&nativeConn{door: d, conn: conn, r: chproto.NewReader(conn)}).serve()
		}
	}()
	t.Cleanup(func() { _ = ln.Close(); <-served; transport.CloseIdleConnections() })
	return d
}

type nativeConn struct {
	door     *nativeDoor
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
func (c *nativeConn) text() string   { return must(c.r.Str()) }
func (c *nativeConn) number() uint64 { return must(c.r.UVarInt()) }
func (c *nativeConn) octet() byte    { return must(c.r.ReadByte()) }

func must[V any](v V, err error) V {
	if err != nil {
		panic(errNative{err})
	}
	return v
}

type errNative struct{ error }

func (c *nativeConn) serve() {
	defer func() {
		_ = c.conn.Close()
		if e, ours := recover().(errNative); ours && !errors.Is(e.error, io.EOF) && !errors.Is(e.error, net.ErrClosed) {
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
			panic(errNative{fmt.Errorf("packet %d", packet)})
		}
	}
}

func (c *nativeConn) flush() {
	must(c.conn.Write(c.out.Buf))
	c.out.Reset()
}

func (c *nativeConn) hello() {
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
	c.out.PutUVarInt(nativeRevision)
	c.out.PutString("UTC")
	c.out.PutString("door")
	c.out.PutUVarInt(2)
	c.flush()
	c.text() // quota key
}

// query reads a statement, and the empty block behind it.
func (c *nativeConn) query() statement {
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
		panic(errNative{errors.New("a trace")})
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
func (c *nativeConn) block() *proto.Block {
	if packet := c.octet(); packet != proto.ClientData {
		panic(errNative{fmt.Errorf("packet %d for a block", packet)})
	}
	c.text() // table
	if c.packed {
		c.r.EnableCompression()
		defer c.r.DisableCompression()
	}
	b := &proto.Block{ServerContext: serverContext()}
	must(0, b.Decode(c.r, nativeRevision))
	return b
}

// send writes a block to the client.
func (c *nativeConn) send(b *proto.Block) {
	c.out.PutByte(proto.ServerData)
	c.out.PutString("")
	var plain chproto.Buffer
	if b.Rows() > 0 {
		must(0, b.Encode(&plain, nativeRevision))
	} else { // a server writes nothing of a column but what it is
		must(0, b.EncodeHeader(&plain, nativeRevision))
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

func (c *nativeConn) exception(err error) {
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
func (c *nativeConn) run(s statement) error {
	if strings.HasPrefix(s.sql, "INSERT INTO ") && !strings.Contains(s.sql, "SELECT") {
		return c.insert(s)
	}
	body, err := c.ask(s.values, strings.NewReader(s.sql))
	if err != nil {
		return err
	}
	return eachBlock(body, c.send)
}

// insert tells the client the columns, takes its blocks and writes them.
func (c *nativeConn) insert(s statement) error {
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
	_, err = c.ask(s.values, bytes.NewReader(data.Buf))
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

func (c *nativeConn) ask(values url.Values, body io.Reader) ([]byte, error) {
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

// TestBothProtocols: statements, parameters, typed errors, inserts with their tokens
// and dictionaries do the same over the native protocol, plain and with TLS, as over
// HTTP, where the other tests of this package are.
func TestBothProtocols(t *testing.T) {
	t.Parallel()
	engine := clickhousetest.Start(t)
	withTLS := httptest.NewUnstartedServer(nil)
	withTLS.StartTLS()
	t.Cleanup(withTLS.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: withTLS.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	plain, secured := openNative(t, engine, nil), openNative(t, engine, &withTLS.TLS.Certificates[0])
	for name, cfg := range map[string]clickhouse.Config{
		"http":           {URL: secret.New("http+unix://" + engine.Config().SocketPath + "?database=default")},
		"https":          {URL: secret.New("https://" + openDoor(t, engine, true).address() + "/default"), TLSCAFile: ca},
		"native":         {URL: secret.New("clickhouse://" + plain.ln.Addr().String() + "/default")},
		"native and TLS": {URL: secret.New("clickhouses://" + secured.ln.Addr().String() + "/default"), TLSCAFile: ca},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := clickhouse.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			checkProtocol(t, c, "t_"+strings.ReplaceAll(name, " ", "_"))
		})
	}
	c, err := clickhouse.Open(clickhouse.Config{URL: secret.New("clickhouses://" + secured.ln.Addr().String() + "/default")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.Ping(context.Background()); err == nil {
		t.Error("a certificate of nobody we know is taken")
	}
}

func checkProtocol(t *testing.T, c *clickhouse.Conn, table string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Exec(ctx, "CREATE TABLE "+table+" (n UInt64, at DateTime64(3, 'UTC'), word LowCardinality(String), raw String, m Map(String, String), CONSTRAINT small CHECK n < 1000) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"); err != nil {
		t.Fatal(err)
	}
	insert := func(token string, numbers ...uint64) error {
		words := clickhouse.NewDictionary()
		times, raws, maps := make([]int64, len(numbers)), make([][]byte, len(numbers)), make([]map[string]string, len(numbers))
		for i, n := range numbers {
			words.Add(fmt.Sprintf("word %d", n%2))
			times[i], raws[i], maps[i] = 1_790_000_000_000+int64(n), []byte("\x00\n\xff'"), map[string]string{"k": fmt.Sprint(n)}
		}
		return c.Insert(ctx, table, token, []clickhouse.Column{
			{Name: "n", Values: numbers}, {Name: "at", Values: times}, {Name: "word", Values: words}, {Name: "raw", Values: raws}, {Name: "m", Values: maps},
		})
	}
	for _, token := range []string{"a", "a", "b"} { // the second is no insert
		if err := insert(token, 1, 2, 3); err != nil {
			t.Fatal(err)
		}
	}
	if err := insert("c", 5000); !clickhouse.DataFault(err) {
		t.Errorf("a refused row: %v", err)
	}
	for _, hostile := range []string{"it's", `back\slash`, "tab\tline\n", "日本", `{x:String}`} {
		var back string
		if err := c.QueryRow(ctx, "SELECT {s:String}", clickhouse.Param("s", hostile)).Scan(&back); err != nil || back != hostile {
			t.Errorf("parameter %q came back as %q, %v", hostile, back, err)
		}
	}
	rows := 0
	err := c.Each(ctx, "SELECT n, at, word, raw, m['k'] FROM "+table+" WHERE n IN {ns:Array(UInt64)}", func(scan func(...any) error) error {
		var n uint64
		var at time.Time
		var word, raw, k string
		if err := scan(&n, &at, &word, &raw, &k); err != nil {
			return err
		}
		if rows++; at.UnixMilli() != 1_790_000_000_000+int64(n) || word != fmt.Sprintf("word %d", n%2) || raw != "\x00\n\xff'" || k != fmt.Sprint(n) {
			t.Errorf("row %d is %s, %q, %q, %q", n, at, word, raw, k)
		}
		return nil
	}, clickhouse.Param("ns", []uint64{1, 2, 3}), clickhouse.Setting("max_threads", 1))
	if err != nil || rows != 6 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if err := c.Exec(ctx, "DROP TABLE nosuch"); err == nil {
		t.Error("a table that is not there is dropped")
	} else if code, _ := clickhouse.Code(err); code != clickhouse.CodeUnknownTable {
		t.Errorf("code %d: %v", code, err)
	}
}

// serverContext is what the driver wants to know of a server to read blocks.
func serverContext() *column.ServerContext {
	return &column.ServerContext{Revision: nativeRevision, VersionMajor: 26, VersionMinor: 7, VersionPatch: 2, Timezone: time.UTC}
}

func columnType(text string) column.Type { return column.Type(text) }
