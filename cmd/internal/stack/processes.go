package stack

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/metiva-io/metiva/pkg/embedded/supervise"
)

const (
	processStopTimeout  = 25 * time.Second
	processReadyTimeout = 60 * time.Second
)

// startProcesses starts the four processes, downstream first, so that each
// finds its readers there.
func (s *Stack) startProcesses(ctx context.Context) error {
	collectorPort, err := s.lay.port(ctx, Collector, s.cfg.CollectorPort)
	if err != nil {
		return err
	}
	listen := fmt.Sprintf("127.0.0.1:%d", collectorPort)
	s.addr.CollectorURL = "http://" + listen
	s.addr.AdminURLs = make(map[string]string)
	own := map[string]map[string]string{
		Core: {
			"METIVA_POSTGRES_URL":        s.addr.Postgres.RW.Reveal(),
			"METIVA_POSTGRES_WORKER_URL": s.addr.Postgres.Worker.Reveal(),
			// On one machine the pipeline is young soon.
			"METIVA_CLICKHOUSE_OPERATOR_URL": s.addr.ClickHouseURL.Reveal(), "METIVA_LEDGER_CHECK_EVERY": "1m", "METIVA_LEDGER_SETTLE": "2m",
			"METIVA_CLICKHOUSE_KEEPER_URL": s.addr.ClickHouseURL.Reveal(),
			"METIVA_CLICKHOUSE_READER_URL": s.addr.ClickHouseURL.Reveal(),
		},
		Sink:   {"METIVA_CLICKHOUSE_URL": s.addr.ClickHouseURL.Reveal()},
		Enrich: {"METIVA_GEO_DIR": s.addr.GeoDir},
		Collector: {
			"METIVA_COLLECTOR_LISTEN": listen, "METIVA_TRUSTED_PROXIES": "127.0.0.0/8,::1/128",
			"METIVA_COLLECTOR_SPOOL_DIR": s.lay.path("spool"), "METIVA_COLLECTOR_STOP_DELAY": "0s",
		},
	}
	for _, name := range []string{Core, Sink, Enrich, Collector} {
		if err := s.step(ctx, "process "+name, func(ctx context.Context) error {
			return s.startProcess(ctx, name, own[name])
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stack) startProcess(ctx context.Context, name string, own map[string]string) error {
	path, err := s.binary(name)
	if err != nil {
		return err
	}
	adminPort, err := s.lay.port(ctx, name+"-admin", 0)
	if err != nil {
		return err
	}
	admin := fmt.Sprintf("127.0.0.1:%d", adminPort)
	s.addr.AdminURLs[name] = "http://" + admin
	env := map[string]string{
		"METIVA_ENV":           "development",
		"METIVA_REGION":        "nl",
		"METIVA_KAFKA_BROKERS": strings.Join(s.addr.KafkaBrokers, ","),
		"METIVA_KEYS_DIR":      s.addr.KeysDir,
		"METIVA_ADMIN_LISTEN":  admin,
		"PATH":                 "/usr/bin:/bin",
		"HOME":                 os.TempDir(),
	}
	if k := s.cfg.Kafka; len(k.Brokers) > 0 {
		env["METIVA_KAFKA_TLS"] = strconv.FormatBool(k.TLS)
		env["METIVA_KAFKA_TLS_CA_FILE"] = k.TLSCAFile
		env["METIVA_KAFKA_SASL_MECHANISM"] = k.SASLMechanism
		env["METIVA_KAFKA_SASL_USER"] = k.SASLUser
		env["METIVA_KAFKA_SASL_PASSWORD"] = k.SASLPassword.Reveal()
	}
	maps.Copy(env, own)
	out, err := s.output(name)
	if err != nil {
		return err
	}
	return s.launch(ctx, name, supervise.New(supervise.Spec{
		Name: name, Path: path, Env: environment(env), Dir: s.lay.root,
		PIDFile:      s.lay.path("run", name+".pid"),
		StaleMarker:  path,
		StopTimeout:  processStopTimeout,
		Ready:        func(ctx context.Context) error { return answers(ctx, "http://"+admin+"/readyz") },
		ReadyTimeout: processReadyTimeout,
		Output:       out,
		Ended:        s.crashed(name),
	}, s.log))
}

func environment(vars map[string]string) []string {
	env := make([]string, 0, len(vars))
	for k, v := range vars {
		env = append(env, k+"="+v)
	}
	return env
}

// answers reports whether a URL answers 200.
func answers(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("asking for readiness: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking for readiness: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", res.Status)
	}
	return nil
}
