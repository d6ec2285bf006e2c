package metiva

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/obs"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

type consentCommand struct {
	Verify consentVerify `cmd:"" help:"Check the chains of consent records; exits with 1 on a fault."`
	Export consentExport `cmd:"" help:"Print consent records as lines of JSON, for verify --file."`
}

// consentSource is where consent records are read from.
type consentSource struct {
	storeFlags
	Tenant string `help:"One tenant (cmp_…); all when left out."`
}

// consentRecordFunc takes one record: nil when it cannot be read.
type consentRecordFunc func(*metivav1.ConsentRecord) error

// fromKafka gives every record that is on the topic now, and nil for each that
// cannot be read. complete says that retention has removed none yet.
func (s consentSource) fromKafka(ctx context.Context, errOut io.Writer, do consentRecordFunc) (complete bool, err error) {
	brokers := s.KafkaBrokers
	if len(brokers) == 0 {
		running, err := stack.Find(s.Data)
		if err != nil {
			return false, err
		}
		brokers = running.KafkaBrokers
	}
	client, err := kafka.NewClient(s.kafkaConfig(brokers), obs.NewLogger(errOut, "consent", slog.LevelWarn), prometheus.NewRegistry())
	if err != nil {
		return false, err
	}
	defer func() { _ = client.Close() }()
	// A table would wait for an absent broker for ever.
	starts, err := client.StartOffsets(ctx, schemas.TopicConsentRecords)
	if err != nil {
		return false, err
	}
	complete = true
	for _, start := range starts {
		complete = complete && start == 0
	}
	return complete, readToEnd(ctx, client, func(key, value []byte) error {
		if company, _, _ := bytes.Cut(key, []byte{'/'}); s.Tenant != "" && string(company) != s.Tenant {
			return nil
		}
		rec, err := consent.ReadRecord(value)
		if err != nil || !bytes.Equal(key, consent.RecordKey(rec.GetCompanyId(), rec.GetSubjectId())) {
			return do(nil)
		}
		return do(rec)
	})
}

// readToEnd reads the topic up to what is there when it begins, or a little
// further.
func readToEnd(ctx context.Context, client *kafka.Client, apply func(key, value []byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	table := client.NewTable(schemas.TopicConsentRecords, apply)
	ended := make(chan error, 1)
	go func() { ended <- table.Run(ctx) }()
	select {
	case <-table.Ready():
		cancel()
		return <-ended
	case err := <-ended:
		if err == nil {
			err = context.Cause(ctx)
		}
		return err
	}
}

// consentLineBytesMax is the longest line of a file of records: a record is 8 KiB
// at most, and JSON doubles it at worst.
const consentLineBytesMax = 64 << 10

// fromFile gives the records of a file of JSON lines.
func (s consentSource) fromFile(name string, do consentRecordFunc) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("opening the consent records: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, consentLineBytesMax)
	for lines.Scan() {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		rec, err := consent.ReadRecordJSON(line)
		switch {
		case err != nil:
			rec = nil
		case s.Tenant != "" && rec.GetCompanyId() != s.Tenant:
			continue
		}
		if err := do(rec); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the consent records: %w", err)
	}
	return nil
}

type consentVerify struct {
	consentSource
	File  string `type:"existingfile" help:"Check a file that export wrote, instead of Kafka."`
	Heads string `type:"existingfile" help:"Output of an earlier verify: its heads must still be there."`
}

// Run checks the chains and prints them; the last line is the report as JSON. A
// fault is an error.
func (c *consentVerify) Run(ctx context.Context, t terminal) error {
	v := consent.NewVerifier()
	if c.Heads != "" {
		heads, err := readHeads(c.Heads)
		if err != nil {
			return err
		}
		for _, h := range heads {
			if c.Tenant == "" || h.CompanyID == c.Tenant {
				v.Expect(h)
			}
		}
	}
	add := func(rec *metivav1.ConsentRecord) error {
		if rec == nil {
			v.Unreadable()
		} else {
			v.Add(rec)
		}
		return nil
	}
	var err error
	if c.File != "" {
		err = c.fromFile(c.File, add)
	} else {
		v.Complete, err = c.fromKafka(ctx, t.err, add)
	}
	if err != nil {
		return err
	}
	report := v.Report(time.Now().Add(-consentRetention()))
	if err := printConsentReport(t, report); err != nil {
		return err
	}
	if !report.OK {
		return fmt.Errorf("%w: %d faults", consent.ErrChainFault, report.FaultCount)
	}
	return nil
}

// consentRetention is how long Kafka keeps consent records.
func consentRetention() time.Duration {
	for _, topic := range schemas.Topics() {
		if topic.Name == schemas.TopicConsentRecords {
			return topic.Retention
		}
	}
	return 0
}

func printConsentReport(t terminal, report consent.Report) error {
	t.table("tenant | chain | starts at | head | records | repeated | faults | head's time | head's sha256", func(row func(...any)) {
		for _, ch := range report.Chains {
			row(ch.CompanyID, ch.ChainID, ch.StartsAt, ch.Position, ch.Records, ch.Repeated, ch.Faults, ch.GivenAt.Format(time.RFC3339), ch.SHA256)
		}
	})
	for _, f := range report.Faults {
		t.printf("fault: %s at position %d of %s %s\n", f.Kind, f.Position, f.CompanyID, f.ChainID)
	}
	line, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	t.printf("%s\n", line)
	return nil
}

// errNoHeads: the file does not end with a report.
var errNoHeads = errors.New("the file of heads must be the output of metiva consent verify")

// readHeads reads the last line of an earlier output.
func readHeads(name string) ([]consent.Head, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the heads: %w", err)
	}
	text := strings.TrimSpace(string(raw))
	var report consent.Report
	if err := json.Unmarshal([]byte(text[strings.LastIndexByte(text, '\n')+1:]), &report); err != nil || report.Chains == nil {
		return nil, errNoHeads
	}
	heads := make([]consent.Head, 0, len(report.Chains))
	for _, ch := range report.Chains {
		heads = append(heads, ch.Head)
	}
	return heads, nil
}

type consentExport struct{ consentSource }

// Run prints the records; one that cannot be read is an error.
func (c *consentExport) Run(ctx context.Context, t terminal) error {
	unreadable := 0
	_, err := c.fromKafka(ctx, t.err, func(rec *metivav1.ConsentRecord) error {
		if rec == nil {
			unreadable++
			return nil
		}
		line, err := consent.WriteRecordJSON(rec)
		if err != nil {
			return err
		}
		t.printf("%s\n", line)
		return nil
	})
	if err == nil && unreadable > 0 {
		err = fmt.Errorf("%d records cannot be read and are left out: metiva consent verify names them", unreadable)
	}
	return err
}
