package leaktest

// Flows returns the rules of this repository for CheckFlows.
func Flows() FlowRules {
	return FlowRules{
		Boxed: map[string]string{
			"collector.work": "the memory of one request, reused through a pool; its address is forgotten before",
			"collector.conn": "an open connection, which the server takes as a net.Conn and has the peer's address anyway",
		},
		Visitors: []string{"collector", "enrich", "pkg/seal"},
		Open: map[string]string{
			"pkg/seal/address.go#AddressOf": "cuts the address to its network; the one place that does",
			"enrich/geo/build.go":           "reads public tables, never a visitor's address",
			"enrich/geo/csv.go":             "reads public tables, never a visitor's address",
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
			"collector/peer.go":                 "finds the address behind the proxies",
			"collector/listener.go#Accept":      "notes the peer of a connection",
			"collector/listener.go#conn":        "notes the peer of a connection",
			"collector/headers.go#read":         "finds the hops of the proxies",
			"collector/request.go#readVisitor":  "hands the address to seal.AddressOf and asks whether it is private",
			"pkg/seal/address.go#AddressOf":     "cuts it to its network",
			"pkg/seal/address.go#truncatedFrom": "makes a network of an opened value",
			// A network that was opened, or a public one.
			"enrich/geo/": "looks networks up in company databases",
			"enrich/company/tables.go#parseOverrides": "asks a configured prefix for its family",
			// Not a visitor's.
			"collector/config.go#Validate":              "asks a trusted network for its family",
			"cmd/internal/app/metiva/geo.go":            "metiva geo lookup: an operator's own question",
			"cmd/internal/app/metiva/demo_drive.go":     "the demo's visitors have made-up addresses",
			"cmd/internal/config/process.go#Loopback":   "is a configured host this machine",
			"cmd/internal/stack/layout.go#port":         "a free port of this machine",
			"pkg/clickhouse/config.go#PlaintextRemote":  "is a configured host this machine",
			"pkg/core/registry/origin.go":               "a site's origin may be an address",
			"pkg/embedded/kafka/serve.go#Validate":      "the address the broker listens on",
			"pkg/seal/leaktest/names.go#addressHeaders": "the list itself",
		},
	}
}
