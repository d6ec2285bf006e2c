package deploy_test

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/metiva-io/metiva/deploy"
)

var update = flag.Bool("update", false, "rewrite kafka/topics.tsv")

type service struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	Networks    []string          `yaml:"networks"`
	Privileged  bool              `yaml:"privileged"`
	ReadOnly    bool              `yaml:"read_only"`
}

type compose struct {
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func parse(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTopicsFileIsWhatTheSchemasSay(t *testing.T) {
	t.Parallel()
	const name = "kafka/topics.tsv"
	want := deploy.TopicsFile()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, name) != want {
		t.Errorf("%s differs from schemas.Topics: run go test ./deploy -update", name)
	}
}

func TestPoliciesAreWhatTheTablesSay(t *testing.T) {
	t.Parallel()
	const name = "clickhouse/policies.sql"
	want := deploy.PoliciesFile()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, name) != want {
		t.Errorf("%s differs from schemas/clickhouse.Tables: run go test ./deploy -update", name)
	}
}

// TestEveryUserHasAPolicy: who has none sees no row, and who writes of what it reads would
// write as if there were nothing.
func TestEveryUserHasAPolicy(t *testing.T) {
	t.Parallel()
	var users struct {
		Users struct {
			User []struct {
				XMLName xml.Name
				Quota   string `xml:"quota"`
				Grants  string `xml:"grants>query"`
			} `xml:",any"`
		} `xml:"users"`
	}
	if err := xml.Unmarshal([]byte(read(t, "clickhouse/users.xml")), &users); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, user := range users.Users.User {
		name := user.XMLName.Local
		seen[name] = true
		// ClickHouse takes any one of a user's quotas: the tenants' must be the only one.
		if name == "reader" && user.Quota != "" {
			t.Errorf("the reader has the quota %s beside that of the policies", user.Quota)
		}
		for line := range strings.Lines(read(t, "clickhouse/policies.sql")) {
			_, to, policy := strings.Cut(line, " AS PERMISSIVE TO ")
			if !policy || user.Grants == "" {
				continue
			}
			has := slices.Contains(strings.Split(strings.TrimSuffix(strings.TrimSpace(to), ";"), ", "), name)
			if everything := strings.Contains(line, " POLICY OR REPLACE everything "); has != (everything == (name != "reader")) {
				t.Errorf("%s: is of the user %s: %v", strings.TrimSpace(line), name, has)
			}
		}
	}
	for _, name := range []string{"ingest", "keeper", "reader", "migrate"} {
		if !seen[name] {
			t.Errorf("there is no user %s", name)
		}
	}
}

func TestServices(t *testing.T) {
	t.Parallel()
	c := parse(t)
	want := []string{"clickhouse", "collector-1", "collector-2", "core", "enrich", "kafka", "migrate", "postgres", "sink"}
	if got := slices.Sorted(maps.Keys(c.Services)); !slices.Equal(got, want) {
		t.Fatalf("services %v, want %v", got, want)
	}
	for name, command := range map[string]string{"collector-1": "collector", "collector-2": "collector", "enrich": "enrich", "sink": "sink", "core": "core", "migrate": "metiva"} {
		s := c.Services[name]
		if len(s.Command) == 0 || s.Command[0] != command {
			t.Errorf("%s runs %v, want %s", name, s.Command, command)
		}
		if _, err := os.Stat("../cmd/" + command + "/main.go"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !s.ReadOnly || s.Privileged {
			t.Errorf("%s: want a read-only file system and no privileges", name)
		}
		for _, env := range []string{"METIVA_ENV", "METIVA_REGION", "METIVA_KAFKA_BROKERS"} {
			if s.Environment[env] == "" {
				t.Errorf("%s lacks %s", name, env)
			}
		}
	}
}

func TestImagesHaveExactTags(t *testing.T) {
	t.Parallel()
	exact := regexp.MustCompile(`^[a-z0-9./-]+:\d+\.\d+(\.\d+)*(-[a-z0-9]+)*$`)
	for name, s := range parse(t).Services {
		if strings.HasPrefix(s.Image, "metiva:") {
			if s.Image != "metiva:${METIVA_VERSION:?set METIVA_VERSION to the release to run}" {
				t.Errorf("%s: our own image must be of a named release: %s", name, s.Image)
			}
			continue
		}
		if !exact.MatchString(s.Image) {
			t.Errorf("%s: %q is not an exact tag", name, s.Image)
		}
	}
	for _, line := range strings.Split(read(t, "Dockerfile"), "\n") {
		if image, ok := strings.CutPrefix(line, "FROM "); ok {
			image, _, _ = strings.Cut(image, " ")
			if !exact.MatchString(image) {
				t.Errorf("Dockerfile: %q is not an exact tag", image)
			}
		}
	}
}

func TestNoSecretStandsInAFile(t *testing.T) {
	t.Parallel()
	for name, s := range parse(t).Services {
		for key, value := range s.Environment {
			if secretName(key) && value != "" && !regexp.MustCompile(`^\$\{[A-Z0-9_]+(:\?[^}]+|:-)\}$`).MatchString(value) {
				t.Errorf("%s: %s has a value in the file, or a default", name, key)
			}
		}
	}
	for key, value := range example(t) {
		if secretName(key) && value != "" {
			t.Errorf("env.example: %s has a value", key)
		}
	}
	if withPassword := regexp.MustCompile(`://[^/\s:]+:[^@\s]+@`); withPassword.MatchString(read(t, "compose.yaml")) {
		t.Error("compose.yaml: an address with a password in it")
	}
}

// secretName says whether a variable holds a secret: a password, or an address
// that has one in it.
func secretName(key string) bool {
	return strings.Contains(key, "PASSWORD") || strings.HasSuffix(key, "_URL") || strings.Contains(key, "SECRET")
}

func example(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	comment := false
	for _, line := range strings.Split(read(t, "env.example"), "\n") {
		switch key, value, ok := strings.Cut(line, "="); {
		case strings.HasPrefix(line, "#"):
			comment = true
		case ok:
			if !comment {
				t.Errorf("env.example: %s has no comment above it", key)
			}
			out[key] = value
		case line == "":
			comment = false
		default:
			t.Errorf("env.example: %q is neither a comment nor a variable", line)
		}
	}
	return out
}

func TestExampleHasEveryVariable(t *testing.T) {
	t.Parallel()
	asked := map[string]string{}
	for _, m := range regexp.MustCompile(`\$\{([A-Z0-9_]+)(?::([?-])([^}]*))?\}`).FindAllStringSubmatch(read(t, "compose.yaml"), -1) {
		if m[2] == "" {
			t.Errorf("compose.yaml: %s has neither a message nor a default", m[1])
		}
		if m[2] == "?" && m[3] == "" {
			t.Errorf("compose.yaml: %s is required without a message", m[1])
		}
		asked[m[1]] = ""
		if m[2] == "-" {
			asked[m[1]] = m[3]
		}
	}
	there := example(t)
	for key, value := range asked {
		got, ok := there[key]
		if !ok {
			t.Errorf("env.example lacks %s", key)
		} else if got != value {
			t.Errorf("env.example: %s is %q, the default is %q", key, got, value)
		}
	}
	for key := range there {
		if _, ok := asked[key]; !ok {
			t.Errorf("env.example: nothing asks for %s", key)
		}
	}
}

func TestOnlyCollectorsArePublishedAndOnLoopback(t *testing.T) {
	t.Parallel()
	for name, s := range parse(t).Services {
		for _, port := range s.Ports {
			if !strings.HasPrefix(name, "collector-") || !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s publishes %s", name, port)
			}
		}
		if slices.Contains(s.Networks, "outside") != strings.HasPrefix(name, "collector-") {
			t.Errorf("%s: networks %v", name, s.Networks)
		}
	}
}

func TestCollectorsHaveTheirOwnKeysOnly(t *testing.T) {
	t.Parallel()
	for name, s := range parse(t).Services {
		for _, v := range s.Volumes {
			if strings.HasSuffix(v, ":/keys:ro") && strings.HasPrefix(name, "collector-") != strings.Contains(v, "METIVA_COLLECTOR_KEYS") {
				t.Errorf("%s mounts %s", name, v)
			}
		}
	}
}

func TestMountedFilesExist(t *testing.T) {
	t.Parallel()
	c := parse(t)
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if strings.HasPrefix(source, ".") {
				if _, err := os.Stat(source); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			} else if _, ok := c.Volumes[source]; !ok && !strings.HasPrefix(source, "$") {
				t.Errorf("%s: volume %s is not declared", name, source)
			}
		}
	}
}

func TestClickHouseFiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"clickhouse/config.xml", "clickhouse/users.xml"} {
		for dec := xml.NewDecoder(strings.NewReader(read(t, name))); ; {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	users := read(t, "clickhouse/users.xml")
	for _, want := range []string{"<async_insert>0</async_insert>", "<deduplicate_blocks_in_dependent_materialized_views>1<", `<default remove="1"/>`, `from_env="CLICKHOUSE_INGEST_PASSWORD_SHA256"`} {
		if !strings.Contains(users, want) {
			t.Errorf("users.xml lacks %s", want)
		}
	}
	if regexp.MustCompile(`<password[a-z0-9_]*>`).MatchString(users) {
		t.Error("users.xml has a password in it")
	}
}
