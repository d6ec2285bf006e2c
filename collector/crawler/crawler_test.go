package crawler_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/collector/crawler"
)

func TestNamesItself(t *testing.T) {
	t.Parallel()
	for _, group := range []struct {
		agents []string
		want   bool
	}{{people(), false}, {leftToEnrich(), false}, {machines(), true}} {
		for _, agent := range group.agents {
			for _, letters := range []string{agent, strings.ToUpper(agent), strings.ToLower(agent)} {
				if got := crawler.NamesItself([]byte(letters)); got != group.want {
					t.Errorf("%q: %t, want %t", letters, got, group.want)
				}
			}
		}
	}
}

// TestEveryPlace: the name is found wherever it begins, and however the agent ends.
func TestEveryPlace(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Bot/1", "webcrawler/2.0", "Spider/v3"} {
		for before := range 40 {
			for after := range 20 {
				agent := strings.Repeat("x", before) + " " + name + " " + strings.Repeat("y", after)
				if !crawler.NamesItself([]byte(agent)) {
					t.Fatalf("%q is not seen", agent)
				}
			}
		}
	}
}

// TestCutAgent: the caller cuts long agents, at any byte.
func TestCutAgent(t *testing.T) {
	t.Parallel()
	for _, agent := range people() {
		for end := range len(agent) {
			if cut := agent[:end]; crawler.NamesItself([]byte(cut)) {
				t.Errorf("%q is taken for a machine", cut)
			}
		}
	}
}

func TestNothingIsAllocated(t *testing.T) {
	for _, agent := range append(people(), machines()...) {
		raw := []byte(agent)
		if n := testing.AllocsPerRun(10, func() { crawler.NamesItself(raw) }); n != 0 {
			t.Errorf("%q: %v allocations", agent, n)
		}
	}
}

// words counts the words of an agent.
func words(agent []byte) int {
	n := 0
	for _, word := range []string{"bot", "crawler", "spider"} {
		n += bytes.Count(bytes.ToLower(agent), []byte(word))
	}
	return n
}

func hasWord(s string) bool { return words([]byte(s)) > 0 }

// FuzzNamesItself: nothing panics or is changed, letter case does not matter, an
// agent without the words is never a machine, one that goes on with a crawler's
// name is one, and text without the words around it makes none of a browser.
func FuzzNamesItself(f *testing.F) {
	for i, agent := range append(append(people(), leftToEnrich()...), machines()...) {
		f.Add([]byte(agent), uint(i))
	}
	browsers := people()
	f.Fuzz(func(t *testing.T, agent []byte, n uint) {
		before := bytes.Clone(agent)
		got := crawler.NamesItself(agent)
		if !bytes.Equal(before, agent) {
			t.Error("the agent was changed")
		}
		swapped := bytes.Clone(agent)
		for i, b := range swapped {
			if 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' {
				swapped[i] = b ^ 0x20
			}
		}
		if other := crawler.NamesItself(swapped); other != got {
			t.Errorf("%t with letters in the other case, %t as it was", other, got)
		}
		if got && !hasWord(string(agent)) {
			t.Error("a machine without its word")
		}
		if words(agent) < 8 && !crawler.NamesItself(append(bytes.Clone(agent), " (Googlebot/2.1)"...)) {
			t.Error("a crawler's name at the end is not seen")
		}
		if browser := browsers[n%uint(len(browsers))]; !hasWord(browser) {
			for _, around := range []string{string(agent) + browser, browser + string(agent)} {
				if !hasWord(around) && crawler.NamesItself([]byte(around)) {
					t.Errorf("%q is taken for a machine", around)
				}
			}
		}
	})
}

func BenchmarkNamesItself(b *testing.B) {
	for name, agent := range map[string]string{"Chrome": chrome, "iPhone": iphone, "Cubot": people()[28], "Googlebot": machines()[0], "512 bytes of bot": strings.Repeat("bot ", 128), "longest": strings.Repeat(chrome+" ", 5)[:512]} {
		raw := []byte(agent)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				crawler.NamesItself(raw)
			}
		})
	}
}
