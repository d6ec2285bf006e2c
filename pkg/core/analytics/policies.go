package analytics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	schema "github.com/metiva-io/metiva/schemas/clickhouse"
)

// ErrPolicies marks a server whose row policies do not hold the reader to one tenant.
var ErrPolicies = errors.New("clickhouse's row policies do not hold the reader: apply deploy/clickhouse/policies.sql as its administrator")

// Readers makes readers over one connection.
type Readers struct {
	conn *clickhouse.Conn
	// policies says that the server has row policies, so that each statement states its
	// tenant for them.
	policies bool
}

// NewReaders makes readers of a server without row policies, the embedded engine: the
// predicate and the filter of each statement hold a reader to its tenant.
func NewReaders(conn *clickhouse.Conn) *Readers { return &Readers{conn: conn} }

// CheckedReaders makes readers of a real server, after it has checked what a reader
// relies on there: the connection's user cannot write or change settings, and on every
// table of a tenant one policy applies to it, the tenant's. It fails with ErrPolicies, or
// with the connection's error.
func CheckedReaders(ctx context.Context, conn *clickhouse.Conn) (*Readers, error) {
	var readonly string
	if err := conn.QueryRow(ctx, "SELECT toString(getSetting('readonly'))").Scan(&readonly); err != nil {
		return nil, fmt.Errorf("asking for the reader's rights: %w", err)
	}
	var found []policy
	err := conn.Each(ctx, `SELECT table, toString(select_filter), toUInt8((apply_to_all = 1 OR has(apply_to_list, currentUser()) OR hasAny(apply_to_list, enabledRoles()))
	AND NOT (has(apply_to_except, currentUser()) OR hasAny(apply_to_except, enabledRoles())))
FROM system.row_policies WHERE database = currentDatabase()`, func(scan func(...any) error) error {
		var p policy
		if err := scan(&p.table, &p.condition, &p.applies); err != nil {
			return err
		}
		found = append(found, p)
		return nil
	})
	if code, ok := clickhouse.Code(err); ok && code == clickhouse.CodeAccessDenied {
		return nil, fmt.Errorf("%w: the user may not see them: %w", ErrPolicies, err)
	}
	if err != nil {
		return nil, fmt.Errorf("asking for row policies: %w", err)
	}
	if err := checkPolicies(readonly, found); err != nil {
		return nil, err
	}
	return &Readers{conn: conn, policies: true}, nil
}

// policy is a row policy as the server lists it.
type policy struct {
	table, condition string
	applies          uint8
}

// ofAll reports whether it is on every table of the database, which widens each table's own.
func (p *policy) ofAll() bool { return p.table == "" || p.table == "*" }

// checkPolicies says what is missing, all of it.
func checkPolicies(readonly string, found []policy) error {
	var faults []string
	if readonly != "1" {
		faults = append(faults, "the user's setting readonly is "+readonly+", not 1")
	}
	for _, t := range schema.Tables() {
		var conditions []string
		for _, p := range found {
			if (p.table == t.Name || p.ofAll()) && p.applies == 1 {
				conditions = append(conditions, p.condition)
			}
		}
		switch {
		case len(conditions) == 0:
			faults = append(faults, t.Name+" has none")
		case !slices.Equal(conditions, []string{schema.TenantPolicy()}):
			// Policies widen each other.
			faults = append(faults, t.Name+" has others: "+strings.Join(conditions, "; "))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %s", ErrPolicies, strings.Join(faults, ", "))
	}
	return nil
}

// For makes a reader that sees one tenant.
func (r *Readers) For(tenant VerifiedTenant) (*Reader, error) {
	reader, err := NewReader(r.conn, tenant)
	if err != nil {
		return nil, err
	}
	reader.policies = r.policies
	return reader, nil
}

// under are the settings by which row policies and quotas know the tenant.
func (r *Reader) under() []clickhouse.Option {
	if !r.policies {
		return nil
	}
	return []clickhouse.Option{clickhouse.CustomSetting(schema.TenantSetting, r.company), clickhouse.QuotaKey(r.company)}
}
