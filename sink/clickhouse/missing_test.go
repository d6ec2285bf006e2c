package clickhouse

import (
	"fmt"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestLookUpsOfTheLongestKeys: the parameters of a look-up fit into its URL however long
// the keys are.
func TestLookUpsOfTheLongestKeys(t *testing.T) {
	t.Parallel()
	s := New(migrated(t))
	days, ledger := make([]AccountDayRow, 1000), make([]LedgerRow, 5000)
	for i := range days {
		account := fmt.Sprintf("%04d%s", i, strings.Repeat("'", 508))
		days[i] = AccountDayRow{Message: &metivav1.AccountDay{CompanyId: fmt.Sprintf("%064d", i), SiteId: "s", AccountId: account, Day: int32(i + 1), Version: 1}}
	}
	for i := range ledger {
		writer := fmt.Sprintf("%04d%s", i, strings.Repeat("'", 124))
		ledger[i] = LedgerRow{Message: &metivav1.LedgerEntry{CompanyId: fmt.Sprintf("%064d", i), WriterId: writer, MinuteMs: int64(i+1) * 60_000, Count: 1}}
	}
	if got, err := s.MissingAccountDays(t.Context(), days); err != nil || len(got) != len(days) {
		t.Errorf("%d days are missing of %d: %v", len(got), len(days), err)
	}
	if got, err := s.MissingLedger(t.Context(), ledger); err != nil || len(got) != len(ledger) {
		t.Errorf("%d entries are missing of %d: %v", len(got), len(ledger), err)
	}
}
