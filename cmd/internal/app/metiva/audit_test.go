package metiva

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/core/audit"
)

// TestAuditNamesWhatHasNoEnd: a record that began something is named when all records were
// read, and not when they broke off before its end.
func TestAuditNamesWhatHasNoEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		only     bool
		end      error
		out, err string
	}{
		"whole":                {out: `"seq":1`, err: "record 1: tenant.export was begun"},
		"unfinished":           {only: true, out: `"seq":1`},
		"broken":               {end: audit.ErrChain, out: `"seq":1`},
		"broken to unfinished": {only: true, end: audit.ErrChain},
	} {
		var out, says bytes.Buffer
		command := auditCommand{Unfinished: c.only}
		err := command.show(terminal{out: &out, err: &says}, func(fn func(audit.Record) error) error {
			return errors.Join(fn(audit.Record{Seq: 1, Action: "tenant.export", Outcome: audit.Begun}), c.end)
		})
		if (err == nil) != (c.end == nil) || !errors.Is(err, c.end) {
			t.Errorf("%s: %v", name, err)
		}
		for what, got := range map[string][2]string{"prints": {out.String(), c.out}, "says": {says.String(), c.err}} {
			if !strings.Contains(got[0], got[1]) || got[1] == "" && got[0] != "" {
				t.Errorf("%s: it %s %q, want %q", name, what, got[0], got[1])
			}
		}
	}
}
