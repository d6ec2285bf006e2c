package geo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"github.com/oschwald/maxminddb-golang/v2"
)

// TestTreeIsTheLibrarys: of addresses at the edges of networks and anywhere else, and in
// every form a file can have, the tree says what the package maxminddb says.
func TestTreeIsTheLibrarys(t *testing.T) {
	t.Parallel()
	for _, recordSize := range []int{24, 28, 32} {
		for _, version := range []int{4, 6} {
			t.Run(fmt.Sprintf("%d bits, version %d", recordSize, version), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(uint64(recordSize), uint64(version)))
				file, edges := randomDatabase(t, random, recordSize, version)
				db, err := maxminddb.OpenBytes(file)
				if err != nil {
					t.Fatal(err)
				}
				tree := newTree(file, &db.Metadata)
				if tree == nil {
					t.Fatal("the file is not understood")
				}
				for range 20_000 {
					edges = append(edges, random.Uint32())
				}
				for _, address := range edges {
					var four [4]byte
					binary.BigEndian.PutUint32(four[:], address)
					agree(t, tree, db, netip.AddrFrom4(four))
				}
			})
		}
	}
}

func agree(t *testing.T, tree *tree, db *maxminddb.Reader, addr netip.Addr) {
	t.Helper()
	want := db.Lookup(addr)
	offset, bits, found, ok := tree.find(addr)
	if !ok || want.Err() != nil || found != want.Found() || bits != want.Prefix().Bits() || found && offset != want.Offset() {
		t.Fatalf("%s: offset %d of /%d, found %v, valid %v; the library: %d of %s, %v, %v",
			addr, offset, bits, found, ok, want.Offset(), want.Prefix(), want.Found(), want.Err())
	}
}

// randomDatabase has networks of every length, and the addresses at and beside their
// ends.
func randomDatabase(t *testing.T, random *rand.Rand, recordSize, version int) (file []byte, edges []uint32) {
	t.Helper()
	writer, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-ASN", RecordSize: recordSize, IPVersion: version, BuildEpoch: 1793500000, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		length := 2 + i%31
		first := random.Uint32() >> (32 - length) << (32 - length)
		last := first | uint32(uint64(1)<<(32-length)-1)
		edges = append(edges, first-1, first, last, last+1)
		network := &net.IPNet{IP: binary.BigEndian.AppendUint32(nil, first), Mask: net.CIDRMask(length, 32)}
		if err := writer.Insert(network, mmdbtype.Uint32(random.Uint32N(500))); err != nil {
			t.Fatal(err)
		}
	}
	var content bytes.Buffer
	if _, err := writer.WriteTo(&content); err != nil {
		t.Fatal(err)
	}
	return content.Bytes(), edges
}

// TestTreeWithoutNetworks: one answer for every IPv4 address is the package's to give.
func TestTreeWithoutNetworks(t *testing.T) {
	t.Parallel()
	writer, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "GeoLite2-ASN", RecordSize: 24, BuildEpoch: 1793500000, DisableIPv4Aliasing: true, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	_, network, err := net.ParseCIDR("2a00:1::/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Insert(network, mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(1)}); err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	if _, err := writer.WriteTo(&content); err != nil {
		t.Fatal(err)
	}
	r, err := readerOf(content.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if r.tree != nil {
		t.Error("there is no tree of IPv4")
	}
	if rec, bits, err := r.lookup(netip.MustParseAddr("20.0.0.1")); rec != nil || bits != 0 || err != nil {
		t.Errorf("%v, %d, %v", rec, bits, err)
	}
	if rec, bits, err := r.lookup(netip.MustParseAddr("2a00:1::1")); rec == nil || bits != 32 || err != nil {
		t.Errorf("%v, %d, %v", rec, bits, err)
	}
}
