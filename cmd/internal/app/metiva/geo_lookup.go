package metiva

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/metiva-io/metiva/enrich/verdict"
	"github.com/metiva-io/metiva/pkg/businessnet"
)

type geoLookup struct {
	dataFlags
	lists
	reverseFlags
	Geo       string   `env:"METIVA_GEO_DIR" help:"Directory of the databases; default: geo in the cache."`
	Networks  string   `help:"File of business networks: cut addresses as a collector with it does for sites of the precision network."`
	Addresses []string `arg:"" optional:"" help:"Addresses to look up; - or none reads them from the standard input, one in a line."`
}

// lookupLine is the answer for one address: the decision on what is left of it
// after truncation, which is the worker's, and that on the whole of it. The
// address is the operator's own argument; no visitor's is ever printed.
type lookupLine struct {
	Address string `json:"address"`
	verdict.Decision

	// Full is the decision on the whole address; where it differs, a finer
	// truncation (docs/operations/precision.md) may bring it.
	Full verdict.Decision `json:"full"`
}

// errAddresses: the rest was answered.
var errAddresses = errors.New("not every argument is an IP address")

// Run prints one line for each address.
func (c *geoLookup) Run(ctx context.Context, t terminal) (err error) {
	dir, err := c.geoDir(c.Geo)
	if err != nil {
		return err
	}
	var finer *businessnet.Set
	if c.Networks != "" {
		if finer, err = businessnet.Load(c.Networks); err != nil {
			return err
		}
	}
	names, err := c.resolver()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, names.Close()) }()
	return withGeo(dir, c.lists, func(judge verdict.Judge) error {
		if names != nil {
			judge.Reverse = waitingFor(ctx, names)
		}
		out := bufio.NewWriter(t.out)
		faults, number := 0, 0
		err := c.each(os.Stdin, func(text string) error {
			number++
			line, err := lookup(judge, finer, text)
			if errors.Is(err, errAddresses) {
				faults++
				// Not the text: a line of a log may hold a visitor's address. The exit
				// code says it too.
				_, _ = fmt.Fprintf(t.err, "address %d is not an IP address\n", number)
				return nil
			}
			if err != nil {
				return err
			}
			return json.NewEncoder(out).Encode(line)
		})
		if err := errors.Join(err, out.Flush()); err != nil {
			return fmt.Errorf("printing verdicts: %w", err)
		}
		if faults > 0 {
			return errAddresses
		}
		return nil
	})
}

// each calls do with every address asked for.
func (c *geoLookup) each(in io.Reader, do func(string) error) error {
	if len(c.Addresses) > 0 && (len(c.Addresses) > 1 || c.Addresses[0] != "-") {
		for _, text := range c.Addresses {
			if err := do(text); err != nil {
				return err
			}
		}
		return nil
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if text := strings.TrimSpace(lines.Text()); text != "" {
			if err := do(text); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

// lookup decides about one address as the worker would.
func lookup(judge verdict.Judge, finer *businessnet.Set, text string) (lookupLine, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return lookupLine{}, errAddresses
	}
	line := lookupLine{Address: text}
	if line.Decision, err = judge.Decide(verdict.Truncated(addr, finer)); err != nil {
		return lookupLine{}, err
	}
	line.Full, err = judge.Decide(verdict.Full(addr))
	return line, err
}
