package clickhouse

import (
	"fmt"
	"strings"
)

// statementKind says how a statement is run.
type statementKind int

const (
	kindRead   statementKind = iota // streams an answer, can be cancelled
	kindInsert                      // INSERT … FORMAT x with its data in the body
	kindWrite                       // everything else: runs to its end
	kindShow                        // small answers about tables: not streamed
)

// statement is a statement the engine may run.
type statement struct {
	kind statementKind
	// sql is the text to run. For kindInsert it ends before FORMAT.
	sql string
	// format is the format of an insert's body.
	format string
}

// Error codes of ClickHouse's ErrorCodes.cpp that the shim itself answers with.
const (
	codeBadArguments     = 36
	codeUnknownTable     = 60
	codeSyntaxError      = 62
	codeUnknownDatabase  = 81
	codeUnknownSetting   = 115
	codeTimeout          = 159
	codeTooManyQueries   = 202
	codeTooManyBytes     = 307
	codeQueryCancelled   = 394
	codeAccessDenied     = 497
	codeUnknownException = 1002
)

func refuse(code int, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf("Code: %d. DB::Exception: %s", code, fmt.Sprintf(format, args...))}
}

// verbs are the statements accepted from outside, by their first word. What is
// missing changes the session (SET, USE), reads or writes files of the host
// (ATTACH, BACKUP, RESTORE), or has no meaning here.
func verb(word string) (statementKind, bool) {
	switch word {
	case "SELECT", "WITH", "FROM":
		return kindRead, true
	case "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK":
		return kindShow, true
	case "INSERT", "CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME", "EXCHANGE", "OPTIMIZE", "DELETE", "UPDATE", "KILL", "SYSTEM":
		return kindWrite, true
	}
	return 0, false
}

// parseStatement decides whether a statement from outside may run, and how.
//
// The shim's refusals protect the filters that the readers put in settings
// (additional_table_filters): a SETTINGS clause inside a statement would lift
// them, so only the definition of a table may have one, and only before any
// SELECT in it. INTO OUTFILE and FROM INFILE are done by the client half of
// libchdb, past every grant. Strings, comments and quoted names are read as
// ClickHouse's lexer reads them; what this lexer cannot read is refused, so a
// text cannot mean one thing here and another in the engine.
func parseStatement(sql string, hasBody bool) (statement, error) {
	tokens, err := tokenize(sql)
	if err != nil {
		return statement{}, err
	}
	tokens, err = oneStatement(tokens)
	if err != nil {
		return statement{}, err
	}
	first := 0
	for first < len(tokens) && tokens[first].text == "(" {
		first++
	}
	if first == len(tokens) || tokens[first].kind != tokenWord {
		return statement{}, refuse(codeSyntaxError, "the statement is empty or starts with no keyword")
	}
	head := tokens[first].upper
	kind, ok := verb(head)
	if !ok {
		return statement{}, refuse(codeAccessDenied, "%s is not accepted by the embedded engine", head)
	}
	if err := checkClauses(tokens, head); err != nil {
		return statement{}, err
	}
	st := statement{kind: kind, sql: sql}
	if head == "INSERT" {
		return insertStatement(st, tokens, hasBody)
	}
	if hasBody {
		return statement{}, refuse(codeBadArguments, "only an INSERT … FORMAT may have data in the body")
	}
	return st, nil
}

// oneStatement drops a trailing semicolon and refuses a second statement.
func oneStatement(tokens []token) ([]token, error) {
	for i, t := range tokens {
		if t.text == ";" && t.kind == tokenSymbol {
			for _, rest := range tokens[i:] {
				if rest.text != ";" {
					return nil, refuse(codeSyntaxError, "only one statement is accepted at a time")
				}
			}
			return tokens[:i], nil
		}
	}
	return tokens, nil
}

func checkClauses(tokens []token, head string) error {
	definition := head == "CREATE" || head == "ALTER"
	for i, t := range tokens {
		if t.kind != tokenWord || nameAfterDot(tokens, i) {
			continue
		}
		next := ""
		if i+1 < len(tokens) {
			next = tokens[i+1].upper
		}
		switch t.upper {
		case "SELECT":
			definition = false
		case "SETTINGS":
			if !definition && (head != "SHOW" && head != "SYSTEM") {
				return refuse(codeAccessDenied, "a SETTINGS clause is not accepted: settings travel beside the statement")
			}
		case "INTO":
			if next == "OUTFILE" {
				return refuse(codeAccessDenied, "INTO OUTFILE is not accepted")
			}
		case "FROM":
			if next == "INFILE" {
				return refuse(codeAccessDenied, "FROM INFILE is not accepted")
			}
		case "PARALLEL":
			if next == "WITH" {
				return refuse(codeAccessDenied, "PARALLEL WITH is not accepted")
			}
		case "SHUTDOWN", "KILL", "SUSPEND":
			if head == "SYSTEM" && i == 1 {
				return refuse(codeAccessDenied, "SYSTEM %s is not accepted", t.upper)
			}
		}
	}
	return nil
}

// nameAfterDot reports whether token i is the last part of a compound name
// ("system.settings"). A dot behind a number is the number's.
func nameAfterDot(tokens []token, i int) bool {
	return i > 1 && tokens[i-1].kind == tokenSymbol && tokens[i-1].text == "." &&
		(tokens[i-2].kind == tokenWord || tokens[i-2].kind == tokenQuoted)
}

// insertStatement finds the FORMAT clause of an insert. Data inline after a
// FORMAT is refused: the engine cuts binary formats at the first newline and
// reports success.
func insertStatement(st statement, tokens []token, hasBody bool) (statement, error) {
	for i, t := range tokens {
		if t.upper != "FORMAT" || t.kind != tokenWord || i+1 == len(tokens) || tokens[i+1].kind != tokenWord {
			continue
		}
		if i+2 != len(tokens) {
			return statement{}, refuse(codeBadArguments, "the data of an insert belongs in the body, not behind FORMAT")
		}
		if !hasBody {
			return statement{}, refuse(codeBadArguments, "the insert names a FORMAT and has no body")
		}
		return statement{kind: kindInsert, sql: st.sql[:t.start], format: tokens[i+1].text}, nil
	}
	if hasBody {
		return statement{}, refuse(codeBadArguments, "an insert with a body must name its FORMAT")
	}
	return st, nil
}

type tokenKind int

const (
	tokenWord   tokenKind = iota // keyword or bare name
	tokenQuoted                  // string, quoted name, heredoc
	tokenNumber
	tokenSymbol
)

type token struct {
	kind  tokenKind
	text  string // of words, numbers and symbols
	upper string // of words
	start int
}

// tokenize splits SQL as ClickHouse's Lexer.cpp does: '…' strings and "…" and
// `…` names with backslash and doubling escapes, $tag$…$tag$ heredocs, and the
// comments -- … and /* … */. Bytes outside ASCII are accepted only inside
// those. Refused, because versions of the lexer differ on them: // and #
// comments, and /* inside a comment.
func tokenize(sql string) ([]token, error) {
	var tokens []token
	for i := 0; i < len(sql); {
		c := sql[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			i++
		case strings.HasPrefix(sql[i:], "--"):
			i = lineEnd(sql, i)
		case strings.HasPrefix(sql[i:], "//"):
			return nil, refuse(codeSyntaxError, "a comment starts with -- or /*")
		case strings.HasPrefix(sql[i:], "/*"):
			end, ok := commentEnd(sql, i)
			if !ok {
				return nil, refuse(codeSyntaxError, "a comment is not closed or holds another")
			}
			i = end
		case c == '\'' || c == '"' || c == '`':
			end, ok := quoteEnd(sql, i)
			if !ok {
				return nil, refuse(codeSyntaxError, "a quote is not closed")
			}
			tokens = append(tokens, token{kind: tokenQuoted, start: i})
			i = end
		case c == '$':
			end, heredoc, ok := heredocEnd(sql, i)
			if !ok {
				return nil, refuse(codeSyntaxError, "a $ outside of a name or heredoc")
			}
			if heredoc {
				tokens = append(tokens, token{kind: tokenQuoted, start: i})
			}
			i = end
		case isWordStart(c):
			end := i + 1
			for end < len(sql) && isWordByte(sql[end]) {
				end++
			}
			tokens = append(tokens, token{kind: tokenWord, text: sql[i:end], upper: strings.ToUpper(sql[i:end]), start: i})
			i = end
		case c >= '0' && c <= '9':
			end := i + 1
			for end < len(sql) && (isWordByte(sql[end]) && sql[end] != '$') {
				end++
			}
			tokens = append(tokens, token{kind: tokenNumber, text: sql[i:end], start: i})
			i = end
		case strings.IndexByte("()[]{},.;:+-*/%=<>!?|@^&~", c) >= 0:
			tokens = append(tokens, token{kind: tokenSymbol, text: sql[i : i+1], start: i})
			i++
		default:
			return nil, refuse(codeSyntaxError, "byte 0x%02x outside of a string, name or comment", c)
		}
	}
	return tokens, nil
}

func isWordStart(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func isWordByte(c byte) bool {
	return isWordStart(c) || c == '$' || c >= '0' && c <= '9'
}

func lineEnd(sql string, i int) int {
	if n := strings.IndexByte(sql[i:], '\n'); n >= 0 {
		return i + n + 1
	}
	return len(sql)
}

func commentEnd(sql string, i int) (int, bool) {
	body := i + 2
	n := strings.Index(sql[body:], "*/")
	if n < 0 || strings.Contains(sql[body:body+n], "/*") {
		return 0, false
	}
	return body + n + 2, true
}

func quoteEnd(sql string, i int) (int, bool) {
	quote := sql[i]
	for i++; i < len(sql); i++ {
		switch sql[i] {
		case '\\':
			i++
		case quote:
			if i+1 == len(sql) || sql[i+1] != quote {
				return i + 1, true
			}
			i++
		}
	}
	return 0, false
}

// heredocEnd reads $tag$ … $tag$. A lone $ is refused.
func heredocEnd(sql string, i int) (end int, heredoc, ok bool) {
	close := strings.IndexByte(sql[i+1:], '$')
	if close < 0 {
		return 0, false, false
	}
	tag := sql[i : i+close+2]
	for _, c := range []byte(tag[1 : len(tag)-1]) {
		if !isWordByte(c) || c == '$' {
			return 0, false, false
		}
	}
	body := i + len(tag)
	n := strings.Index(sql[body:], tag)
	if n < 0 {
		return 0, false, false
	}
	return body + n + len(tag), true, true
}
