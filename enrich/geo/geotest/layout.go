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
	records := make(map[string]map[string]any, len(networks))
	for network, system := range networks {
		records[network] = map[string]any{
			"autonomous_system_number": system.ASN, "autonomous_system_organization": system.Organization,
		}
	}
	return geo.Files{Write(tb, databaseType, ipv4, records)}
}

// Write writes a database of a type with these records, and returns its path.
// Values are string, bool, uint16, uint32, map[string]any and []any.
func Write(tb testing.TB, databaseType string, ipv4 bool, networks map[string]map[string]any) string {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "typed.mmdb")
	if err := os.WriteFile(file, Bytes(tb, databaseType, ipv4, networks), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file
}

// Bytes is the database of Write.
func Bytes(tb testing.TB, databaseType string, ipv4 bool, networks map[string]map[string]any) []byte {
	tb.Helper()
	options := mmdbwriter.Options{
		Description:  map[string]string{"en": "a test's"}, // Verify wants one
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
		raw := p.Addr().AsSlice()
		if err := tree.Insert(&net.IPNet{IP: raw, Mask: net.CIDRMask(p.Bits(), len(raw)*8)}, value(tb, networks[p.String()])); err != nil {
			tb.Fatalf("inserting %s: %v", p, err)
		}
	}
	var content bytes.Buffer
	if _, err := tree.WriteTo(&content); err != nil {
		tb.Fatal(err)
	}
	return content.Bytes()
}

func value(tb testing.TB, v any) mmdbtype.DataType {
	tb.Helper()
	switch v := v.(type) {
	case string:
		return mmdbtype.String(v)
	case bool:
		return mmdbtype.Bool(v)
	case uint16:
		return mmdbtype.Uint16(v)
	case uint32:
		return mmdbtype.Uint32(v)
	case []any:
		out := make(mmdbtype.Slice, len(v))
		for i := range v {
			out[i] = value(tb, v[i])
		}
		return out
	case map[string]any:
		out := make(mmdbtype.Map, len(v))
		for k, each := range v {
			out[mmdbtype.String(k)] = value(tb, each)
		}
		return out
	}
	tb.Fatalf("a record of %T", v)
	return nil
}
