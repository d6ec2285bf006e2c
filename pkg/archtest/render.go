package archtest

import (
	"fmt"
	"strings"
)

// Markers of the table in docs/ARCHITECTURE.md.
const (
	Begin = "<!-- imports:begin -->"
	End   = "<!-- imports:end -->"
)

// Render returns the table as Markdown, without the markers.
func Render(t Table) string {
	var b strings.Builder
	b.WriteString("Every package may import itself, what is below it, and the standard library.\n\n")
	b.WriteString("| packages | may import of the product | but not | why |\n|---|---|---|---|\n")
	for _, r := range t.Rules {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Part, code(r.Allow), code(r.Deny), r.Why)
	}
	b.WriteString("\n| outside module | only imported by | why |\n|---|---|---|\n")
	for _, d := range t.Drivers {
		only := code(d.Only)
		if len(d.InTest) > 0 {
			only += "; in tests " + code(d.InTest)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Path, only, d.Why)
	}
	b.WriteString("\n| binary | never links | why |\n|---|---|---|\n")
	for _, l := range t.Links {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", l.Binary, code(l.Never), l.Why)
	}
	fmt.Fprintf(&b, "\nBesides: every package has a `doc.go`; no `init()`; no package named %s; "+
		"`os.Getenv`, `os.Exit`, `os.Args` and `log.Fatal` only under `cmd` and in %s; "+
		"no file over %d lines, no test over %d; packages whose name ends in `test` are imported by tests only.\n",
		code(badNames), code(t.Programs), FileLinesMax, TestFileLinesMax)
	return b.String()
}

func code(parts []string) string {
	if len(parts) == 0 {
		return "nothing"
	}
	quoted := make([]string, len(parts))
	for i, p := range parts {
		quoted[i] = "`" + p + "`"
	}
	return strings.Join(quoted, ", ")
}

// Replace returns the document with the text between the markers replaced by
// the rendered table, and whether both markers were there.
func Replace(document, table string) (string, bool) {
	before, rest, ok := strings.Cut(document, Begin)
	if !ok {
		return document, false
	}
	_, after, ok := strings.Cut(rest, End)
	if !ok {
		return document, false
	}
	return before + Begin + "\n" + table + End + after, true
}
