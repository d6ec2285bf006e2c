package tenant

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// errRows and errBatch are the results of a Tx whose Run is over: pgx's
// interfaces carry the error in the result.
type errRows struct{}

func (errRows) Close()                                       {}
func (errRows) Err() error                                   { return errTxOver }
func (errRows) CommandTag() pgconn.CommandTag                { return pgconn.CommandTag{} }
func (errRows) FieldDescriptions() []pgconn.FieldDescription { return nil }
func (errRows) Next() bool                                   { return false }
func (errRows) Scan(...any) error                            { return errTxOver }
func (errRows) Values() ([]any, error)                       { return nil, errTxOver }
func (errRows) RawValues() [][]byte                          { return nil }
func (errRows) Conn() *pgx.Conn                              { return nil }
func (errRows) TypeMap() *pgtype.Map                         { return nil }

type errBatch struct{}

func (errBatch) Exec() (pgconn.CommandTag, error) { return pgconn.CommandTag{}, errTxOver }
func (errBatch) Query() (pgx.Rows, error)         { return errRows{}, errTxOver }
func (errBatch) QueryRow() pgx.Row                { return errRows{} }
func (errBatch) Close() error                     { return errTxOver }
func (errBatch) Tx() pgx.Tx                       { return nil }
