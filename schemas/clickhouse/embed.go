package clickhouse

import "embed"

// Files holds the migrations, named NNNN_name.sql.
//
//go:embed *.sql
var Files embed.FS
