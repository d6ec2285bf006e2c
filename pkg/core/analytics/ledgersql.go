package analytics

import (
	"strings"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// The scope of a statement: whose rows it adds up.
const (
	everyTenant = ` AND ({company:String} = '' OR company_id = {company:String})`
	oneTenant   = ` AND tenant_bucket = {bucket:UInt8} AND company_id = {company:String}`
)

// ledgerStep is the beginning of a row's step, and whether the row may still change.
func ledgerStep(column string) string {
	return `toInt64(intDiv(toUnixTimestamp(` + column + `), {step:UInt32}) * {step:UInt32}) AS at,
toUInt8(` + column + ` >= {settled:DateTime('UTC')}) AS open`
}

const (
	edgePeriod = ` WHERE minute >= {since:DateTime('UTC')} AND minute < {until:DateTime('UTC')}`
	rowPeriod  = ` WHERE received_at >= {since:DateTime('UTC')} AND received_at < {until:DateTime('UTC')}`
)

func ledgerEdge(scope string) string {
	return `SELECT company_id, ` + ledgerStep("minute") + `, writer_id, stage, reason, sum(count) FROM ledger_edge FINAL` + edgePeriod + scope + `
GROUP BY company_id, at, open, writer_id, stage, reason`
}

func ledgerWritten(scope string) string {
	return `SELECT company_id, ` + ledgerStep("received_at") + `, writer_id, '', '', count() FROM events FINAL` + rowPeriod + scope + `
GROUP BY company_id, at, open, writer_id`
}

func ledgerDropped(scope string) string {
	return `SELECT company_id, ` + ledgerStep("received_at") + `, writer_id, stage, if(` + isRecovered(scope) + ` AND reason != 'replayed', '` + recovered + `', reason) AS outcome,
count() FROM drops FINAL` + rowPeriod + scope + `
GROUP BY company_id, at, open, writer_id, stage, outcome`
}

// recovered stands for the reason of a drop whose event came after all.
const recovered = "recovered"

// isRecovered is whether a row of drops is a dead letter, or a copy of one, of an
// acceptance that has its event, or had it before it was erased: the letter was
// replayed. All of them share their time of receipt. Few drops are dead letters, so the
// inner question is the small one.
func isRecovered(scope string) string {
	var dead []string
	for _, r := range schemas.DeadReasons() {
		dead = append(dead, "'"+schemas.Label(r)+"'")
	}
	reasons := strings.Join(dead, ", ")
	dying := ` AND (company_id, acceptance_id) IN (
SELECT company_id, acceptance_id FROM drops FINAL` + rowPeriod + scope + ` AND reason IN (` + reasons + `) AND acceptance_id != toFixedString('', 16))`
	return `reason IN (` + reasons + `, 'replayed') AND (company_id, acceptance_id) IN (
SELECT company_id, acceptance_id FROM events FINAL` + rowPeriod + scope + dying + `
UNION ALL
SELECT company_id, acceptance_id FROM drops FINAL` + rowPeriod + scope + ` AND reason = '` + schemas.Label(metivav1.Reason_REASON_ERASED) + `'` + dying + `)`
}

// ledgerDoubled: rows of two tables may not share a record, and no two rows but
// replays and what was recovered an acceptance. The writer tells apart a topic that was made anew, whose
// offsets start again. What shares one of these shares its time of receipt.
func ledgerDoubled(scope string) string {
	columns := `SELECT company_id, ` + ledgerStep("received_at") + `, (writer_id, source_partition, source_offset) AS record, acceptance_id, acceptance_id != toFixedString('', 16)`
	return `SELECT company_id, at, open, '', '', '',
toUInt64(count() - uniqExact(record) + uniqExactIf(record, one) - uniqExactIf(acceptance_id, one)) FROM (
` + columns + ` AS one FROM events FINAL` + rowPeriod + scope + `
UNION ALL
` + columns + ` AND reason != 'replayed' AS one FROM drops FINAL` + rowPeriod + scope + ` AND NOT (` + isRecovered(scope) + `)
) GROUP BY company_id, at, open`
}
