package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"

	"github.com/metiva-io/metiva/schemas"
)

// spamHostsMax bounds the operator's list; the public ones have some 2,500.
const spamHostsMax = 200_000

// ReadSpam reads the operator's list of referrer spam: a host a line, which stands
// for its subdomains too; empty lines and lines that begin with # are left out. A
// public suffix such as "co.uk" is refused, since it would stand for the websites of
// everybody. An error names the line.
func ReadSpam(r io.Reader) ([]string, error) {
	var out []string
	var faults []error
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		text := lines.Text()
		if number == 1 {
			text = strings.TrimPrefix(text, "\ufeff") // a byte order mark
		}
		host := strings.ToLower(strings.TrimSpace(text))
		if host == "" || strings.HasPrefix(host, "#") {
			continue
		}
		if ascii, err := idna.Lookup.ToASCII(host); err == nil {
			host = ascii // as browsers send it
		}
		if !isHost(host) {
			faults = append(faults, fmt.Errorf("line %d of the referrer spam is not a host", number))
			if len(faults) == 10 {
				break
			}
			continue
		}
		if len(out) == spamHostsMax {
			faults = append(faults, fmt.Errorf("the referrer spam has more than %d hosts", spamHostsMax))
			break
		}
		out = append(out, withoutWWW(host))
	}
	if err := lines.Err(); err != nil {
		faults = append(faults, fmt.Errorf("reading the referrer spam: %w", err))
	}
	return out, errors.Join(faults...)
}

// isHost reports whether s is a host in ASCII below a public suffix.
func isHost(s string) bool {
	if len(s) > schemas.HostBytesMax || !strings.Contains(s, ".") {
		return false
	}
	if suffix, icann := publicsuffix.PublicSuffix(s); icann && suffix == s {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
