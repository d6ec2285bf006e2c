package verdict

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

//go:embed data/labelled.tsv
var labelledTSV string

// Label is one line of the labelled set: an address, and what is true of it.
type Label struct {
	Address netip.Addr
	// Class is what the address is: company, government, university, access,
	// mobile, hosting, vpn, tor, egress, research, shared, unlisted, cgnat,
	// reserved, tunnel, mapped, unrouted.
	Class string
	// Verdict is what must be said of it, and Account of which company.
	Verdict string
	Account string
	// Unknowable says that the truth is a company's and cannot be known from the
	// default database; Verdict is then what must be said instead.
	Unknowable bool
	Source     string
}

// Labelled reads the labelled set built into the program.
func Labelled() ([]Label, error) { return parseLabelled(labelledTSV) }

func parseLabelled(content string) ([]Label, error) {
	var out []Label
	seen := make(map[netip.Addr]bool)
	number := 0
	for line := range strings.Lines(content) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		label, err := parseLabel(strings.Split(line, "\t"))
		if err == nil && seen[label.Address] {
			err = errors.New("the address stands here twice")
		}
		if err != nil {
			return nil, fmt.Errorf("labelled set, line %d: %w", number, err)
		}
		seen[label.Address] = true
		out = append(out, label)
	}
	return out, nil
}

func parseLabel(f []string) (Label, error) {
	if len(f) != 5 {
		return Label{}, fmt.Errorf("has %d fields, not 5", len(f))
	}
	addr, err := netip.ParseAddr(f[0])
	if err != nil {
		return Label{}, fmt.Errorf("reading the address: %w", err)
	}
	label := Label{Address: addr, Class: f[1], Verdict: f[2], Account: f[3], Source: f[4]}
	if label.Account == "-" {
		label.Account = ""
	}
	if account, ok := strings.CutPrefix(label.Account, "?"); ok {
		label.Account, label.Unknowable = account, true
	}
	switch {
	case label.Class == "" || label.Verdict == "" || label.Source == "":
		return label, errors.New("class, verdict or source is missing")
	case (label.Verdict == "company") != (label.Account != "" && !label.Unknowable):
		return label, errors.New("an account belongs to the verdict company, and only to it")
	}
	return label, nil
}
