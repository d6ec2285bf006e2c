package device_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/enrich/bot"
	"github.com/metiva-io/metiva/enrich/device"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// agents is testdata/agents.tsv: what is to be read from each agent.
func agents(tb testing.TB) map[string]device.Description {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "agents.tsv"))
	if err != nil {
		tb.Fatal(err)
	}
	classes := make(map[string]metivav1.DeviceClass)
	for class, label := range schemas.Labels(metivav1.DeviceClass(0)) {
		classes[label] = class
	}
	out := map[string]device.Description{"": {Class: metivav1.DeviceClass_DEVICE_CLASS_OTHER, Browser: "other", System: "other"}}
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 4 || classes[fields[0]] == 0 || out[fields[3]].Browser != "" {
			tb.Fatalf("the line of %q is wrong, or there twice", fields[len(fields)-1])
		}
		out[fields[3]] = device.Description{Class: classes[fields[0]], Browser: fields[1], System: fields[2]}
	}
	if len(out) < 200 {
		tb.Fatalf("only %d agents", len(out))
	}
	return out
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	r := device.NewReader()
	for agent, want := range agents(t) {
		if got := r.Describe([]byte(agent)); got != want {
			t.Errorf("%q: got %v, want %v", agent, got, want)
		}
	}
}

// TestBrowsersAreNoBots: no agent of a browser is taken for a machine.
func TestBrowsersAreNoBots(t *testing.T) {
	t.Parallel()
	c, err := bot.NewClassifier()
	if err != nil {
		t.Fatal(err)
	}
	browsers := 0
	for agent, d := range agents(t) {
		if !strings.HasPrefix(agent, "Mozilla/5.0 (") && !strings.HasPrefix(agent, "Opera/") {
			continue
		}
		browsers++
		if got := c.Classify([]byte(agent)); got != metivav1.BotClass_BOT_CLASS_NONE {
			t.Errorf("%q (%s) is %s", agent, d.Browser, got)
		}
	}
	if browsers < 150 {
		t.Errorf("only %d browsers", browsers)
	}
}

func TestCoarse(t *testing.T) {
	t.Parallel()
	for _, d := range agents(t) {
		if got := d.Coarse(); got != (device.Description{Class: d.Class}) {
			t.Errorf("%v of %v", got, d)
		}
	}
}

func TestAllocs(t *testing.T) {
	r := device.NewReader()
	agent := []byte("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0")
	if n := testing.AllocsPerRun(100, func() { r.Describe(agent) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDescribe: any bytes give values of the closed lists, and the agent is
// not changed.
func FuzzDescribe(f *testing.F) {
	for agent := range agents(f) {
		f.Add([]byte(agent))
	}
	r := device.NewReader()
	f.Fuzz(func(t *testing.T, agent []byte) {
		before := bytes.Clone(agent)
		got := r.Describe(agent)
		if !bytes.Equal(before, agent) {
			t.Error("the agent was changed")
		}
		if got.Class == metivav1.DeviceClass_DEVICE_CLASS_UNSPECIFIED ||
			!slices.Contains(device.Browsers(), got.Browser) || !slices.Contains(device.Systems(), got.System) {
			t.Errorf("outside the lists: %v", got)
		}
	})
}

func BenchmarkDescribe(b *testing.B) {
	agent := []byte("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36")
	r := device.NewReader()
	b.ReportAllocs()
	for b.Loop() {
		r.Describe(agent)
	}
}
