package clickhouse

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/template"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
)

// engine is the loaded library on one data directory with its connections.
type engine struct {
	lib   *library
	args  []string
	idle  chan *session
	hello []byte

	mu    sync.Mutex
	admin *session // kills queries; closed last
}

// configTemplate is ClickHouse's configuration file for the library.
//
//   - merge_tree: an acknowledged insert must outlive a power cut, as it does on
//     a replicated server. The library's defaults do not sync at all, and remove
//     the sources of a merge at once, so inserts, part directories and merges
//     are synced and the sources stay for minutes. (A kill of the process alone
//     would be safe without: the page cache is the kernel's.)
//   - max_server_memory_usage: one limit for everything the engine holds.
//   - background_processing_pool_…: how long a table's merges and mutations pause when
//     they found no room among the engine's four. ClickHouse's defaults, up to 1.1 s,
//     made a mutation of 70 parts, a few hundredths of a second each, last 15 s.
var configTemplate = template.Must(template.New("config").Parse(`<clickhouse>
  <users_config>{{.Users}}</users_config>
  <max_server_memory_usage>{{.MemoryBytesMax}}</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <background_processing_pool_thread_sleep_seconds_if_nothing_to_do>0.02</background_processing_pool_thread_sleep_seconds_if_nothing_to_do>
  <background_processing_pool_task_sleep_seconds_when_no_work_random_part>0.05</background_processing_pool_task_sleep_seconds_when_no_work_random_part>
  {{if .GrantsOfSystem}}<access_control_improvements><select_from_system_db_requires_grant>true</select_from_system_db_requires_grant></access_control_improvements>{{end}}
  <merge_tree>
    <fsync_after_insert>1</fsync_after_insert>
    <fsync_part_directory>1</fsync_part_directory>
    <min_rows_to_fsync_after_merge>1</min_rows_to_fsync_after_merge>
    <old_parts_lifetime>120</old_parts_lifetime>
  </merge_tree>
</clickhouse>
`))

// usersConfig grants what the tables need and nothing that reads or writes
// files, URLs or other servers.
//
// max_threads_min_free_memory_per_thread: what has to be free for each core a statement
// reads on. ClickHouse's default of 1 GiB leaves an engine that may hold 2 GiB in all
// with one core for each.
const usersConfig = `<clickhouse>
  <profiles><default>
    <max_threads_min_free_memory_per_thread>134217728</max_threads_min_free_memory_per_thread>
  </default></profiles>
  <users><default>
    <password></password>
    <networks><ip>::/0</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <grants>
%s    </grants>
    <databases><metiva>%s</metiva></databases>
  </default></users>
  <quotas><default></default></quotas>
</clickhouse>
`

// grantsDefault are what the engine's user may do: no users, no files, no addresses.
func grantsDefault() []string {
	return []string{
		"GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP, TRUNCATE, OPTIMIZE ON *.*",
		"GRANT KILL QUERY, SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM FLUSH LOGS ON *.*",
		"GRANT TABLE ENGINE ON MergeTree",
		"GRANT TABLE ENGINE ON ReplacingMergeTree",
		"GRANT TABLE ENGINE ON AggregatingMergeTree",
		"GRANT TABLE ENGINE ON SummingMergeTree",
	}
}

func openEngine(cfg Config) (*engine, error) {
	lib, err := loadLibrary(cfg.LibraryPath)
	if err != nil {
		return nil, err
	}
	configPath, err := writeEngineConfig(cfg)
	if err != nil {
		return nil, err
	}
	if err := emptyAnswers(cfg.DataDir); err != nil {
		return nil, err
	}
	e := &engine{
		lib:  lib,
		args: []string{"--path=" + filepath.Join(cfg.DataDir, "data"), "--config-file=" + configPath},
		idle: make(chan *session, cfg.ConcurrentStatementsMax),
	}
	if e.admin, err = lib.open(e.args...); err != nil {
		return nil, fmt.Errorf("opening %s: %w", cfg.DataDir, err)
	}
	for range cfg.ConcurrentStatementsMax {
		s, err := lib.open(e.args...)
		if err != nil {
			return nil, fmt.Errorf("opening %s: %w", cfg.DataDir, err)
		}
		e.idle <- s
	}
	answer, err := e.admin.run("SELECT version(), timezone()", "TabSeparated", nil)
	if err != nil {
		return nil, fmt.Errorf("asking the engine for its version: %w", err)
	}
	version, timezone, _ := strings.Cut(strings.TrimSpace(string(answer)), "\t")
	e.hello = helloBlock(version, timezone)
	return e, nil
}

// writeEngineConfig writes the engine's configuration beside its data. It is
// derived from cfg at each start, never edited.
func writeEngineConfig(cfg Config) (string, error) {
	usersPath := filepath.Join(cfg.DataDir, "users.xml")
	var config bytes.Buffer
	err := configTemplate.Execute(&config, struct {
		Users          string
		MemoryBytesMax int64
		GrantsOfSystem bool
	}{usersPath, cfg.MemoryBytesMax, len(cfg.Grants) > 0})
	if err != nil {
		return "", fmt.Errorf("writing the engine's configuration: %w", err)
	}
	configPath := filepath.Join(cfg.DataDir, "config.xml")
	for path, content := range map[string][]byte{usersPath: fmt.Appendf(nil, usersConfig, grants(cfg.Grants), rowFilters(cfg.RowFilters)), configPath: config.Bytes()} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return "", fmt.Errorf("writing the engine's configuration: %w", err)
		}
	}
	return configPath, nil
}

// grants writes what the user may do as the configuration of a user has it.
func grants(of []string) string {
	if len(of) == 0 {
		of = grantsDefault()
	} else {
		of = append(slices.Clip(of), "GRANT SHOW DATABASES ON default.*") // where the library's connections begin
	}
	var b bytes.Buffer
	for _, grant := range of {
		b.WriteString("      <query>")
		template.HTMLEscape(&b, []byte(grant))
		b.WriteString("</query>\n")
	}
	return b.String()
}

// rowFilters writes filters as the configuration of a user has them.
func rowFilters(filters map[string]string) string {
	var b bytes.Buffer
	for _, table := range slices.Sorted(maps.Keys(filters)) {
		fmt.Fprintf(&b, "<%s><filter>", table)
		template.HTMLEscape(&b, []byte(filters[table]))
		fmt.Fprintf(&b, "</filter></%s>", table)
	}
	return b.String()
}

// helloBlock is the answer to the driver's first query as one Native block. It
// reports protocol revision 0, at which the driver reads everything after:
// the library's Native format has no block header and no serialisation flags.
func helloBlock(version, timezone string) []byte {
	var b chproto.Buffer
	// Block info: field 1 (is_overflows) false, field 2 (bucket_num) -1, end.
	b.PutUVarInt(1)
	b.PutBool(false)
	b.PutUVarInt(2)
	b.PutInt32(-1)
	b.PutUVarInt(0)
	b.PutUVarInt(4) // columns
	b.PutUVarInt(1) // rows
	column := func(name, kind string) {
		b.PutString(name)
		b.PutString(kind)
		b.PutBool(false) // default serialisation
	}
	column("displayName()", "String")
	b.PutString("metiva embedded")
	column("version()", "String")
	b.PutString(version)
	column("revision()", "UInt32")
	b.PutUInt32(0)
	column("timezone()", "String")
	b.PutString(timezone)
	return b.Buf
}

// acquire waits for an idle connection, at most timeout.
func (e *engine) acquire(ctx context.Context, timeout time.Duration) (*session, error) {
	select {
	case s := <-e.idle:
		return s, nil
	default:
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case s := <-e.idle:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, refuse(codeTooManyQueries, "%d statements are running, and none ended within %s", cap(e.idle), timeout)
	}
}

// release gives a connection back. One whose settings could not be reset is
// replaced, so that no statement runs under another's settings.
func (e *engine) release(s *session, clean bool) error {
	if clean {
		e.idle <- s
		return nil
	}
	s.close()
	fresh, err := e.lib.open(e.args...)
	if err != nil {
		return fmt.Errorf("replacing a connection inside the engine: %w", err)
	}
	e.idle <- fresh
	return nil
}

// kill cancels the statements whose text starts with tag.
func (e *engine) kill(tag string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.admin == nil {
		return nil
	}
	return e.admin.exec("KILL QUERY WHERE startsWith(query, " + quoteString(tag) + ") ASYNC")
}

// close waits for the connections still in use until ctx ends, and closes the
// engine. It fails when a connection did not come back.
func (e *engine) close(ctx context.Context) error {
	var stuck error
	for n := range cap(e.idle) {
		select {
		case s := <-e.idle:
			s.close()
			continue
		case <-ctx.Done():
			stuck = fmt.Errorf("%d statements did not end in time", cap(e.idle)-n)
		}
		break
	}
	if stuck != nil {
		return stuck
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.admin.close()
	e.admin = nil
	// Its status is not zero after a SET or an insert on any connection (26.7.3),
	// with every connection closed: it says nothing about the data.
	e.lib.shutdown()
	return nil
}

func quoteString(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

func quoteName(s string) string {
	return "`" + strings.NewReplacer(`\`, `\\`, "`", "\\`").Replace(s) + "`"
}
