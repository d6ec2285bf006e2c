package metiva

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/secret"
)

// commands is the command line.
type commands struct {
	Up          upCommand          `cmd:"" help:"Run everything on this machine until Ctrl-C."`
	Demo        demoCommand        `cmd:"" help:"Drive a set of visits through a fresh stack and print the companies and the ledger."`
	Migrate     migrateCommand     `cmd:"" help:"Create topics and apply migrations."`
	Agency      agencyCommand      `cmd:"" help:"Agencies."`
	Tenant      tenantCommand      `cmd:"" help:"Tenants."`
	Site        siteCommand        `cmd:"" help:"Sites and their keys."`
	Snippet     snippetCommand     `cmd:"" help:"The script for pages."`
	Companies   companiesCommand   `cmd:"" help:"List the companies that visited a tenant's sites."`
	Ledger      ledgerCommand      `cmd:"" help:"Print the ledger; exits with 1 when it does not balance."`
	Export      exportCommand      `cmd:"" help:"What is kept of a tenant, as files."`
	Audit       auditCommand       `cmd:"" help:"Print who did what with a tenant's data, and check that no record is missing."`
	Retention   retentionCommand   `cmd:"" help:"How long rows are kept."`
	Consent     consentCommand     `cmd:"" help:"The record of visitors' choices."`
	Suppression suppressionCommand `cmd:"" help:"Networks that are never resolved to a company: a tenant's own, and of those who opted out."`
	Erase       eraseCommand       `cmd:"" help:"Erase a visitor, a contact or a tenant, and certify it."`
	Dead        deadCommand        `cmd:"" help:"Records a stage could not take: list, show, replay."`
	Replay      replayCommand      `cmd:"" help:"Enrich events again that are still in Kafka."`
	Views       viewsCommand       `cmd:"" help:"Tables that are made from others."`
	Geo         geoCommand         `cmd:"" help:"The company database."`
	Keys        keysCommand        `cmd:"" help:"Key files."`
	Bench       benchCommand       `cmd:"" help:"Measure on this machine."`
	Embedded    embeddedCommand    `cmd:"" hidden:"" help:"Serve one embedded engine; used by up."`
}

// dataFlags say where state and installed packages are.
type dataFlags struct {
	Data  string `name:"data" env:"METIVA_DATA" default:"./var" help:"Data directory."`
	Cache string `name:"cache" env:"METIVA_CACHE" help:"Where installed engines and data are; default: metiva in the user's cache directory."`
}

// cacheDir is the cache directory, made absolute.
func (f dataFlags) cacheDir() (string, error) {
	if f.Cache != "" {
		return filepath.Abs(f.Cache)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", errors.New("METIVA_CACHE is missing, and there is no home directory to find it in")
	}
	return filepath.Join(base, "metiva"), nil
}

// storeFlags are the stores an operator's command works on. Left out, they are
// those of the stack in the data directory.
type storeFlags struct {
	dataFlags
	KafkaBrokers   []string    `name:"kafka-brokers" env:"METIVA_KAFKA_BROKERS" help:"Kafka brokers, host:port."`
	KafkaTLS       bool        `name:"kafka-tls" env:"METIVA_KAFKA_TLS" help:"Connect to Kafka with TLS."`
	KafkaCAFile    string      `name:"kafka-tls-ca-file" env:"METIVA_KAFKA_TLS_CA_FILE" help:"PEM file of the brokers' authority."`
	KafkaMechanism string      `name:"kafka-sasl-mechanism" env:"METIVA_KAFKA_SASL_MECHANISM" help:"plain, scram-sha-256 or scram-sha-512."`
	KafkaUser      string      `name:"kafka-sasl-user" env:"METIVA_KAFKA_SASL_USER" help:"User name for SASL."`
	KafkaPassword  secret.Text `name:"kafka-sasl-password" env:"METIVA_KAFKA_SASL_PASSWORD" help:"Password for SASL."`
	ClickHouseURL  secret.Text `name:"clickhouse-url" env:"METIVA_CLICKHOUSE_URL" help:"ClickHouse."`
	ClickHouseCA   string      `name:"clickhouse-tls-ca-file" env:"METIVA_CLICKHOUSE_TLS_CA_FILE" help:"PEM file of ClickHouse's authority."`
	PostgresRW     secret.Text `name:"postgres-url" env:"METIVA_POSTGRES_URL" help:"Postgres as app_rw."`
	PostgresWorker secret.Text `name:"postgres-worker-url" env:"METIVA_POSTGRES_WORKER_URL" help:"Postgres as app_worker."`
	PostgresOwner  secret.Text `name:"postgres-migrate-url" env:"METIVA_POSTGRES_MIGRATE_URL" help:"Postgres as app_migrate."`
}

// kafkaConfig is how a command reaches the given brokers.
func (f storeFlags) kafkaConfig(brokers []string) kafka.Config {
	return kafka.Config{
		Brokers: brokers, ClientID: "metiva-command", TLS: f.KafkaTLS, TLSCAFile: f.KafkaCAFile,
		SASLMechanism: f.KafkaMechanism, SASLUser: f.KafkaUser, SASLPassword: f.KafkaPassword,
	}
}

// terminal is where a command prints.
type terminal struct {
	out, err io.Writer
}

// input is what a command reads; nil where there is nothing.
type input struct{ io.Reader }

func (t terminal) printf(format string, args ...any) { _, _ = fmt.Fprintf(t.out, format, args...) }

// Run is the metiva command.
func Run(ctx context.Context, sys app.System) error {
	var c commands
	exited := false
	parser, err := kong.New(&c, kong.Name("metiva"),
		kong.Description("Runs and operates Metiva."),
		kong.Writers(sys.Stdout, sys.Stderr),
		kong.UsageOnError(),
		kong.Exit(func(int) { exited = true }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(terminal{sys.Stdout, sys.Stderr}, input{sys.Stdin}))
	if err != nil {
		return fmt.Errorf("building the command line: %w", err)
	}
	args := sys.Args
	if len(args) == 0 || args[0] == "help" {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if exited {
		return nil // help was printed
	}
	if err != nil {
		return fmt.Errorf("%w: %s", app.ErrConfiguration, strings.TrimSpace(err.Error()))
	}
	return parsed.Run()
}
