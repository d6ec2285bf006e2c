package company

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/orgname"
)

// Row is one line of the operator's CSV: who uses a network, as an inetnum of a
// registry says it.
type Row struct {
	Networks []netip.Prefix
	Name     string
	// Domain is a registrable domain, or empty.
	Domain string
	kind   kind
	// reverseDNS says that the name was found by reverse DNS.
	reverseDNS bool
}

// Limits of an operator's CSV.
const (
	rowsMax      = 5_000_000
	nameBytesMax = 200
)

// ReadRows calls each for every line of the operator's CSV:
//
//	network,name,domain,type,source
//
// Network is a prefix, an address, or a range "first - last". Type is business,
// government or education for an organisation, isp, mobile, hosting, nren, or
// anonymizer (also vpn, proxy, tor, relay); empty when it is not known. Source is
// free text; "reverse_dns" marks what was found that way. A first line that
// starts with "network" is the heading; lines that start with "#" are comments; a
// byte order mark and CRLF are taken as spreadsheets write them. A network with bits
// behind its length, or so wide that no single organisation has it, is refused: it
// would name the wrong visitors. Errors name the line, never what stands in it.
func ReadRows(r io.Reader, each func(Row) error) error {
	lines := csv.NewReader(withoutMark(r))
	lines.FieldsPerRecord = 5
	lines.Comment = '#'
	lines.TrimLeadingSpace = true
	lines.ReuseRecord = true
	for rows := 0; ; rows++ {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var syntax *csv.ParseError
		if errors.As(err, &syntax) {
			return fmt.Errorf("company: operator's CSV, line %d: %w", syntax.Line, syntax.Err)
		}
		if err != nil {
			return fmt.Errorf("reading the operator's CSV: %w", err)
		}
		if rows == 0 && strings.EqualFold(strings.TrimSpace(fields[0]), "network") {
			continue
		}
		line, _ := lines.FieldPos(0)
		row, err := parseRow(fields)
		if err == nil && rows >= rowsMax {
			err = fmt.Errorf("there are more than %d rows", rowsMax)
		}
		if err == nil {
			err = each(row)
		}
		if err != nil {
			return fmt.Errorf("company: operator's CSV, line %d: %w", line, err)
		}
	}
}

func parseRow(fields []string) (Row, error) {
	for i := range fields {
		fields[i] = strings.Clone(strings.TrimSpace(fields[i]))
	}
	row := Row{Name: fields[1], reverseDNS: fields[4] == SourceReverseDNS}
	var err error
	if row.Networks, err = parseRange(fields[0]); err != nil {
		return row, err
	}
	for _, n := range row.Networks {
		if n.Bits() < rowBitsMin(n) {
			return row, fmt.Errorf("the network is wider than a /%d", rowBitsMin(n))
		}
	}
	if len(row.Name) > nameBytesMax || strings.ContainsFunc(row.Name, func(r rune) bool { return r < ' ' || r == 0xfffd }) {
		return row, errors.New("the name is too long or is not text")
	}
	if fields[2] != "" {
		if row.Domain = orgname.Registrable(fields[2]); row.Domain == "" {
			return row, errors.New("the domain is not a registrable one")
		}
	}
	switch fields[3] {
	case "":
	case "vpn", "proxy", "tor", "relay":
		row.kind = kindAnonymizer
	default:
		var ok bool
		if row.kind, ok = parseKind(fields[3]); !ok || row.kind == kindMixed {
			return row, errors.New("the type is not one that is known")
		}
	}
	if (row.kind == kindUnknown || row.kind.isOrganization()) && orgname.Key(row.Name) == "" {
		return row, errors.New("there is no name")
	}
	return row, nil
}

// rowBitsMin is the widest network of one row, by its length: registries have given
// no organisation more.
func rowBitsMin(p netip.Prefix) int {
	if p.Addr().Is4() {
		return 8
	}
	return 16
}

// withoutMark skips a byte order mark.
func withoutMark(r io.Reader) *bufio.Reader {
	in := bufio.NewReaderSize(r, 1<<16)
	const mark = "\ufeff"
	if head, err := in.Peek(len(mark)); err == nil && string(head) == mark {
		_, _ = in.Discard(len(mark)) // it has been seen
	}
	return in
}

// parseRange reads a prefix, an address or a range of addresses.
func parseRange(text string) ([]netip.Prefix, error) {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		prefix, err := parseNetwork(text)
		if whole, ok := netip.ParsePrefix(text); ok == nil && whole != prefix {
			return nil, errors.New("has bits set behind its length")
		}
		return []netip.Prefix{prefix}, err
	}
	a, errFirst := netip.ParseAddr(strings.TrimSpace(first))
	b, errLast := netip.ParseAddr(strings.TrimSpace(last))
	if errFirst != nil || errLast != nil || a.Zone() != "" || b.Zone() != "" {
		return nil, errors.New("is not a range of addresses")
	}
	a, b = a.Unmap(), b.Unmap()
	if a.Is4() != b.Is4() || b.Less(a) {
		return nil, errors.New("is not a range of one family in ascending order")
	}
	return geo.RangePrefixes(a, b), nil
}

// operatorTable is the operator's CSV. Networks that hide their users are apart:
// one of them may lie within an organisation's.
type operatorTable struct {
	uses bart.Table[*operatorRow]
	hide bart.Lite
	// divided holds the truncated networks with rows longer than they are.
	divided bart.Lite
}

type operatorRow struct {
	organization organization
	// key is that of the name, as in geo.Company.
	key        string
	kind       kind
	reverseDNS bool
	person     bool
	provider   bool
}

// operatorAnswer is what the table knows of a network.
type operatorAnswer struct {
	*operatorRow

	found, hidden    bool
	bits, hiddenBits int
	// split: rows for a part of the network; partial: a part hides its users.
	split, partial bool
}

func (t *operatorTable) add(row Row, p *providers) error {
	key := geo.AccountPrefix + orgname.Key(row.Name)
	o := organization{name: row.Name, domain: row.Domain, account: row.Domain}
	if o.account == "" {
		o.account = key
	}
	entry := &operatorRow{
		organization: o, key: key, kind: row.kind, reverseDNS: row.reverseDNS,
		person:   orgname.LooksLikePerson(row.Name),
		provider: p.has(key, row.Domain),
	}
	for _, n := range row.Networks {
		if row.kind == kindAnonymizer {
			t.hide.Insert(n)
			continue
		}
		if before, twice := t.uses.Get(n); twice && *before != *entry {
			return errors.New("another row says something else of the same network")
		}
		t.uses.Insert(n, entry)
		if whole := overrideBitsMax(n); n.Bits() > whole {
			t.divided.Insert(netip.PrefixFrom(n.Addr(), whole).Masked())
		}
	}
	return nil
}

func (t *operatorTable) lookup(network netip.Prefix) operatorAnswer {
	var out operatorAnswer
	if covering, ok := t.hide.LookupPrefixLPM(network); ok {
		out.hidden, out.hiddenBits = true, covering.Bits()
	} else {
		out.partial = t.hide.OverlapsPrefix(network)
	}
	if covering, row, ok := t.uses.LookupPrefixLPM(network); ok {
		out.operatorRow, out.found, out.bits = row, true, covering.Bits()
	}
	if network.Bits() >= overrideBitsMax(network) && !t.divided.OverlapsPrefix(network) {
		return out
	}
	for inner := range t.uses.Subnets(network) { // this one allocates
		if inner.Bits() > network.Bits() {
			out.split = true
			break
		}
	}
	return out
}
