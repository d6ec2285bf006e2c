package clickhouse

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// helloSQL is the query clickhouse-go sends first on each connection.
const helloSQL = "SELECT displayName(), version(), revision(), timezone()"

// urlBytesMax bounds the URL and headers of a request: statement parameters
// travel in it. ClickHouse's own limit on the URI is the same 1 MiB.
const urlBytesMax = 1 << 20

// tagPrefix starts the comment put before a streamed statement, by which it is
// found when it has to be cancelled.
const tagPrefix = "/* metiva:"

// handler is ClickHouse's HTTP interface (https://clickhouse.com/docs/interfaces/http)
// as far as clickhouse-go uses it.
type handler struct {
	cfg    Config
	engine *engine
	log    *slog.Logger
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		_, _ = io.WriteString(w, "Ok.\n")
		return
	}
	values := r.URL.Query()
	sql, body, err := h.readStatement(w, r, values)
	if err != nil {
		writeError(w, err)
		return
	}
	if sql == helloSQL {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(h.engine.hello)
		return
	}
	st, err := parseStatement(sql, body != nil)
	if err != nil {
		writeError(w, err)
		return
	}
	settings, params, err := splitValues(values)
	if err != nil {
		writeError(w, err)
		return
	}
	s, err := h.engine.acquire(r.Context(), h.cfg.QueueTimeout)
	if err != nil {
		writeError(w, err)
		return
	}
	clean := false
	defer func() {
		if err := h.engine.release(s, clean); err != nil {
			h.log.Error("engine connection lost", "error", err)
		}
	}()
	if err := s.prepare(values.Get("database"), settings); err != nil {
		writeError(w, err)
		clean = s.reset(settings) == nil
		return
	}
	h.run(w, r, s, st, values.Get("default_format"), params, body)
	clean = s.reset(settings) == nil
}

// readStatement takes the SQL from the query value, and then the body is
// data, or from the body.
func (h *handler) readStatement(w http.ResponseWriter, r *http.Request, values url.Values) (string, io.Reader, error) {
	if values.Get("compress") == "1" || values.Get("decompress") == "1" || r.Header.Get("Content-Encoding") != "" {
		return "", nil, refuse(codeBadArguments, "the embedded engine does not compress: connect without compression")
	}
	if values.Get("session_id") != "" {
		return "", nil, refuse(codeBadArguments, "the embedded engine has no sessions")
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return "", nil, refuse(codeBadArguments, "the embedded engine takes no external tables")
	}
	if sql := values.Get("query"); sql != "" {
		if int64(len(sql)) > h.cfg.QueryBytesMax {
			return "", nil, refuse(codeSyntaxError, "the statement is longer than %d bytes", h.cfg.QueryBytesMax)
		}
		if r.ContentLength == 0 {
			return sql, nil, nil
		}
		return sql, http.MaxBytesReader(w, r.Body, h.cfg.BodyBytesMax), nil
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.cfg.QueryBytesMax))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return "", nil, refuse(codeSyntaxError, "the statement is longer than %d bytes", tooLarge.Limit)
		}
		return "", nil, fmt.Errorf("reading the statement: %w", err)
	}
	return string(b), nil, nil
}

// run executes the statement and writes its answer.
func (h *handler) run(w http.ResponseWriter, r *http.Request, s *session, st statement, format string, params []parameter, body io.Reader) {
	if format == "" {
		format = "TabSeparated"
	}
	answer := &answer{w: w}
	switch st.kind {
	case kindInsert:
		if len(params) > 0 {
			writeError(w, refuse(codeBadArguments, "an insert with a body takes no parameters"))
			return
		}
		rows, err := s.runInsert(st.sql, st.format, bodyChunks(body))
		if err != nil {
			writeError(w, bodyError(err))
			return
		}
		w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"written_rows":"%d"}`, rows))
		answer.end(nil)
	case kindRead:
		tag := tagPrefix + rand.Text() + " */ "
		stop := context.AfterFunc(r.Context(), func() {
			if err := h.engine.kill(tag); err != nil {
				h.log.Warn("cancelling a statement", "error", err)
			}
		})
		defer stop()
		if documentFormat(format) {
			answer.end(s.runDocument(answersDir(h.cfg.DataDir), tag+st.sql, format, params, answer.write))
			return
		}
		answer.end(s.runStream(tag+st.sql, format, params, answer.write))
	default:
		data, err := s.run(st.sql, format, params)
		if err == nil && len(data) > 0 {
			err = answer.write(data)
		}
		answer.end(err)
	}
}

// bodyChunks reads an insert's body piece by piece; an empty piece ends it.
func bodyChunks(body io.Reader) func() ([]byte, error) {
	buf := make([]byte, 256<<10)
	return func() ([]byte, error) {
		n, err := io.ReadAtLeast(body, buf, 1)
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return buf[:n], err
	}
}

func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return refuse(codeTooManyBytes, "the data of the insert is longer than %d bytes", tooLarge.Limit)
	}
	return err
}

// answer writes a streamed answer. An error after the first byte is sent in
// the body, framed as the server frames it.
type answer struct {
	w       http.ResponseWriter
	tag     string
	started bool
}

func (a *answer) write(b []byte) error {
	if !a.started {
		a.started = true
		a.tag = strings.ToLower(rand.Text()[:16])
		a.w.Header().Set("Content-Type", "application/octet-stream")
		a.w.Header().Set("X-ClickHouse-Exception-Tag", a.tag)
	}
	_, err := a.w.Write(b)
	return err
}

func (a *answer) end(err error) {
	switch {
	case err != nil && a.started:
		message := err.Error()
		_, _ = fmt.Fprintf(a.w, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", a.tag, message, len(message)+1, a.tag)
	case err != nil:
		writeError(a.w, err)
	case !a.started:
		// The driver takes a length of zero for an answer without a block.
		a.w.Header().Set("Content-Length", "0")
		a.w.WriteHeader(http.StatusOK)
	}
}

func writeError(w http.ResponseWriter, err error) {
	code, status := codeUnknownException, http.StatusInternalServerError
	var e *Error
	if errors.As(err, &e) {
		code = e.Code
	}
	switch code {
	case codeBadArguments, codeSyntaxError, codeUnknownSetting:
		status = http.StatusBadRequest
	case codeUnknownTable, codeUnknownDatabase:
		status = http.StatusNotFound
	case codeAccessDenied:
		status = http.StatusForbidden
	case codeTooManyBytes:
		status = http.StatusRequestEntityTooLarge
	case codeTooManyQueries:
		status = http.StatusServiceUnavailable
	}
	message := err.Error()
	if !strings.HasPrefix(message, "Code:") {
		message = fmt.Sprintf("Code: %d. DB::Exception: %s", code, message)
	}
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(code))
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, message+"\n")
}

// transportValues are the values of the URL that are not settings.
var transportValues = []string{
	"query", "database", "default_format", "client_protocol_version", "compress", "decompress", "query_id", "quota_key", "wait_end_of_query",
	"buffer_size", "user", "password", "session_id", "send_progress_in_http_headers",
}

var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

type setting struct{ name, value string }

func splitValues(values url.Values) (settings []setting, params []parameter, err error) {
	for name, v := range values {
		switch param, isParam := strings.CutPrefix(name, "param_"); {
		case isParam:
			params = append(params, parameter{param, v[0]})
		case slices.Contains(transportValues, name):
		case !settingName.MatchString(name):
			return nil, nil, refuse(codeUnknownSetting, "Unknown setting %q", name)
		default:
			settings = append(settings, setting{name, v[0]})
		}
	}
	return settings, params, nil
}

// prepare puts the session on the request's database and settings.
func (s *session) prepare(database string, settings []setting) error {
	if database == "" {
		database = "default"
	}
	if err := s.exec("USE " + quoteName(database)); err != nil {
		return err
	}
	return s.set(settings, func(v setting) string { return quoteString(v.value) })
}

// reset takes the settings back, so that the next request starts clean.
func (s *session) reset(settings []setting) error {
	return s.set(settings, func(setting) string { return "DEFAULT" })
}

func (s *session) set(settings []setting, value func(setting) string) error {
	if len(settings) == 0 {
		return nil
	}
	assignments := make([]string, len(settings))
	for i, v := range settings {
		assignments[i] = v.name + " = " + value(v)
	}
	return s.exec("SET " + strings.Join(assignments, ", "))
}
