package clickhouse

import (
	"errors"
	"slices"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// Codes of ClickHouse's ErrorCodes.cpp that callers ask for.
const (
	CodeUnknownTable       = 60
	CodeUnknownDatabase    = 81
	CodeAccessDenied       = 497
	CodeViolatedConstraint = 469
)

// Code is the ClickHouse error code of err, and false when err did not come
// from ClickHouse.
func Code(err error) (int, bool) {
	var e *driver.Exception
	if errors.As(err, &e) {
		return int(e.Code), true
	}
	return 0, false
}

// ErrBadColumn marks an insert whose values do not fit the table's column
// types; it never reached the server.
var ErrBadColumn = errors.New("values do not fit the column")

// dataCodes are the errors that the values of a row cause: another try with
// the same rows ends the same way.
var dataCodes = [...]int{
	6,   // CANNOT_PARSE_TEXT
	27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
	32,  // ATTEMPT_TO_READ_AFTER_EOF
	33,  // CANNOT_READ_ALL_DATA
	38,  // CANNOT_PARSE_DATE
	41,  // CANNOT_PARSE_DATETIME
	53,  // TYPE_MISMATCH
	69,  // ARGUMENT_OUT_OF_BOUND
	70,  // CANNOT_CONVERT_TYPE
	72,  // CANNOT_PARSE_NUMBER
	117, // INCORRECT_DATA
	131, // TOO_LARGE_STRING_SIZE
	321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
	349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
	395, // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
	CodeViolatedConstraint,
}

// DataFault reports whether an insert was refused because of the values of its
// rows: fewer rows may succeed, the same rows never will.
func DataFault(err error) bool {
	if errors.Is(err, ErrBadColumn) {
		return true
	}
	code, ok := Code(err)
	return ok && slices.Contains(dataCodes[:], code)
}
