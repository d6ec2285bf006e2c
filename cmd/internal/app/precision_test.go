package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/metiva"
	"github.com/metiva-io/metiva/enrich/edgefile"
	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/geo/geotest"
	"github.com/metiva-io/metiva/pkg/businessnet"
	"github.com/metiva-io/metiva/pkg/core/registry"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/pkg/waittest"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// networksFile runs metiva geo networks over a small company database.
func networksFile(t *testing.T, networks map[string]geotest.System) (path, databases string) {
	t.Helper()
	dir := t.TempDir()
	raw, err := os.ReadFile(geotest.Typed(t, "GeoLite2-ASN", false, networks)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, geo.FileASN), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	out := runMetiva(t, "geo", "networks", "--geo", dir)
	var report struct {
		File     string
		Networks int
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	if report.File != filepath.Join(dir, edgefile.FileName) || report.Networks == 0 {
		t.Errorf("reported %+v", report)
	}
	return report.File, dir
}

func runMetiva(t *testing.T, args ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := metiva.Run(t.Context(), app.System{Args: args, Stdout: &out, Stderr: &out, Env: func(string) (string, bool) { return "", false }}); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.Bytes()
}

var ing = geotest.System{ASN: 15625, Organization: "ING Bank N.V."}

func TestLookupWithAndWithoutNetworks(t *testing.T) {
	t.Parallel()
	file, dir := networksFile(t, map[string]geotest.System{"127.0.0.0/16": {ASN: 1136}, "20.0.1.64/29": ing})
	for _, c := range []struct {
		args          []string
		verdict, name string
	}{
		{[]string{"20.0.1.65"}, "ambiguous_truncation", ""},
		{[]string{"--networks", file, "20.0.1.65"}, "company", "ING"},
		{[]string{"--networks", file, "20.0.1.72"}, "ambiguous_truncation", ""},
	} {
		var line struct{ Verdict, Name string }
		if err := json.Unmarshal(runMetiva(t, append([]string{"geo", "lookup", "--geo", dir}, c.args...)...), &line); err != nil {
			t.Fatal(err)
		}
		if line.Verdict != c.verdict || line.Name != c.name {
			t.Errorf("%v: %+v", c.args, line)
		}
	}
}

// sealedNetworks reads what addresses were sealed as, from Kafka.
type sealedNetworks struct {
	mu     sync.Mutex
	opener *seal.Opener
	all    map[string]int // how many events of each network
	events []*metivav1.CollectedEvent
}

func (p *pair) sealedNetworks() *sealedNetworks {
	p.t.Helper()
	material, err := seal.ReadKeyFile(filepath.Join(p.keys, seal.KeyFileName(seal.PurposeResolverPrivate)), seal.PurposeResolverPrivate)
	if err != nil {
		p.t.Fatal(err)
	}
	private, err := material.PrivateKey()
	if err != nil {
		p.t.Fatal(err)
	}
	client, err := kafka.NewClient(kafka.Config{Brokers: []string{p.broker}, ClientID: "test"}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		p.t.Fatal(err)
	}
	s := &sealedNetworks{opener: seal.NewOpener(private), all: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for topic, apply := range map[string]func(key, value []byte) error{
		schemas.TopicControlKeys: s.opener.ApplyKey,
		schemas.TopicEventsCollected: func(_, value []byte) error {
			e := &metivav1.CollectedEvent{}
			if err := proto.Unmarshal(value, e); err != nil {
				return err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, e)
			return nil
		},
	} {
		table := client.NewTable(topic, apply)
		running.Go(func() {
			if err := table.Run(ctx); err != nil {
				p.t.Errorf("reading %s: %v", topic, err)
			}
		})
	}
	p.t.Cleanup(func() {
		cancel()
		running.Wait()
		_ = client.Close()
	})
	return s
}

// of counts the events sealed as this network; an event whose key is still on its
// way is looked at again.
func (s *sealedNetworks) of(network string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var later []*metivav1.CollectedEvent
	for _, e := range s.events {
		b := seal.Binding{CompanyID: e.GetCompanyId(), SiteID: e.GetSiteId(), EventID: [16]byte(e.GetEventId()), Field: seal.FieldAddress}
		opened, err := s.opener.OpenAddress(b, e.GetSealedAddress())
		if err != nil {
			later = append(later, e)
			continue
		}
		s.all[opened.Prefix().String()]++
	}
	s.events = later
	return s.all[network]
}

// TestThePrecisionOfAProcess: a collector with a file of business networks seals
// an address finer once its site is set so, and by the file that replaces it,
// without an event being refused.
func TestThePrecisionOfAProcess(t *testing.T) {
	t.Parallel()
	file, _ := networksFile(t, map[string]geotest.System{"127.0.0.0/29": ing, "20.0.1.0/27": ing})
	// The test's own address is a reserved one, which the chain never names.
	write := func(network string) {
		t.Helper()
		set, err := businessnet.New([]netip.Prefix{netip.MustParsePrefix(network)}, time.Unix(0, 0))
		if err == nil {
			err = edgefile.Write(file, set)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if set, err := businessnet.Load(file); err != nil || set.LengthOf(netip.MustParseAddr("127.0.0.1")) != 0 {
		t.Errorf("a reserved network is in the file, or %v", err)
	}
	write("127.0.0.0/29")
	p := startPair(t, map[string]string{"METIVA_COLLECTOR_PRECISION": "network", "METIVA_COLLECTOR_COMPANY_DB": file})
	claim, site := p.site()
	key := site.Keys[0].Key
	sealed := p.sealedNetworks()
	waittest.Until(t, 20*time.Second, "the site to be known", func() bool { return p.view(key) == "accepted" })
	waittest.Until(t, 20*time.Second, "an event of a /24", func() bool { return sealed.of("127.0.0.0/24") > 0 })
	yes, by := true, "Jo de Vries"
	if _, err := p.store.SetSite(t.Context(), claim, site.ID, registry.SiteChange{NetworkPrecision: &yes, InterestAcceptedBy: &by}); err != nil {
		t.Fatal(err)
	}
	until := func(network string) {
		t.Helper()
		waittest.Until(t, 20*time.Second, "an event of "+network, func() bool {
			if got := p.view(key); got != "accepted" {
				t.Fatalf("a page view is answered %s", got)
			}
			return sealed.of(network) > 0
		})
	}
	until("127.0.0.0/29")
	if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	write("127.0.0.0/26")
	until("127.0.0.0/26")
}
