package analytics

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/metiva-io/metiva/pkg/clickhouse"
)

// Cursor says where a page of an answer ended. It is for handing back only, and
// opaque: it may come from a URL.
type Cursor string

// Page asks for a part of an answer. The zero Page is the first one of the usual
// size.
type Page struct {
	// Limit is how many at most; 50 when 0, and never more than 500.
	Limit int
	// After is the Next of the page before.
	After Cursor
}

const (
	pageLimitDefault = 50
	pageLimitMax     = 500
	cursorBytesMax   = 4096
)

// ErrCursor marks a cursor that is none of the question's.
var ErrCursor = errors.New("the cursor is not one of this list")

// position is what a cursor holds: the sort value and the key of a page's last row.
// The next page begins behind the two, whatever was inserted meanwhile.
type position struct {
	value int64
	key   string
}

// encodeCursor names the question, so that the cursor of another is refused.
func encodeCursor(question string, p position) Cursor {
	text := question + "\n" + strconv.FormatInt(p.value, 10) + "\n" + p.key
	return Cursor(base64.RawURLEncoding.EncodeToString([]byte(text)))
}

func decodeCursor(question string, c Cursor) (position, error) {
	if len(c) > cursorBytesMax {
		return position{}, ErrCursor
	}
	text, err := base64.RawURLEncoding.DecodeString(string(c))
	if err != nil || !utf8.Valid(text) {
		return position{}, ErrCursor
	}
	asked, rest, ok := strings.Cut(string(text), "\n")
	value, key, ok2 := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(value, 10, 64)
	if !ok || !ok2 || asked != question || err != nil {
		return position{}, ErrCursor
	}
	return position{value: n, key: key}, nil
}

// keyset is the condition of a page in a statement whose rows have a sort_value and
// a sort_key, which together are unique; keysetOrder is its order and its end. The first
// page has no condition: listOf leaves it out. keysetOfVisits is of rows of visits.
const (
	keyset         = ` (sort_value, sort_key) < ({after_value:Int64}, {after_key:String}) `
	keysetOfVisits = `(toUnixTimestamp64Milli(started_at), lower(hex(visit_id))) < ({after_value:Int64}, {after_key:String})`
	keysetOrder    = ` ORDER BY sort_value DESC, sort_key DESC LIMIT {limit:UInt32}`
)

// List is one page of an answer.
type List[T any] struct {
	Items []T `json:"items"`
	// Next asks for what comes after, in Page.After; empty at the end.
	Next Cursor `json:"next,omitempty"`
}

// MarshalJSON gives an empty list for no items, never null.
func (l List[T]) MarshalJSON() ([]byte, error) {
	type plain List[T]
	if l.Items == nil {
		l.Items = []T{}
	}
	return json.Marshal(plain(l))
}

// listOf runs a paged statement. Each row of it begins with sort_value and sort_key,
// and fields gives where the other columns go.
func listOf[T any](ctx context.Context, r *Reader, question, sql string, p Page, fields func(*T) []any, options ...clickhouse.Option) (List[T], error) {
	limit := p.Limit
	if limit <= 0 {
		limit = pageLimitDefault
	}
	limit = min(limit, pageLimitMax)
	var after position
	if p.After != "" {
		var err error
		if after, err = decodeCursor(question, p.After); err != nil {
			return List[T]{}, err
		}
	}
	options = append(options, clickhouse.Param("limit", limit+1))
	if p.After == "" {
		sql = strings.NewReplacer(keyset, " true ", keysetOfVisits, "true").Replace(sql)
	} else {
		options = append(options, clickhouse.Param("after_value", after.value), clickhouse.Param("after_key", after.key))
	}
	var out List[T]
	var last position
	err := r.each(ctx, sql, func(scan func(...any) error) error {
		if len(out.Items) == limit { // one more than asked for: there is a next page
			out.Next = encodeCursor(question, last)
			return nil
		}
		var item T
		if err := scan(append([]any{&last.value, &last.key}, fields(&item)...)...); err != nil {
			return err
		}
		out.Items = append(out.Items, item)
		return nil
	}, options...)
	if err != nil {
		return List[T]{}, fmt.Errorf("listing %s: %w", question, err)
	}
	return out, nil
}
