package clickhouse

import (
	"errors"
	"net/url"
	"strings"
)

// quietError is an error of the driver without the address of its request.
type quietError struct {
	err  error
	text string
}

func (e *quietError) Error() string { return e.text }
func (e *quietError) Unwrap() error { return e.err }

// quiet takes the address of a request out of an error's text. Over HTTP it holds
// the user, the settings and every parameter: the values of a tenant's filter, the
// ids of a look-up, a megabyte of them. What is left of it is the host.
func quiet(err error) error {
	var failed *url.Error
	if !errors.As(err, &failed) || failed.URL == "" {
		return err
	}
	host := "clickhouse"
	if u, parseErr := url.Parse(failed.URL); parseErr == nil && u.Host != "" {
		host = u.Host
	}
	return &quietError{err: err, text: strings.ReplaceAll(err.Error(), failed.URL, host)}
}

// quietRows are rows whose errors are quiet.
type quietRows struct{ Rows }

func (r quietRows) Scan(dest ...any) error { return quiet(r.Rows.Scan(dest...)) }
func (r quietRows) Err() error             { return quiet(r.Rows.Err()) }
func (r quietRows) Close() error           { return quiet(r.Rows.Close()) }

// quietRow is a row whose error is quiet.
type quietRow struct{ Row }

func (r quietRow) Scan(dest ...any) error { return quiet(r.Row.Scan(dest...)) }
