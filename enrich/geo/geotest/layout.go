package geotest

import (
	"bytes"
	"cmp"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/metiva-io/metiva/enrich/geo"
)

// LayoutsASN are the types of database whose records have the fields of an ASN
// database.
func LayoutsASN() []string {
	return []string{geo.DatabaseTypeASN, "GeoLite2-ASN", "GeoIP2-ASN", "DBIP-ASN-Lite"}
}

// System is the autonomous system of a network.
type System struct {
	ASN          uint32
	Organization string
}

// Typed writes a database of a type with these networks. IPv4 says that it is one
// of IPv4 only, without a tree of IPv6 around it.
func Typed(tb testing.TB, databaseType string, ipv4 bool, networks map[string]System) geo.Files {
	tb.Helper()
	options := mmdbwriter.Options{
		DatabaseType: databaseType, RecordSize: 24, IPVersion: 6, IncludeReservedNetworks: true,
		BuildEpoch: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).Unix(),
	}
	if ipv4 {
		options.IPVersion = 4
	}
	tree, err := mmdbwriter.New(options)
	if err != nil {
		tb.Fatal(err)
	}
	var order []netip.Prefix // the wider first, whose part a longer one then takes
	for text := range networks {
		order = append(order, netip.MustParsePrefix(text))
	}
	slices.SortFunc(order, func(a, b netip.Prefix) int { return cmp.Or(a.Bits()-b.Bits(), a.Addr().Compare(b.Addr())) })
	for _, p := range order {
		raw, system := p.Addr().AsSlice(), networks[p.String()]
		err := tree.Insert(&net.IPNet{IP: raw, Mask: net.CIDRMask(p.Bits(), len(raw)*8)}, mmdbtype.Map{
			"autonomous_system_number": mmdbtype.Uint32(system.ASN), "autonomous_system_organization": mmdbtype.String(system.Organization),
		})
		if err != nil {
			tb.Fatalf("inserting %s: %v", p, err)
		}
	}
	var content bytes.Buffer
	if _, err := tree.WriteTo(&content); err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(tb.TempDir(), "typed.mmdb")
	if err := os.WriteFile(file, content.Bytes(), 0o600); err != nil {
		tb.Fatal(err)
	}
	return geo.Files{file}
}
