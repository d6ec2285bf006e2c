package metiva

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/pkg/core/analytics"
	"github.com/metiva-io/metiva/pkg/core/erasure"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/obs"
	"github.com/metiva-io/metiva/pkg/postgres"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/secret"
	"github.com/metiva-io/metiva/pkg/tenant"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/sink"
)

// eraseCommand erases, and shows what was erased. Asking again for an erasure that was
// interrupted goes on with it.
type eraseCommand struct {
	Visitor eraseVisitor `cmd:"" help:"Erase a visitor by the random id their browser keeps."`
	Contact eraseContact `cmd:"" help:"Erase a person who filled in a form."`
	Tenant  eraseTenant  `cmd:"" help:"Suspend a tenant and erase everything of it."`
	Again   eraseAgain   `cmd:"" help:"After a restore from a backup: look at each erasure of a tenant again, and erase what is there."`
	Status  eraseStatus  `cmd:"" help:"Print a tenant's erasures and their certificates, a line of JSON each."`
	Verify  eraseVerify  `cmd:"" help:"Check the signature of a certificate given on standard input."`
}

// keyFlags say where the erasure key is. In production it has no default, and a
// development key is refused.
type keyFlags struct {
	KeysDir string `name:"keys-dir" env:"METIVA_KEYS_DIR" help:"Directory with erasure.key; that of the stack in the data directory when no stores are given."`
	Env     string `name:"env" env:"METIVA_ENV" default:"production" enum:"production,development" help:"production or development."`
}

// place is where the keys are, and whether they may be development ones: those of a
// running stack are.
func (f keyFlags) place(running *stack.Addresses) (config.Keys, config.Process) {
	keys, process := config.Keys{Dir: f.KeysDir}, config.Process{Env: f.Env}
	if running != nil {
		process.Env = config.Development
		if keys.Dir == "" {
			keys.Dir = running.KeysDir
		}
	}
	return keys, process
}

func (f keyFlags) signer(running *stack.Addresses) (erasure.Signer, error) {
	keys, process := f.place(running)
	m, err := app.CheckKey(&keys, &process, seal.PurposeErasure)
	if err != nil {
		return erasure.Signer{}, fmt.Errorf("%w: %w", app.ErrConfiguration, err)
	}
	return erasure.NewSigner(m.Secret())
}

// eraseFlags are what every erasure needs.
type eraseFlags struct {
	storeFlags
	keyFlags
	Tenant string        `required:"" help:"Tenant (cmp_…)."`
	Settle time.Duration `default:"5m" help:"How long to wait for the sinks to write what was on its way; 0 does not wait."`
	Grace  time.Duration `default:"5s" help:"How long a sink may take to hear of the erasure before they are waited for."`
}

// stores are where an erasure works. Running is the stack in the data directory, when
// no stores were given.
func (f *eraseFlags) stores() (running *stack.Addresses, err error) {
	given := 0
	for _, set := range []bool{len(f.KafkaBrokers) > 0, !f.ClickHouseURL.IsZero(), !f.PostgresRW.IsZero(), !f.PostgresWorker.IsZero()} {
		if set {
			given++
		}
	}
	switch given {
	case 4:
		return nil, nil
	case 0:
	default:
		return nil, fmt.Errorf("%w: METIVA_KAFKA_BROKERS, METIVA_CLICKHOUSE_URL, METIVA_POSTGRES_URL and METIVA_POSTGRES_WORKER_URL go together: set all, or none for the stack in the data directory", app.ErrConfiguration)
	}
	a, err := stack.Find(f.Data)
	if err != nil {
		return nil, err
	}
	f.KafkaBrokers, f.PostgresRW, f.PostgresWorker = a.KafkaBrokers, a.Postgres.RW, a.Postgres.Worker
	return &a, nil
}

// erase erases who says, and prints the certificate.
func (f *eraseFlags) erase(ctx context.Context, t terminal, who func(context.Context, *kafka.Client, *stack.Addresses) ([]erasure.Subject, error)) (err error) {
	claim, err := tenant.OperatorClaim(f.Tenant, operator())
	if err != nil {
		return fmt.Errorf("%w: %w", app.ErrConfiguration, err)
	}
	running, err := f.stores()
	if err != nil {
		return err
	}
	signer, err := f.signer(running)
	if err != nil {
		return err
	}
	log := obs.NewLogger(t.err, "erase", slog.LevelWarn)
	client, err := kafka.NewClient(f.kafkaConfig(f.KafkaBrokers), log, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := client.Ping(ctx); err != nil {
		return err
	}
	subjects, err := who(ctx, client, running)
	if err != nil {
		return err
	}
	url := f.ClickHouseURL
	if running != nil {
		url = running.ClickHouseURL
	}
	engine := f.clickHouseConfig(url)
	engine.ReadTimeout = mutationWait
	rows, err := clickhouse.Open(engine)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return f.withEraser(ctx, client, rows, signer, log, func(ctx context.Context, e *erasure.Eraser) error {
		for _, s := range subjects {
			done, err := e.Erase(ctx, claim, s)
			if err != nil {
				return fmt.Errorf("%w\nthe same command goes on where it stopped", err)
			}
			t.printf("%s\n", done.Certificate)
		}
		return nil
	})
}

// withEraser runs a producer and the connections of an eraser.
func (f *eraseFlags) withEraser(ctx context.Context, client *kafka.Client, rows *clickhouse.Conn, signer erasure.Signer, log *slog.Logger, do func(context.Context, *erasure.Eraser) error) (err error) {
	pool, err := tenant.OpenPool(ctx, postgres.Config{URL: f.PostgresRW})
	if err != nil {
		return err
	}
	defer pool.Close()
	worker, err := tenant.OpenWorker(ctx, postgres.Config{URL: f.PostgresWorker})
	if err != nil {
		return err
	}
	defer worker.Close()
	producer, err := client.NewProducer(kafka.ProducerConfig{})
	if err != nil {
		return err
	}
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- producer.Run(sending) }()
	defer func() { stop(); err = errors.Join(err, <-ended) }()
	cfg := erasure.Config{
		Pool: pool, Worker: worker, Registry: registry.NewStore(pool, worker), Client: client, Producer: producer,
		Rows: func(claim analytics.VerifiedTenant, visitorID []byte) (erasure.Rows, error) {
			return analytics.NewEraser(rows, claim, visitorID)
		},
		Signer: signer, Log: log, Now: time.Now,
	}
	if f.Settle > 0 {
		cfg.Settle = erasure.Settled(erasure.SettleConfig{Client: client, Group: sink.Group, Topics: sink.Topics(), Grace: f.Grace, AtMost: f.Settle})
	}
	e, err := erasure.New(cfg)
	if err != nil {
		return err
	}
	return do(ctx, e)
}

// subjectID reads 32 hexadecimal digits; dashes may stand between them.
func subjectID(text string) (id [schemas.IDBytes]byte, err error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(raw) != schemas.IDBytes {
		return id, fmt.Errorf("%w: an id is %d hexadecimal digits", app.ErrConfiguration, 2*schemas.IDBytes)
	}
	return [schemas.IDBytes]byte(raw), nil
}

// only is a who of one subject.
func only(s erasure.Subject) func(context.Context, *kafka.Client, *stack.Addresses) ([]erasure.Subject, error) {
	return func(context.Context, *kafka.Client, *stack.Addresses) ([]erasure.Subject, error) {
		return []erasure.Subject{s}, nil
	}
}

type eraseVisitor struct {
	eraseFlags
	Visitor string `required:"" help:"Visitor id, 32 hexadecimal digits."`
}

// Run erases the visitor.
func (c *eraseVisitor) Run(ctx context.Context, t terminal) error {
	id, err := subjectID(c.Visitor)
	if err != nil {
		return err
	}
	return c.erase(ctx, t, only(erasure.Subject{Kind: erasure.Visitor, ID: id}))
}

type eraseTenant struct {
	eraseFlags
	Confirm string `required:"" help:"The tenant's id once more: nothing of it can be brought back."`
}

// Run erases the tenant.
func (c *eraseTenant) Run(ctx context.Context, t terminal) error {
	if c.Confirm != c.Tenant {
		return fmt.Errorf("%w: --confirm is not the id of --tenant", app.ErrConfiguration)
	}
	return c.erase(ctx, t, only(erasure.Subject{Kind: erasure.Tenant}))
}

type eraseAgain struct{ eraseFlags }

// Run erases what came back, and prints every certificate as it stands.
func (c *eraseAgain) Run(ctx context.Context, t terminal) error {
	return c.erase(ctx, t, func(ctx context.Context, _ *kafka.Client, _ *stack.Addresses) ([]erasure.Subject, error) {
		all, err := listErasures(ctx, c.PostgresRW, c.Tenant, "")
		subjects := make([]erasure.Subject, len(all))
		for i := range all {
			subjects[i] = all[i].Subject()
		}
		return subjects, err
	})
}

// listErasures reads the erasures of a tenant.
func listErasures(ctx context.Context, url secret.Text, companyID, id string) ([]erasure.Erasure, error) {
	claim, err := tenant.OperatorClaim(companyID, operator())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", app.ErrConfiguration, err)
	}
	pool, err := tenant.OpenPool(ctx, postgres.Config{URL: url})
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	return erasure.List(ctx, pool, claim, id)
}

type eraseStatus struct {
	storeFlags
	Tenant string `required:"" help:"Tenant (cmp_…)."`
	ID     string `help:"Only this erasure (era_…)."`
}

// Run prints the erasures.
func (c *eraseStatus) Run(ctx context.Context, t terminal) error {
	url := c.PostgresRW
	if url.IsZero() {
		running, err := stack.Find(c.Data)
		if err != nil {
			return err
		}
		url = running.Postgres.RW
	}
	all, err := listErasures(ctx, url, c.Tenant, c.ID)
	if err != nil {
		return err
	}
	if c.ID != "" && len(all) == 0 {
		return erasure.ErrNotFound
	}
	out := json.NewEncoder(t.out)
	for _, e := range all {
		if err := out.Encode(e); err != nil {
			return fmt.Errorf("printing an erasure: %w", err)
		}
	}
	return nil
}

type eraseVerify struct {
	dataFlags
	keyFlags
	PublicKey string `help:"Public key in base64, for whoever does not hold erasure.key. Do not take it from the certificate itself."`
	Visitor   string `help:"With erasure.key: also check that the certificate is about this id."`
}

// certificateBytesMax is more than any certificate has.
const certificateBytesMax = 1 << 20

// Run reads a certificate and says whether it is genuine.
func (c *eraseVerify) Run(t terminal, in input) error {
	if in.Reader == nil {
		return fmt.Errorf("%w: the certificate is read from standard input", app.ErrConfiguration)
	}
	printed, err := io.ReadAll(io.LimitReader(in, certificateBytesMax))
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	public, signer, err := c.public()
	if err != nil {
		return err
	}
	certificate, err := erasure.Verify(public, printed)
	if err != nil {
		return err
	}
	if c.Visitor != "" {
		id, err := subjectID(c.Visitor)
		if err != nil {
			return err
		}
		if signer.IsZero() || signer.SubjectHash(certificate.CompanyID, id) != certificate.SubjectHash {
			return errors.New("the certificate is genuine, and about somebody else")
		}
	}
	t.printf("genuine: %s %s of %s, erased %s, verified %s\n", certificate.ErasureID, certificate.Kind, certificate.CompanyID,
		certificate.ErasedAt.Format(time.RFC3339), certificate.VerifiedAt.Format(time.RFC3339))
	return nil
}

func (c *eraseVerify) public() (ed25519.PublicKey, erasure.Signer, error) {
	if c.PublicKey != "" {
		raw, err := base64.StdEncoding.DecodeString(c.PublicKey)
		if err != nil || len(raw) != ed25519.PublicKeySize {
			return nil, erasure.Signer{}, fmt.Errorf("%w: --public-key is not 32 bytes in base64", app.ErrConfiguration)
		}
		if c.Visitor != "" {
			return nil, erasure.Signer{}, fmt.Errorf("%w: --visitor takes erasure.key", app.ErrConfiguration)
		}
		return raw, erasure.Signer{}, nil
	}
	var running *stack.Addresses
	if a, err := stack.Find(c.Data); err == nil && c.KeysDir == "" {
		running = &a
	}
	signer, err := c.signer(running)
	if err != nil {
		return nil, erasure.Signer{}, err
	}
	return signer.PublicKey(), signer, nil
}
