package clickhouse

var SplitStatements = splitStatements
