package clickhouse

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// escaper writes text as the server reads a parameter: tab-separated values
// with backslash escapes. The driver's own rendering of Go values differs
// between its releases, so parameters are rendered here.
func escaper() *strings.Replacer {
	return strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)
}

// quoter writes a string inside an array.
func quoter() *strings.Replacer {
	return strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\t", `\t`, "\n", `\n`, "\r", `\r`, "\x00", `\0`)
}

// renderParam is the text of a parameter's value.
func renderParam(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return escaper().Replace(v), nil
	case int, int32, int64, uint8, uint16, uint32, uint64:
		return fmt.Sprint(v), nil
	case time.Time:
		// Seconds since 1970 mean the same moment in every time zone. A DateTime
		// takes whole seconds only, and refuses more.
		text := strconv.FormatInt(v.Unix(), 10)
		if ms := v.Nanosecond() / 1e6; ms > 0 {
			text += fmt.Sprintf(".%03d", ms)
		}
		return text, nil
	case []string:
		quoted := make([]string, len(v))
		q := quoter()
		for i, s := range v {
			quoted[i] = "'" + q.Replace(s) + "'"
		}
		return "[" + strings.Join(quoted, ",") + "]", nil
	case []int32:
		return renderInts(v), nil
	case []int64:
		return renderInts(v), nil
	case []uint8:
		return renderInts(v), nil
	case []uint32:
		return renderInts(v), nil
	case []uint64:
		return renderInts(v), nil
	}
	return "", fmt.Errorf("a parameter of type %T is not supported", value)
}

func renderInts[T int32 | int64 | uint8 | uint32 | uint64](values []T) string {
	out := []byte{'['}
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		if v < 0 {
			out = strconv.AppendInt(out, int64(v), 10)
		} else {
			out = strconv.AppendUint(out, uint64(v), 10)
		}
	}
	return string(append(out, ']'))
}

// Param gives the parameter {name:Type} of a statement its value: a string, an
// integer, a time.Time of this epoch, a []string, or a slice of integers.
func Param(name string, value any) Option {
	return func(o *statementOptions) error {
		text, err := renderParam(value)
		if err != nil {
			return fmt.Errorf("parameter %s: %w", name, err)
		}
		o.params[name] = text
		return nil
	}
}

// Setting sets a ClickHouse setting for one statement.
func Setting(name string, value any) Option {
	return func(o *statementOptions) error {
		o.settings[name] = value
		return nil
	}
}

// Option is a value or a setting of one statement.
type Option func(*statementOptions) error

type statementOptions struct {
	params   driver.Parameters
	settings driver.Settings
	quotaKey string
}

// CustomSetting sets a setting of our own for one statement; the server has to know its
// prefix (custom_settings_prefixes).
func CustomSetting(name, value string) Option {
	return func(o *statementOptions) error {
		o.settings[name] = driver.CustomSetting{Value: value}
		return nil
	}
}

// QuotaKey says whose account a statement is put on, where a quota is keyed by the
// client's key.
func QuotaKey(key string) Option {
	return func(o *statementOptions) error {
		o.quotaKey = key
		return nil
	}
}
