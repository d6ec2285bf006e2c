package geo

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPrefixes(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"20.0.0.0 20.0.0.255":                         "20.0.0.0/24",
		"20.0.0.0 20.0.1.255":                         "20.0.0.0/23",
		"20.0.0.5 20.0.0.8":                           "20.0.0.5/32 20.0.0.6/31 20.0.0.8/32",
		"0.0.0.0 255.255.255.255":                     "0.0.0.0/0",
		"255.255.255.255 255.255.255.255":             "255.255.255.255/32",
		"2a00:: 2a00:1:ffff:ffff:ffff:ffff:ffff:ffff": "2a00::/31",
	}
	for in, want := range cases {
		start, end, _ := strings.Cut(in, " ")
		var got []string
		err := prefixes(netip.MustParseAddr(start), netip.MustParseAddr(end), func(p netip.Prefix) error {
			got = append(got, p.String())
			return nil
		})
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: got %v, %v; want %s", in, got, err, want)
		}
	}
}

func TestCleanOrganization(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"  A\t B\x00 ":                     "A B",
		"bad \xff byte":                    "bad byte",
		strings.Repeat("é", 200):           strings.Repeat("é", 100),
		"Gemeente Súdwest-Fryslân, \"test": "Gemeente Súdwest-Fryslân, \"test",
	} {
		if got := cleanOrganization(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// FuzzReadASNRows: any bytes give rows of ordered ranges of one family, or an
// error; never a panic.
func FuzzReadASNRows(f *testing.F) {
	f.Add("1.0.0.0,1.0.0.255,13335,\"Cloudflare, Inc.\"\n")
	f.Add("2001:200::,2001:200:1b9:ffff:ffff:ffff:ffff:ffff,2500,WIDE\n")
	f.Add("1.0.0.9,1.0.0.3,1,x\n")
	f.Fuzz(func(t *testing.T, data string) {
		_ = readASNRows(strings.NewReader(data), func(row asnRow) error {
			if row.end.Less(row.start) || row.start.Is4() != row.end.Is4() || len(row.organization) > organizationBytesMax {
				t.Errorf("row %+v", row)
			}
			last := 0
			return prefixes(row.start, row.end, func(p netip.Prefix) error {
				last++
				if last > 256 {
					t.Fatal("a range of more networks than its bits allow")
				}
				return nil
			})
		})
	})
}
