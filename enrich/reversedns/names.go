package reversedns

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/metiva-io/metiva/enrich/orgname"
)

// exactWords are parts of names that providers give to the addresses they let, or to
// machines that hide whose they are, where they stand alone between digits and joints.
const exactWords = " abo adsl arpa bot bras catv cdn cgn cmts colo cpe cust dip docsis dsl dyn edge exit fix fixed fttb ftth ftx fwa gpon gprs hfc home " +
	"host ip ips ipv isp lns lte nas nat node pon pop ppp ptr pub pvc res rev sat scan srv tor ubr umts usr vdsl vm vps wan wimax wlan xdsl "

// partWords say the same wherever they stand in a label.
func partWords() []string {
	return []string{
		"adsl", "addr", "anonym", "broadband", "cable", "cgnat", "client", "cloud", "crawl", "customer", "dedicated", "dhcp", "dial", "dsl", "dyn", "eduroam",
		"fiber", "fibre", "gast", "govroam", "guest", "hosted", "hosting", "hotspot", "huurder", "internet", "kabel", "klant", "kunde", "leased", "mobiel", "mobile",
		"modem", "noptr", "pool", "pppoe", "proxy", "rdns", "relay", "rented", "resident", "reserved", "resnet", "reverse", "server", "spider", "static", "student",
		"subscr", "tenant", "unallocated", "unassigned", "undefined", "unknown", "unnamed", "unused", "user", "visitor", "wifi", "wireless",
	}
}

// domainWords are parts of the domains of those whose addresses others use.
func domainWords() []string {
	return []string{
		"anonym", "broadband", "cable", "cloud", "colo", "coworking", "datacent", "dedicated", "dsl", "dyndns", "fiber", "fibre", "glasvezel", "host", "hotspot", "internet",
		"kabel", "mobiel", "mobile", "netwerk", "network", "proxy", "relay", "server", "telecom", "telekom", "vpn", "vps", "webspace", "wifi", "wireless",
	}
}

// digitsMax is how many digits in a row a name of a machine has.
const digitsMax = 5

// Judge is the registrable domain of a host's name, in lower case, and whether it can say
// whose the address is. It can not (empty) when the name is no host's name, has no
// registrable domain under a public suffix of ICANN's (a name under somebody's private
// suffix, such as a dynamic DNS service, is a customer's), or is generic: it is made of
// the address, has a word of those that providers use for the addresses they let, or is
// under the domain of one. What looks generic and is not stays without a name: that is
// the safe side.
func Judge(name string, addr netip.Addr) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	domain := orgname.Registrable(name)
	if domain == "" || strings.ContainsRune(name, '_') || strings.Trim(strings.TrimSpace(name), ".") != name {
		return ""
	}
	suffix, icann := publicsuffix.PublicSuffix(name)
	if !icann || suffix == "arpa" || strings.HasSuffix(suffix, ".arpa") {
		return ""
	}
	own := strings.TrimSuffix(domain, "."+suffix)
	if containsAny(own, domainWords()) || hasWord(own) {
		return ""
	}
	host := strings.TrimSuffix(strings.TrimSuffix(name, domain), ".")
	if containsAny(host, partWords()) || hasWord(host) || hasAddress(name, addr) {
		return ""
	}
	return domain
}

func containsAny(text string, words []string) bool {
	for _, word := range words {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// hasWord reports whether one of exactWords stands in text on its own.
func hasWord(text string) bool {
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r < 'a' || r > 'z' }) {
		if strings.Contains(exactWords, " "+word+" ") {
			return true
		}
	}
	return false
}

// hasAddress reports whether a name is made of its address: of its last byte, of two of
// its bytes, of all in hexadecimal, or of more digits in a row than machines are counted
// with.
func hasAddress(name string, addr netip.Addr) bool {
	bytes := addr.Unmap().AsSlice()
	if len(bytes) == 0 {
		return true
	}
	plain := strings.NewReplacer("-", "", ".", "").Replace(name)
	if hex := fmt.Sprintf("%x", bytes); strings.Contains(plain, hex[len(hex)-min(len(hex), 8):]) {
		return true
	}
	last, found := bytes[len(bytes)-1], 0
	var seen [256]bool
	for run := range strings.FieldsFuncSeq(name, func(r rune) bool { return r < '0' || r > '9' }) {
		if len(run) > digitsMax {
			return true
		}
		n, err := strconv.ParseUint(run, 10, 8)
		if err != nil || seen[n] {
			continue
		}
		seen[n] = true
		if byte(n) == last && (n > 9 || len(run) > 1) {
			return true // a counted pool
		}
		for _, b := range bytes {
			if byte(n) == b {
				found++
				break
			}
		}
	}
	return found > 1
}
