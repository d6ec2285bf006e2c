package app_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/metiva"
	"github.com/metiva-io/metiva/pkg/embedded/postgres/postgrestest"
	schema "github.com/metiva-io/metiva/schemas/postgres"
)

// TestTheOperatorSetsASiteUp goes the whole way on the command line, against a
// database of its own.
func TestTheOperatorSetsASiteUp(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t)
	dir := t.TempDir()
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := metiva.Run(context.Background(), app.System{
			Args: append(args, "--postgres-url", db.URL(schema.RoleRW).Reveal(), "--postgres-worker-url", db.URL(schema.RoleWorker).Reveal(),
				"--data", filepath.Join(dir, "none")),
			Stdout: &out, Stderr: &out,
		})
		return out.String(), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := run(args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	id := func(prefix, in string) string {
		t.Helper()
		found := regexp.MustCompile(prefix + `_[0-9a-z]+`).FindString(in)
		if found == "" {
			t.Fatalf("no %s id in %q", prefix, in)
		}
		return found
	}
	file := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	agency := id("agy", must("agency", "create", "--name", "Bureau"))
	company := id("cmp", must("tenant", "create", "--agency", agency, "--name", "Klant"))
	site := id("sit", must("site", "create", "--company", company, "--name", "Site", "--origin", "https://www.example.nl"))
	of := []string{"--company", company, "--site", site}
	with := func(command string, more ...string) []string {
		return append(append(strings.Fields(command), of...), more...)
	}

	must(with("site set", "--tcf-vendor", "755", "--cmp", "cookiebot", "--grant-days", "180", "--property", "plan", "--property", "basket", "--no-honour-dnt")...)
	if out, err := run(with("site set", "--precision", "network")...); err == nil || !strings.Contains(err.Error(), "accepted anew") {
		t.Errorf("a finer precision that nobody accepts: %s, %v", out, err)
	}
	if shown := must(with("site show")...); !strings.Contains(shown, "truncated") {
		t.Errorf("the precision of a new site:\n%s", shown)
	}
	must(with("site set", "--precision", "network", "--accepted-by", "Jo de Vries")...)
	text := file("text.txt", "Ja, neem contact op.\r\n")
	must(with("site text add", "--version", "contact-1", "--language", "nl", "--file", text)...)
	if out, err := run(with("site text add", "--version", "contact-1", "--language", "nl", "--file", file("other.txt", "Iets anders"))...); err == nil || !strings.Contains(err.Error(), "choose a new version") {
		t.Errorf("a version for another text: %s, %v", out, err)
	}
	if out := must(with("site text show", "--version", "contact-1")...); out != "Ja, neem contact op." {
		t.Errorf("text: %q", out)
	}
	policy := `{"form_id":"contact","fields":[{"name":"email","kind":"email","required":true}],"text_versions":["contact-1"],"redirect_urls":["https://www.example.nl/bedankt"]}`
	must(with("site form set", "--file", file("policy.json", policy))...)
	for name, wrong := range map[string]string{
		"unknown member": strings.Replace(policy, "redirect_urls", "redirects", 1),
		"two":            policy + policy,
		"password":       strings.Replace(policy, `"name":"email"`, `"name":"password"`, 1),
		"elsewhere":      strings.Replace(policy, "www.example.nl/", "www.example.org/", 1),
	} {
		if out, err := run(with("site form set", "--file", file("wrong.json", wrong))...); err == nil {
			t.Errorf("%s was taken: %s", name, out)
		}
	}
	must(with("site score", "--key-page", "prijzen, zakelijk=/prijzen/a:b:60", "--key-page", "demo=/demo*:100", "--hot-score", "70", "--hot-cooldown-days", "3", "--returned-after-days", "14")...)
	must(with("site score", "--remove-key-page", "demo")...)
	for name, wrong := range map[string][]string{
		"nothing": {}, "no name": {"--key-page", "/x:1"}, "no weight": {"--key-page", "a=/x"}, "weight": {"--key-page", "a=/x:101"}, "words": {"--key-page", "a=/x:much"},
		"path": {"--key-page", "a=x:1"}, "threshold": {"--hot-score", "101"}, "unknown": {"--remove-key-page", "demo"},
	} {
		if out, err := run(with("site score", wrong...)...); err == nil {
			t.Errorf("%s was taken: %s", name, out)
		}
	}
	shown := must(with("site show")...)
	for _, want := range []string{"prijzen, zakelijk=/prijzen/a:b:60", "70", "3 days", "14 days", "755", "cookiebot", "180 days", "network", "Jo de Vries", "plan basket", "contact-1", `"form_id": "contact"`, "https://www.example.nl/bedankt"} {
		if !strings.Contains(shown, want) {
			t.Errorf("site show lacks %q:\n%s", want, shown)
		}
	}
	if out := must(with("site rotate-key", "--overlap", "1h")...); strings.Count(out, "pk_") != 2 {
		t.Errorf("rotation: %s", out)
	}
	must(with("site set", "--visit-idle-minutes", "20", "--visit-midnight", "Europe/London", "--visit-campaign")...)
	if shown := must(with("site show")...); !strings.Contains(shown, "after 20 minutes of silence, at midnight in Europe/London, at another campaign") {
		t.Errorf("rules of visits:\n%s", shown)
	}
	must(with("site set", "--visit-midnight", "none", "--no-visit-campaign")...)
	if shown := must(with("site show")...); !strings.Contains(shown, "after 20 minutes of silence\n") {
		t.Errorf("rules of visits taken back:\n%s", shown)
	}
	must(with("site set", "--cmp", "none", "--no-properties", "--precision", "truncated")...)
	must(with("site form remove", "--form", "contact")...)
	if out := must("site", "list", "--company", company); !strings.Contains(out, site) || strings.Count(out, "pk_") != 2 {
		t.Errorf("list: %s", out)
	}
	if shown = must(with("site show")...); strings.Contains(shown, "cookiebot") || strings.Contains(shown, "basket") || strings.Contains(shown, "form_id") || strings.Contains(shown, "demo") || !strings.Contains(shown, "truncated") {
		t.Errorf("not taken back:\n%s", shown)
	}
}
