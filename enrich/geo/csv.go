package geo

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// asnRow is one line of the data package: an inclusive range of addresses of
// one family announced by one autonomous system.
type asnRow struct {
	start, end   netip.Addr
	asn          uint32
	organization string
}

// organizationBytesMax bounds what one line may put into the database.
const organizationBytesMax = 200

// readASNRows calls each for every row of r: "start,end,asn,organisation",
// where start and end are addresses in text. It stops at the first bad line,
// because a database from half a file would answer "not found" for the rest.
func readASNRows(r io.Reader, each func(asnRow) error) error {
	lines := csv.NewReader(bufio.NewReaderSize(r, 1<<16))
	lines.FieldsPerRecord = 4
	lines.ReuseRecord = true
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a line: %w", err)
		}
		row, err := parseASNRow(fields)
		if err != nil {
			line, _ := lines.FieldPos(0)
			return fmt.Errorf("line %d: %w", line, err)
		}
		if err := each(row); err != nil {
			return err
		}
	}
}

func parseASNRow(fields []string) (asnRow, error) {
	start, err := netip.ParseAddr(fields[0])
	if err != nil {
		return asnRow{}, fmt.Errorf("start of range: %w", err)
	}
	end, err := netip.ParseAddr(fields[1])
	if err != nil {
		return asnRow{}, fmt.Errorf("end of range: %w", err)
	}
	if start.Is4() != end.Is4() || start.Zone() != "" || end.Zone() != "" || end.Less(start) {
		return asnRow{}, fmt.Errorf("range %s to %s is not one of a family in ascending order", start, end)
	}
	asn, err := strconv.ParseUint(fields[2], 10, 32)
	if err != nil {
		return asnRow{}, fmt.Errorf("AS number: %w", err)
	}
	return asnRow{start: start, end: end, asn: uint32(asn), organization: cleanOrganization(fields[3])}, nil
}

// cleanOrganization makes a name printable: valid UTF-8, no control
// characters, single spaces, at most organizationBytesMax bytes.
func cleanOrganization(name string) string {
	name = strings.ToValidUTF8(name, "")
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, name)
	name = strings.Join(strings.Fields(name), " ")
	if len(name) > organizationBytesMax {
		cut := organizationBytesMax
		for cut > 0 && !utf8.RuneStart(name[cut]) {
			cut--
		}
		name = name[:cut]
	}
	// The row's memory is the line buffer's; the name outlives it.
	return strings.Clone(name)
}

// RangePrefixes are the fewest networks that cover the addresses from start to
// end, of one family, in ascending order.
func RangePrefixes(start, end netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	_ = prefixes(start, end, func(p netip.Prefix) error { // the function never fails
		out = append(out, p)
		return nil
	})
	return out
}

// prefixes calls each for the fewest networks that cover start to end, in
// ascending order.
func prefixes(start, end netip.Addr, each func(netip.Prefix) error) error {
	for {
		bits := start.BitLen()
		for bits > 0 {
			wider := netip.PrefixFrom(start, bits-1)
			if wider.Masked().Addr() != start || end.Less(lastOf(wider)) {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(start, bits)
		if err := each(p); err != nil {
			return err
		}
		last := lastOf(p)
		if !last.Less(end) {
			return nil
		}
		start = last.Next()
	}
}

// lastOf is the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	bits := p.Bits()
	for i := range raw {
		switch {
		case bits >= 8:
			bits -= 8
		default:
			raw[i] |= byte(0xff >> bits)
			bits = 0
		}
	}
	addr, _ := netip.AddrFromSlice(raw)
	return addr
}

// countLines counts the lines of data, for the progress report.
func countLines(data []byte) int {
	return bytes.Count(data, []byte{'\n'})
}
