package leaktest

// Flows returns the rules of this repository for CheckFlows.
func Flows() FlowRules {
	return FlowRules{
		Boxed: map[string]string{
			"collector.work":             "the memory of one request, reused through a pool; its address is forgotten before",
			"collector.conn":             "an open connection, which the server takes as a net.Conn and has the peer's address anyway",
			"collector.Config":           "holds the networks of the operator's own proxies",
			"collector.connectionLimits": "holds the networks of the operator's own proxies",
			"enrich.asking":              "collects the networks of a batch for which the chain asks",
			"enrich/reversedns.Answers":  "answers the chain's question for a network",
		},
		Visitors: []string{"collector", "enrich", "pkg/seal", "pkg/businessnet"},
		Open: map[string]string{
			"pkg/seal/address.go#isSixToFour":           "asks whether it holds a whole IPv4 address",
			"pkg/seal/address.go#plainOf":               "the bytes of a network that is sealed",
			"pkg/businessnet/set.go#New":                "reads public networks, never a visitor's address",
			"pkg/businessnet/set.go#LengthOf":           "looks for the network around the address, and answers its length",
			"pkg/seal/address.go#Truncated":             "holds an opened network",
			"pkg/seal/address.go#truncatedFrom":         "makes one",
			"pkg/seal/opening.go#Opening":               "holds the network opened last, as Truncated does",
			"pkg/seal/opening.go#NewOpening":            "makes the place for it",
			"enrich/geo/lookup.go#Unmap":                "asks whether bits are set behind a network",
			"enrich/geo/tree.go#find":                   "walks down a database's tree by the bits of an address",
			"pkg/seal/reveal/revealer.go#open":          "shows an opened network to a person, after the audit has it",
			"collector/config.go#Validate":              "names a configured network that is not one",
			"collector/listener.go#keyOf":               "makes a keyed hash of the address, to count its connections",
			"enrich/company/tables.go":                  "names a configured prefix that is not one",
			"enrich/edgefile/build.go":                  "reads public networks, never a visitor's address",
			"enrich/geo/networks.go":                    "reads public tables, never a visitor's address",
			"enrich/verdict/decide.go#Decide":           "answers an operator's own question, not the worker's",
			"enrich/verdict/diff.go":                    "compares public tables",
			"enrich/verdict/score.go":                   "reads the labelled set",
			"enrich/reversedns/names.go#hasAddress":     "asks whether a name is made of its address",
			"enrich/reversedns/network.go#host":         "puts the questions about an address when one more may be put",
			"enrich/reversedns/question.go#reverseName": "the name that the operator's own resolver is asked for",
			"enrich/reversedns/dnstest/server.go":       "a name server of tests",
			"enrich/geo/build.go":                       "reads public tables, never a visitor's address",
			"enrich/geo/csv.go":                         "reads public tables, never a visitor's address",
			"enrich/geo/geotest/layout.go":              "writes databases for tests",

			// What a person typed.
			"enrich/person/email.go#appendDomain": "a domain with letters beyond ASCII, which package idna takes as a string",
			"enrich/person/mailservices.go#Has":   "looks a domain up in a map, for which the compiler makes no string",
			"enrich/person/person.go#isWithin":    "compares a domain, for which the compiler makes no string",
			"enrich/person/sites.go#Apply":        "reads a site's registration",
		},
		Persons: []string{"enrich/person"},
		Opening: map[string]string{
			"enrich/person/person.go#field":    "opens a field of a consented capture in memory, and seals it again",
			"pkg/seal/reveal/revealer.go#open": "shows a value to a person, after the audit has it",

			"cmd/internal/app/metiva/erase_email.go#hasEmail": "compares an e-mail address with the one whose owner is to be erased; shows it to nobody",
		},
	}
}

// Names returns the rules of this repository for CheckNames.
func Names() NameRules {
	return NameRules{
		Holders: map[string]string{
			"collector.conn": "an open connection; only peer.go reads its address",
		},
		Places: map[string]string{
			// A visitor's.
			"collector/peer.go":                "finds the address behind the proxies",
			"collector/conn.go#newConn":        "notes the peer of a connection",
			"collector/listener.go#take":       "counts connections by the peer",
			"collector/listener.go#keyOf":      "makes a keyed hash of the address, to count its connections",
			"collector/listener.go#isPublic":   "asks what kind of address it is",
			"collector/conn.go#conn":           "notes the peer of a connection",
			"collector/headers.go#read":        "finds the hops of the proxies",
			"collector/ordinary.go#header":     "finds the hops of the proxies",
			"collector/request.go#readAddress": "hands the address to seal.AddressIn and asks whether it is public",
			"pkg/seal/address.go#AddressOf":    "hands it on to AddressIn",
			"pkg/seal/address.go#AddressIn":    "cuts it to its network; the one place that does",
			"pkg/seal/address.go#isSixToFour":  "asks whether it holds a whole IPv4 address",
			"pkg/seal/address.go#plainOf":      "the bytes of a network that is sealed",
			"pkg/businessnet/set.go#LengthOf":  "looks for the network around it",
			"pkg/seal/address.go#prefixFrom":   "makes a network of an opened value",
			// A network that was opened, or a public one.
			"enrich/geo/":                                "looks networks up in company databases",
			"pkg/businessnet/set.go#New":                 "reads public networks",
			"enrich/company/operator.go":                 "reads the operator's networks",
			"enrich/company/suppress.go":                 "reads the operator's networks",
			"schemas/suppressions.go":                    "checks networks that tenants register",
			"cmd/internal/app/metiva/suppressions.go":    "reads the networks that an operator registers",
			"enrich/company/tables.go":                   "reads configured networks",
			"enrich/edgefile/build.go":                   "reads public networks",
			"enrich/reversedns/":                         "asks the operator's own resolver about opened networks",
			"enrich/verdict/decide.go":                   "answers an operator's own question",
			"enrich/verdict/diff.go":                     "compares public tables",
			"enrich/verdict/labelled.go":                 "reads the labelled set",
			"enrich/verdict/score.go":                    "reads the labelled set",
			"enrich/reload/reload.go":                    "the labelled set of public addresses",
			"cmd/internal/app/metiva/bench_companies.go": "the labelled set of public addresses",
			"cmd/internal/bench/enrich_events.go":        "made-up addresses, and the labelled set of public ones",
			"cmd/internal/app/metiva/geo_lookup.go":      "metiva geo lookup: an operator's own question",
			"cmd/internal/app/metiva/geo_check.go":       "metiva geo diff: how far the walk is",
			// Not a visitor's.
			"collector/config.go#Validate":              "asks a trusted network for its family",
			"cmd/internal/app/metiva/demo_drive.go":     "the demo's visitors have made-up addresses",
			"cmd/internal/config/process.go#Loopback":   "is a configured host this machine",
			"cmd/internal/stack/layout.go#port":         "a free port of this machine",
			"pkg/clickhouse/hosts.go#remote":            "is a configured host this machine",
			"pkg/core/registry/policy.go#isLoopback":    "is a configured host this machine",
			"pkg/core/registry/origin.go":               "a site's origin may be an address",
			"pkg/embedded/kafka/serve.go#Validate":      "the address the broker listens on",
			"pkg/seal/leaktest/names.go#addressHeaders": "the list itself",
		},
	}
}
