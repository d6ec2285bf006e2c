package clickhouse

import (
	"errors"
	"strings"
)

// errUnterminated is a quote, heredoc or comment without its end.
var errUnterminated = errors.New("a quote or comment is not closed")

// blanks are the bytes between the words of SQL.
const blanks = " \t\r\n\f\v"

// splitStatements splits the text of a migration into its statements: at each
// semicolon that is not inside a string, a quoted name, a heredoc or a
// comment. Comments stay, since they may stand inside a statement; pieces of
// nothing but blanks and comments are left out.
func splitStatements(sql string) ([]string, error) {
	var out []string
	start, content := 0, false
	for i := 0; i < len(sql); {
		end, err := skipOpaque(sql, i)
		switch {
		case err != nil:
			return nil, err
		case end > i:
			if sql[i] == '\'' || sql[i] == '"' || sql[i] == '`' || sql[i] == '$' {
				content = true
			}
			i = end
			continue
		case sql[i] == ';':
			if content {
				out = append(out, strings.Trim(sql[start:i], blanks))
			}
			start, content = i+1, false
		case !strings.ContainsRune(blanks, rune(sql[i])):
			content = true
		}
		i++
	}
	if content {
		out = append(out, strings.Trim(sql[start:], blanks))
	}
	return out, nil
}

// skipOpaque returns the end of the quote, heredoc or comment that starts at
// i, or i when none does.
func skipOpaque(sql string, i int) (int, error) {
	rest := sql[i:]
	switch {
	case strings.HasPrefix(rest, "--"):
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			return i + n + 1, nil
		}
		return len(sql), nil
	case strings.HasPrefix(rest, "/*"):
		n := strings.Index(rest[2:], "*/")
		if n < 0 {
			return 0, errUnterminated
		}
		return i + 2 + n + 2, nil
	case rest[0] == '\'' || rest[0] == '"' || rest[0] == '`':
		return skipQuote(sql, i)
	case rest[0] == '$':
		return skipHeredoc(sql, i)
	}
	return i, nil
}

// skipQuote reads a string or quoted name with backslash and doubled quotes.
func skipQuote(sql string, i int) (int, error) {
	quote := sql[i]
	for i++; i < len(sql); i++ {
		switch sql[i] {
		case '\\':
			i++
		case quote:
			if i+1 < len(sql) && sql[i+1] == quote {
				i++
				continue
			}
			return i + 1, nil
		}
	}
	return 0, errUnterminated
}

// skipHeredoc reads $tag$ … $tag$; a $ that starts no tag is skipped alone.
func skipHeredoc(sql string, i int) (int, error) {
	n := strings.IndexByte(sql[i+1:], '$')
	if n < 0 {
		return i, nil
	}
	tag := sql[i : i+n+2]
	for _, c := range []byte(tag[1 : len(tag)-1]) {
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return i, nil
		}
	}
	body := i + len(tag)
	end := strings.Index(sql[body:], tag)
	if end < 0 {
		return 0, errUnterminated
	}
	return body + end + len(tag), nil
}
