package metiva

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/pkg/embedded/kafka/kafkatest"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

const (
	tenantA = "cmp_aaaaaaaaaaaaaaaaaaaa"
	tenantB = "cmp_bbbbbbbbbbbbbbbbbbbb"
)

// consentLog is a broker with consent records on it.
type consentLog struct {
	t        *testing.T
	broker   *kafkatest.Broker
	producer *kafka.Producer
}

func startConsentLog(t *testing.T) *consentLog {
	t.Helper()
	l := &consentLog{t: t, broker: kafkatest.Start(t)}
	for _, topic := range schemas.Topics() {
		if topic.Name == schemas.TopicConsentRecords {
			l.broker.CreateTopic(topic.Name, topic.Partitions)
		}
	}
	client, err := kafka.NewClient(kafka.Config{Brokers: l.broker.Addrs(), ClientID: "test"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	if l.producer, err = client.NewProducer(kafka.ProducerConfig{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.producer.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; _ = client.Close() })
	return l
}

// chain makes n records of a tenant.
func (l *consentLog) chain(company, id string, n int) []*metivav1.ConsentRecord {
	l.t.Helper()
	chain := consent.NewChain(company, id)
	out := make([]*metivav1.ConsentRecord, n)
	for i := range out {
		out[i] = &metivav1.ConsentRecord{
			CompanyId: company, RecordId: bytes.Repeat([]byte{byte(i + 1)}, 16), SubjectId: bytes.Repeat([]byte{byte(i % 3)}, 16),
			Sequence: uint64(i + 1), GivenAtMs: 1_795_348_830_000, LawfulBasis: "consent",
		}
		if err := chain.Append(out[i]); err != nil {
			l.t.Fatal(err)
		}
	}
	return out
}

func (l *consentLog) write(records ...*metivav1.ConsentRecord) {
	l.t.Helper()
	for _, rec := range records {
		value, err := schemas.Encode(nil, rec)
		if err != nil {
			l.t.Fatal(err)
		}
		l.raw(rec.GetCompanyId(), consent.RecordKey(rec.GetCompanyId(), rec.GetSubjectId()), value)
	}
}

func (l *consentLog) raw(company string, key, value []byte) {
	l.t.Helper()
	if err := l.producer.ProduceSync(l.t.Context(), schemas.TopicConsentRecords, schemas.ConsentPartition(company, 4), key, value); err != nil {
		l.t.Fatal(err)
	}
}

// run runs the command on the broker.
func (l *consentLog) run(args ...string) (output string, err error) {
	return runMetiva(l.t, append(args, "--kafka-brokers", l.broker.Addrs()[0])...)
}

func runMetiva(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	var out bytes.Buffer
	err = Run(t.Context(), app.System{Args: append([]string{"consent"}, args...), Stdout: &out, Stderr: io.Discard})
	return out.String(), err
}

// reported reads the last line of an output.
func reported(t *testing.T, output string) (r consent.Report) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatalf("%v in %q", err, output)
	}
	return r
}

func TestConsentVerify(t *testing.T) {
	t.Parallel()
	l := startConsentLog(t)
	if out, err := l.run("verify"); err != nil || !reported(t, out).OK {
		t.Fatalf("an empty topic: %v %s", err, out)
	}
	a, b := l.chain(tenantA, "edge-1", 6), l.chain(tenantB, "edge-1", 4)
	l.write(a...)
	l.write(b[:3]...)
	l.write(a[5]) // sent twice
	noted, err := l.run("verify")
	if r := reported(t, noted); err != nil || !r.OK || r.Records != 10 || len(r.Chains) != 2 || r.Chains[0].Position != 6 || r.Chains[0].Repeated != 1 || r.Chains[1].CompanyID != tenantB || !strings.Contains(noted, "head's sha256") {
		t.Fatalf("%v\n%s", err, noted)
	}
	heads := filepath.Join(t.TempDir(), "heads")
	if err := os.WriteFile(heads, []byte(noted), 0o600); err != nil {
		t.Fatal(err)
	}
	l.write(b[3])
	if out, err := l.run("verify", "--heads", heads); err != nil {
		t.Fatalf("later: %v\n%s", err, out)
	}

	// The same records from a file, and what somebody may do to it.
	exported, err := l.run("export", "--tenant", tenantA)
	if err != nil || strings.Count(exported, "\n") != 7 || strings.Contains(exported, tenantB) {
		t.Fatalf("%v\n%s", err, exported)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(exported, "\n"), "\n")
	lines[6] += "\n"
	for name, c := range map[string]struct {
		lines []string
		fault consent.FaultKind
		heads bool
	}{
		"whole":         {lines: lines},
		"reordered":     {lines: []string{lines[3], lines[5], lines[0], lines[2], lines[1], lines[4]}},
		"removed":       {lines: append(append([]string{}, lines[:2]...), lines[3:]...), fault: consent.FaultHole},
		"tampered":      {lines: append([]string{strings.Replace(lines[0], `"sequence":"1"`, `"sequence":"9"`, 1)}, lines[1:]...), fault: consent.FaultHash},
		"not a record":  {lines: append([]string{"{\"e_mail\":\"canary\"}\n"}, lines...), fault: consent.FaultUnreadable},
		"tail":          {lines: lines[:4]},
		"tail and head": {lines: lines[:4], heads: true, fault: consent.FaultTail},
	} {
		file := filepath.Join(t.TempDir(), "records")
		if err := os.WriteFile(file, []byte(strings.Join(c.lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"verify", "--tenant", tenantA, "--file", file}
		if c.heads {
			args = append(args, "--heads", heads)
		}
		out, err := runMetiva(t, args...)
		r := reported(t, out)
		if errors.Is(err, consent.ErrChainFault) != (c.fault != "") || r.OK != (c.fault == "") || c.fault != "" && (len(r.Faults) != 1 || r.Faults[0].Kind != c.fault) || strings.Contains(out, "canary") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestConsentVerifyFindsFaultsInKafka: a fork, a record under another's key, and
// one that is none.
func TestConsentVerifyFindsFaultsInKafka(t *testing.T) {
	t.Parallel()
	l := startConsentLog(t)
	a := l.chain(tenantA, "edge-1", 4)
	l.write(a...)
	forked := proto.CloneOf(a[2])
	forked.Sequence = 99
	hash := consent.RecordHash(forked)
	forked.RecordSha256 = hash[:]
	l.write(forked)
	l.raw(tenantA, []byte(tenantA+"/00"), []byte("canary"))
	value, err := schemas.Encode(nil, a[0])
	if err != nil {
		t.Fatal(err)
	}
	l.raw(tenantA, consent.RecordKey(tenantA, bytes.Repeat([]byte{9}, 16)), value)
	l.write(l.chain(tenantB, "edge-1", 4)[2:]...) // the topic is whole, so its beginning was removed
	out, err := l.run("verify")
	if !errors.Is(err, consent.ErrChainFault) || strings.Contains(out, "canary") {
		t.Fatalf("%v\n%s", err, out)
	}
	got := map[consent.FaultKind]int{}
	for _, f := range reported(t, out).Faults {
		got[f.Kind]++
	}
	if got[consent.FaultFork] != 1 || got[consent.FaultUnreadable] != 2 || got[consent.FaultHole] != 1 || len(got) != 3 {
		t.Errorf("faults %v", got)
	}
	if out, err := l.run("verify", "--tenant", "cmp_cccccccccccccccccccc"); err != nil {
		t.Errorf("a tenant without records: %v\n%s", err, out)
	}
}

// TestConsentVerifyAfterRetention: a beginning that Kafka has removed is none of
// the chain's faults.
func TestConsentVerifyAfterRetention(t *testing.T) {
	t.Parallel()
	l := startConsentLog(t)
	l.write(l.chain(tenantA, "edge-1", 9)...)
	l.broker.DeleteBefore(schemas.TopicConsentRecords, schemas.ConsentPartition(tenantA, 4), 5)
	out, err := l.run("verify")
	if r := reported(t, out); err != nil || len(r.Chains) != 1 || r.Chains[0].StartsAt != 6 || r.Chains[0].Records != 4 {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestConsentVerifyWithoutKafka(t *testing.T) {
	t.Parallel()
	if out, err := runMetiva(t, "verify", "--kafka-brokers", "127.0.0.1:1"); err == nil || errors.Is(err, consent.ErrChainFault) {
		t.Errorf("%v\n%s", err, out)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := runMetiva(t, "verify", "--file", empty, "--heads", empty); !errors.Is(err, errNoHeads) {
		t.Errorf("heads of an empty file: %v", err)
	}
}
