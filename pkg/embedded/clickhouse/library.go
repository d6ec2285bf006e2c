package clickhouse

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is libchdb's C interface (chdb.h of 26.7), bound without cgo. All
// handles are pointers owned by the library.
type library struct {
	connect  func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	close    func(conn unsafe.Pointer)
	signals  func(enabled int32)
	shutdown func() int32

	query       func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr) unsafe.Pointer
	queryParams func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer

	stream       func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr) unsafe.Pointer
	streamParams func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	fetch        func(conn, stream unsafe.Pointer) unsafe.Pointer
	cancel       func(conn, stream unsafe.Pointer)

	insert        func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr) unsafe.Pointer
	insertAppend  func(stream, data unsafe.Pointer, n uintptr) int32
	insertDone    func(stream unsafe.Pointer) unsafe.Pointer
	insertError   func(stream unsafe.Pointer) unsafe.Pointer
	insertCancel  func(stream unsafe.Pointer)
	insertDestroy func(stream unsafe.Pointer)

	destroy     func(result unsafe.Pointer)
	buffer      func(result unsafe.Pointer) unsafe.Pointer
	length      func(result unsafe.Pointer) uintptr
	resultError func(result unsafe.Pointer) unsafe.Pointer
	rowsWritten func(result unsafe.Pointer) uint64
}

// loadLibrary loads libchdb into this process. It can not be unloaded.
func loadLibrary(path string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", path, err)
	}
	l := new(library)
	symbols := []struct {
		fn   any
		name string
	}{
		{&l.connect, "chdb_connect"},
		{&l.close, "chdb_close_conn"},
		{&l.signals, "chdb_set_signal_handlers_enabled"},
		{&l.shutdown, "chdb_shutdown"},
		{&l.query, "chdb_query_n"},
		{&l.queryParams, "chdb_query_with_params_n"},
		{&l.stream, "chdb_stream_query_n"},
		{&l.streamParams, "chdb_stream_query_with_params_n"},
		{&l.fetch, "chdb_stream_fetch_result"},
		{&l.cancel, "chdb_stream_cancel_query"},
		{&l.insert, "chdb_stream_insert_n"},
		{&l.insertAppend, "chdb_stream_append"},
		{&l.insertDone, "chdb_stream_done"},
		{&l.insertError, "chdb_stream_insert_error"},
		{&l.insertCancel, "chdb_stream_cancel_insert"},
		{&l.insertDestroy, "chdb_destroy_insert_stream"},
		{&l.destroy, "chdb_destroy_query_result"},
		{&l.buffer, "chdb_result_buffer"},
		{&l.length, "chdb_result_length"},
		{&l.resultError, "chdb_result_error"},
		{&l.rowsWritten, "chdb_result_rows_written"},
	}
	for _, s := range symbols {
		address, err := purego.Dlsym(handle, s.name)
		if err != nil {
			return nil, fmt.Errorf("%s has no %s (26.7.3 or newer is needed): %w", path, s.name, err)
		}
		purego.RegisterFunc(s.fn, address)
	}
	// Go owns the signals of this process.
	l.signals(0)
	return l, nil
}

// Error is an exception of the engine, or a refusal by the shim with the code
// the engine uses for the same thing (ClickHouse's ErrorCodes.cpp).
type Error struct {
	Code    int
	Message string
}

func (e *Error) Error() string { return e.Message }

var codePattern = regexp.MustCompile(`^\s*Code: (\d+)`)

func engineError(message string) *Error {
	e := &Error{Code: codeUnknownException, Message: message}
	if m := codePattern.FindStringSubmatch(message); m != nil {
		e.Code, _ = strconv.Atoi(m[1])
	}
	return e
}

var errNoResult = errors.New("the engine returned no result")

// session is one connection inside the engine. It runs one statement at a
// time; its user is serialised by the pool.
type session struct {
	lib    *library
	handle unsafe.Pointer // chdb_connection *
}

func (l *library) open(args ...string) (*session, error) {
	argv := append([]string{"clickhouse"}, args...)
	var pin runtime.Pinner
	defer pin.Unpin()
	pointers := make([]unsafe.Pointer, len(argv)+1)
	for i, a := range argv {
		pointers[i] = pinned(&pin, append([]byte(a), 0))
	}
	pin.Pin(&pointers[0])
	handle := l.connect(int32(len(argv)), unsafe.Pointer(&pointers[0]))
	if handle == nil {
		return nil, errors.New("opening a connection inside the engine: it gave no reason")
	}
	return &session{lib: l, handle: handle}, nil
}

func (s *session) close() {
	if s.handle != nil {
		s.lib.close(s.handle)
		s.handle = nil
	}
}

// conn is the connection inside its handle.
func (s *session) conn() unsafe.Pointer { return *(*unsafe.Pointer)(s.handle) }

type parameter struct{ name, value string }

// exec runs a statement whose answer does not matter.
func (s *session) exec(sql string) error {
	_, err := s.run(sql, "TabSeparated", nil)
	return err
}

// run returns the whole answer of a statement.
func (s *session) run(sql, format string, params []parameter) ([]byte, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	q, f := pinned(&pin, []byte(sql)), pinned(&pin, []byte(format))
	var r unsafe.Pointer
	if len(params) == 0 {
		r = s.lib.query(s.conn(), q, uintptr(len(sql)), f, uintptr(len(format)))
	} else {
		p := pinParameters(&pin, params)
		r = s.lib.queryParams(s.conn(), q, uintptr(len(sql)), f, uintptr(len(format)), p.names, p.nameLens, p.values, p.valueLens, uintptr(len(params)))
	}
	data, _, err := s.lib.take(r)
	return data, err
}

// runStream hands each chunk of the answer to out. The chunk is out's to keep.
func (s *session) runStream(sql, format string, params []parameter, out func([]byte) error) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	q, f := pinned(&pin, []byte(sql)), pinned(&pin, []byte(format))
	var stream unsafe.Pointer
	if len(params) == 0 {
		stream = s.lib.stream(s.conn(), q, uintptr(len(sql)), f, uintptr(len(format)))
	} else {
		p := pinParameters(&pin, params)
		stream = s.lib.streamParams(s.conn(), q, uintptr(len(sql)), f, uintptr(len(format)), p.names, p.nameLens, p.values, p.valueLens, uintptr(len(params)))
	}
	if stream == nil {
		return errNoResult
	}
	defer s.lib.destroy(stream)
	if e := s.lib.resultError(stream); e != nil {
		return engineError(cString(e))
	}
	for {
		r := s.lib.fetch(s.conn(), stream)
		if r == nil {
			return nil
		}
		data, _, err := s.lib.take(r)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return nil
		}
		if err := out(data); err != nil {
			s.lib.cancel(s.conn(), stream)
			return err
		}
	}
}

// runInsert feeds the chunks of next to an INSERT without its FORMAT clause,
// until next returns an empty chunk. It returns the number of rows written. An
// error of next cancels the insert: what the engine has not yet put in a part
// is gone.
func (s *session) runInsert(sql, format string, next func() ([]byte, error)) (uint64, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	q, f := pinned(&pin, []byte(sql)), pinned(&pin, []byte(format))
	stream := s.lib.insert(s.conn(), q, uintptr(len(sql)), f, uintptr(len(format)))
	if stream == nil {
		return 0, errNoResult
	}
	defer s.lib.insertDestroy(stream)
	if e := s.lib.insertError(stream); e != nil {
		return 0, engineError(cString(e))
	}
	for {
		chunk, err := next()
		if err != nil {
			s.lib.insertCancel(stream)
			return 0, err
		}
		if len(chunk) == 0 {
			break
		}
		var chunkPin runtime.Pinner
		status := s.lib.insertAppend(stream, pinned(&chunkPin, chunk), uintptr(len(chunk)))
		chunkPin.Unpin()
		if status != 0 {
			if e := s.lib.insertError(stream); e != nil {
				return 0, engineError(cString(e))
			}
			return 0, errors.New("the engine took no more data and gave no reason")
		}
	}
	_, rows, err := s.lib.take(s.lib.insertDone(stream))
	return rows, err
}

// take copies a result out of the engine and frees it.
func (l *library) take(r unsafe.Pointer) (data []byte, rowsWritten uint64, err error) {
	if r == nil {
		return nil, 0, errNoResult
	}
	defer l.destroy(r)
	if e := l.resultError(r); e != nil {
		return nil, 0, engineError(cString(e))
	}
	if n := l.length(r); n > 0 {
		data = append([]byte(nil), unsafe.Slice((*byte)(l.buffer(r)), n)...)
	}
	return data, l.rowsWritten(r), nil
}

type parameterPointers struct{ names, nameLens, values, valueLens unsafe.Pointer }

func pinParameters(pin *runtime.Pinner, params []parameter) parameterPointers {
	n := len(params)
	names, values := make([]unsafe.Pointer, n), make([]unsafe.Pointer, n)
	nameLens, valueLens := make([]uintptr, n), make([]uintptr, n)
	for i, p := range params {
		names[i], nameLens[i] = pinned(pin, append([]byte(p.name), 0)), uintptr(len(p.name))
		values[i], valueLens[i] = pinned(pin, append([]byte(p.value), 0)), uintptr(len(p.value))
	}
	pin.Pin(&names[0])
	pin.Pin(&values[0])
	pin.Pin(&nameLens[0])
	pin.Pin(&valueLens[0])
	return parameterPointers{
		unsafe.Pointer(&names[0]), unsafe.Pointer(&nameLens[0]),
		unsafe.Pointer(&values[0]), unsafe.Pointer(&valueLens[0]),
	}
}

// pinned is the address of b for the duration of a call; nil when b is empty.
func pinned(pin *runtime.Pinner, b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return nil
	}
	pin.Pin(&b[0])
	return unsafe.Pointer(&b[0])
}

// cString copies a NUL-terminated string of the library.
func cString(p unsafe.Pointer) string {
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}
