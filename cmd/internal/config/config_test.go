package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/secret"
)

func lookup(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

// bound is one field of each type.
type bound struct {
	text   string
	list   []string
	on     bool
	count  int
	length time.Duration
	hidden secret.Text
}

func bind() (*config.Set, *bound) {
	var b bound
	s := config.NewSet("test")
	s.String(&b.text, config.Option{Flag: "text", Env: "T_TEXT", Default: "fallback"})
	s.List(&b.list, config.Option{Flag: "list", Env: "T_LIST"})
	s.Bool(&b.on, config.Option{Flag: "on", Env: "T_ON", Default: "false"})
	s.Int(&b.count, config.Option{Flag: "count", Env: "T_COUNT", Default: "3"})
	s.Duration(&b.length, config.Option{Flag: "length", Env: "T_LENGTH", Default: "5ms"})
	s.Secret(&b.hidden, config.Option{Flag: "hidden", Env: "T_HIDDEN"})
	return s, &b
}

func TestAFlagWinsOverAVariableOverTheDefault(t *testing.T) {
	t.Parallel()
	s, b := bind()
	err := s.Parse([]string{"--count=9", "--on", "--list", "a, b,,c"},
		lookup(map[string]string{"T_COUNT": "7", "T_LENGTH": "2h", "T_HIDDEN": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	if b.text != "fallback" || b.count != 9 || !b.on || b.length != 2*time.Hour || strings.Join(b.list, "|") != "a|b|c" || b.hidden.Reveal() != "x" {
		t.Errorf("got %+v", b)
	}
}

func TestEveryFaultIsReportedAndNoValueRepeated(t *testing.T) {
	t.Parallel()
	s, _ := bind()
	err := s.Parse([]string{"--count=canary1", "--length", "canary2"}, lookup(map[string]string{"T_ON": "canary3"}))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"--count: must be a whole number", "--length: must be a length of time", "T_ON: must be true or false"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "canary") {
		t.Errorf("a value is repeated:\n%v", err)
	}
}

func TestUnknownFlagsAndLeftoversAreFaults(t *testing.T) {
	t.Parallel()
	s, _ := bind()
	if err := s.Parse([]string{"--nope"}, lookup(nil)); err == nil {
		t.Error("an unknown flag is accepted")
	}
	s, _ = bind()
	if err := s.Parse([]string{"left", "over"}, lookup(nil)); err == nil || !strings.Contains(err.Error(), "2 arguments") {
		t.Errorf("got %v", err)
	}
	s, _ = bind()
	if err := s.Parse([]string{"--help"}, lookup(nil)); !errors.Is(err, config.ErrHelp) {
		t.Errorf("got %v", err)
	}
}

func TestProductionRefuses(t *testing.T) {
	t.Parallel()
	good := func() config.Process {
		return config.Process{Env: config.Production, Region: "eu-central-1", AdminListen: "127.0.0.1:0", LogLevel: "info", DrainTimeout: time.Second}
	}
	kafka := func(tls bool, brokers ...string) func(*config.Process) error {
		return (&config.Kafka{Brokers: brokers, TLS: tls}).Validate
	}
	clickhouse := func(url string) func(*config.Process) error {
		return (&config.ClickHouse{URL: secret.New(url)}).Validate
	}
	postgres := func(url string) func(*config.Process) error {
		return (&config.Postgres{URL: secret.New(url), Env: "METIVA_POSTGRES_URL", Role: "app_rw"}).Validate
	}
	process := func(change func(*config.Process)) func(*config.Process) error {
		return func(p *config.Process) error {
			changed := *p
			change(&changed)
			return changed.Validate()
		}
	}
	for name, c := range map[string]struct {
		validate func(*config.Process) error
		want     string // in the message; empty: no fault
	}{
		"nothing wrong":          {process(func(*config.Process) {}), ""},
		"no region":              {process(func(p *config.Process) { p.Region = "" }), "METIVA_REGION is missing"},
		"american region":        {process(func(p *config.Process) { p.Region = "us-east-1" }), "European Union"},
		"london":                 {process(func(p *config.Process) { p.Region = "eu-west-2" }), "European Union"},
		"zurich":                 {process(func(p *config.Process) { p.Region = "europe-west6" }), "European Union"},
		"misspelt environment":   {process(func(p *config.Process) { p.Env = "prod"; p.Region = "" }), "METIVA_REGION is missing"},
		"no brokers":             {kafka(true), "METIVA_KAFKA_BROKERS is missing"},
		"plaintext kafka":        {kafka(false, "kafka.internal:9092"), "METIVA_KAFKA_TLS"},
		"plaintext on loopback":  {kafka(false, "127.0.0.1:9092", "[::1]:9092", "localhost:9092"), ""},
		"kafka with tls":         {kafka(true, "kafka.internal:9093"), ""},
		"broker without port":    {kafka(true, "kafka"), "host:port"},
		"no clickhouse":          {clickhouse(""), "METIVA_CLICKHOUSE_URL is missing"},
		"plaintext clickhouse":   {clickhouse("http://u:p@db:8123/metiva"), "https://"},
		"second host plaintext":  {clickhouse("http://u:p@127.0.0.1:8123,db:8123/metiva"), "https://"},
		"two hosts on loopback":  {clickhouse("http://u:p@127.0.0.1:8123,[::1]:8123/metiva"), ""},
		"two hosts with tls":     {clickhouse("https://u:p@a:8443,b:8443/metiva"), ""},
		"not a clickhouse URL":   {clickhouse("db:8123"), "not a URL"},
		"native plaintext":       {clickhouse("clickhouse://u:p@db:9000/metiva"), "clickhouses://"},
		"clickhouse with tls":    {clickhouse("https://u:p@db:8443/metiva"), ""},
		"clickhouse on a socket": {clickhouse("http+unix:///run/ch.sock?database=metiva"), ""},
		"other scheme":           {clickhouse("mysql://db/metiva"), "must begin with"},
		"no postgres":            {postgres(""), "METIVA_POSTGRES_URL is missing"},
		"postgres without tls":   {postgres("postgres://u:p@db/metiva?sslmode=disable"), "sslmode=verify-full"},
		"postgres not verified":  {postgres("postgres://u:p@db/metiva?sslmode=require"), "sslmode=verify-full"},
		"postgres by default":    {postgres("postgres://u:p@db/metiva"), "sslmode=verify-full"},
		"postgres verified":      {postgres("postgres://u:p@db/metiva?sslmode=verify-full"), ""},
		"postgres on a socket":   {postgres("postgres://u:p@/metiva?host=/run/postgres"), ""},
		"postgres on loopback":   {postgres("postgres://u:p@127.0.0.1/metiva"), ""},
		"postgres on [::1]":      {postgres("postgres://u:p@[::1]:5432/metiva"), ""},
		"socket and a host":      {postgres("postgres://u:p@/metiva?host=/run/postgres,db.internal"), "sslmode=verify-full"},
		"loopback and a host":    {postgres("postgres://u:p@127.0.0.1:5432,db.internal:5432/metiva"), "sslmode=verify-full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := good()
			err := c.validate(&p)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "u:p@"):
				t.Errorf("the message repeats the URL: %v", err)
			}
		})
	}
}

func TestDevelopmentAllowsPlaintext(t *testing.T) {
	t.Parallel()
	p := config.Process{Env: config.Development}
	for _, err := range []error{
		(&config.Kafka{Brokers: []string{"kafka:9092"}}).Validate(&p),
		(&config.ClickHouse{URL: secret.New("http://db:8123/metiva")}).Validate(&p),
		(&config.Postgres{URL: secret.New("postgres://db/metiva"), Env: "X"}).Validate(&p),
	} {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
	}
}
