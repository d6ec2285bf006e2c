package collector

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/metiva-io/metiva/collector/choice"
	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/collector/snippet"
	"github.com/metiva-io/metiva/consent"
	"github.com/metiva-io/metiva/schemas"
)

// tableRows reads the rows of a document's tables, by their first cell.
func tableRows(t *testing.T, path string, cells int) map[string][]string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(raw)) {
		parts := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(parts) != cells || !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		for i := range parts {
			parts[i] = strings.Trim(strings.TrimSpace(parts[i]), "`")
		}
		if _, twice := rows[parts[0]]; twice {
			t.Errorf("%s stands twice in the table", parts[0])
		}
		rows[parts[0]] = parts[1:]
	}
	delete(rows, "limit")
	return rows
}

// TestLimitsAreDocumented holds docs/operations/limits.md to Config and to the
// example environment.
func TestLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	rows := tableRows(t, filepath.Join("..", "docs", "operations", "limits.md"), 4)
	raw, err := os.ReadFile(filepath.Join("..", "deploy", "env.example"))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "# ")), "="); ok {
			settings[name] = value
		}
	}
	config := reflect.ValueOf(DefaultConfig())
	for i := range config.NumField() {
		field := config.Type().Field(i).Name
		row, found := rows[field]
		if !found {
			t.Errorf("docs/operations/limits.md lacks %s", field)
			continue
		}
		delete(rows, field)
		setting, documented, reason := row[0], row[1], row[2]
		if value := shown(t, config.Field(i).Interface()); documented != value {
			t.Errorf("%s: the default is %s, documented as %s", field, value, documented)
		}
		if len(reason) < 30 {
			t.Errorf("%s has no reason", field)
		}
		value, known := settings[setting]
		switch {
		case field == "Partitions", field == "ConsentPartitions": // Kafka says it
		case !known:
			t.Errorf("%s: deploy/env.example has no setting %q", field, setting)
		case field != "DrainTimeout" && value != documented: // that is a part of the process's own
			t.Errorf("%s: %s is %q in deploy/env.example, documented as %q", field, setting, value, documented)
		}
	}
	for field := range rows {
		t.Errorf("docs/operations/limits.md has %s, which is no limit of Config", field)
	}
}

func shown(t *testing.T, value any) string {
	t.Helper()
	switch v := value.(type) {
	case string:
		return v
	case []netip.Prefix:
		return strings.Trim(fmt.Sprint(v), "[]")
	case time.Duration:
		return v.String()
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	}
	t.Errorf("a limit of type %T", value)
	return ""
}

func TestFixedLimitsAreDocumented(t *testing.T) {
	t.Parallel()
	rows := tableRows(t, filepath.Join("..", "docs", "operations", "limits.md"), 3)
	for limit, value := range map[string]any{
		"hops of X-Forwarded-For": hopsMax, "bytes of one hop": hopBytesMax, "bytes of a user agent that are kept": userAgentBytesMax,
		"bytes of an address of a page": mask.URLBytesMax, "bytes of a path": schemas.PathBytesMax, "bytes of a campaign parameter": schemas.CampaignFieldBytesMax,
		"bytes of an event's record": schemas.RecordBytesMax, "seconds of its rate a site or network may send at once": burstSeconds,
		"seconds a preflight may be remembered": preflightSeconds, "released scripts that are served": snippet.ReleasesMax,
		"visible milliseconds of an engagement": schemas.VisibleMsMax, "bytes of a form's id": schemas.FormIDBytesMax,
		"bytes of a custom event's name": schemas.CustomNameBytesMax, "bytes of a property's name": schemas.PropertyNameBytesMax,
		"bytes of a property's value": schemas.PropertyValueBytesMax, "properties of a custom event": schemas.CustomPropertiesMax,
		"properties a site may register": schemas.CustomPropertyNamesMax,
		"fields of a form":               schemas.FormFieldsMax, "bytes of a form field": schemas.FormFieldBytesMax,
		"bytes of a call to /v1/consent": consentBodyBytesMax, "further claims of a call to /v1/consent": choice.ClaimsMax, "bytes of a raw signal": consent.RawSignalBytesMax,
		"texts of a site": schemas.ConsentTextsMax, "chains of consent records of a tenant": consentChainsMax, "consent records that wait at one chain": consentQueueMax,
	} {
		if row, found := rows[limit]; !found || row[0] != fmt.Sprint(value) {
			t.Errorf("%s: %v, documented as %v", limit, value, row)
		}
	}
}
