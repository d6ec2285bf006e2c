package export

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/metiva-io/metiva/pkg/core/audit"
	"github.com/metiva-io/metiva/pkg/tenant"
)

// auditAction names exports in the audit.
const auditAction = "tenant.export"

// auditEnd bounds the record of an export whose context has ended.
const auditEnd = 10 * time.Second

// auditDetails are what the audit keeps of an export: where it was written to is the
// operator's.
type auditDetails struct {
	// The run tells which end is whose: of an export that was killed there is none.
	audit.Run
	Format string `json:"format"`
	// Since and Until are left out of an export of everything.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	// Rows by table, and the SHA-256 of the manifest: of a finished export.
	Rows           map[string]int64 `json:"rows,omitempty"`
	ManifestSHA256 string           `json:"manifest_sha256,omitempty"`
}

// recorded has an export recorded: that it begins before a row is read, and what became
// of it. One whose end cannot be recorded is undone.
func recorded(ctx context.Context, claim tenant.Claim, cfg Config, write func(Config) (Manifest, error)) (Manifest, error) {
	details := auditDetails{Run: audit.NewRun(), Format: string(cfg.Format)}
	if !cfg.Period.From.IsZero() {
		since, until := cfg.Period.From.UTC(), cfg.Period.To.UTC()
		details.Since, details.Until = &since, &until
	}
	note := func(ctx context.Context, outcome audit.Outcome, details auditDetails) error {
		if err := cfg.Audit(ctx, claim, audit.Entry{Action: auditAction, Outcome: outcome, Details: details}); err != nil {
			return fmt.Errorf("recording the export: %w", err)
		}
		return nil
	}
	if err := note(ctx, audit.Begun, details); err != nil {
		return Manifest{}, err
	}
	cfg.finished = func(ctx context.Context, m Manifest, sum string) error {
		done := details
		done.Rows, done.ManifestSHA256 = make(map[string]int64), sum
		for _, f := range m.Files {
			if f.Table != "" {
				done.Rows[f.Table] = f.Rows
			}
		}
		return note(ctx, audit.Done, done)
	}
	m, err := write(cfg)
	if err == nil {
		return m, nil
	}
	outcome := audit.Failed
	if errors.Is(err, ErrErased) {
		outcome = audit.Denied
	}
	// Also of an export that was interrupted.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditEnd)
	defer cancel()
	return m, errors.Join(err, note(end, outcome, details))
}
