package analytics

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
	return `SELECT company_id, ` + ledgerStep("received_at") + `, writer_id, stage, reason, count() FROM drops FINAL` + rowPeriod + scope + `
GROUP BY company_id, at, open, writer_id, stage, reason`
}

// ledgerDoubled: rows of two tables may not share a record, and no two rows but
// replays an acceptance. The writer tells apart a topic that was made anew, whose
// offsets start again. What shares one of these shares its time of receipt.
func ledgerDoubled(scope string) string {
	columns := `SELECT company_id, ` + ledgerStep("received_at") + `, (writer_id, source_partition, source_offset) AS record, acceptance_id, acceptance_id != toFixedString('', 16)`
	return `SELECT company_id, at, open, '', '', '',
toUInt64(count() - uniqExact(record) + uniqExactIf(record, one) - uniqExactIf(acceptance_id, one)) FROM (
` + columns + ` AS one FROM events FINAL` + rowPeriod + scope + `
UNION ALL
` + columns + ` AND reason != 'replayed' AS one FROM drops FINAL` + rowPeriod + scope + `
) GROUP BY company_id, at, open`
}
