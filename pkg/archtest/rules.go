package archtest

// Module is the path of the product.
const Module = "github.com/metiva-io/metiva"

// Rule is what the packages of one part of the tree may import of the product.
// Paths are relative to the module; a path stands for itself and all below it.
type Rule struct {
	Part  string   // the packages the rule is for; the longest matching Part counts
	Allow []string // what they may import besides themselves and what is below them
	Deny  []string // exceptions to Allow
	Why   string
}

// Driver is an outside module with few importers. The longest matching Path
// counts.
type Driver struct {
	Path   string   // import path, and all below it
	Only   []string // parts that may import it; tests are held to it too
	InTest []string // parts whose _test.go files may import it besides
	Why    string
}

// Link is what a binary must not contain.
type Link struct {
	Binary string // main package, relative
	Never  []string
	Why    string
}

// Table is the whole of the rules.
type Table struct {
	Rules   []Rule
	Drivers []Driver
	Links   []Link
	// Programs are main packages outside cmd, which may use os.Exit and the like.
	Programs []string
}

// Rules returns the table of this repository.
func Rules() Table {
	stage := []string{"schemas", "consent", "pkg"}
	const meet = "stages meet only in Kafka, whose messages are in schemas"
	const plainCopy = Module + "/pkg/kafka/plaincopy" // for benches alone
	return Table{
		Rules: []Rule{
			{Part: "schemas", Allow: nil, Why: "the contract depends on nothing of the product"},
			{Part: "consent", Allow: []string{"schemas"}, Why: "consent is decided by pure functions over the contract"},
			{Part: "collector", Allow: stage, Deny: []string{"pkg/core", "pkg/embedded"}, Why: meet},
			{Part: "enrich", Allow: stage, Deny: []string{"pkg/core", "pkg/embedded"}, Why: meet},
			{Part: "sink", Allow: stage, Deny: []string{"pkg/core", "pkg/embedded"}, Why: meet},
			{Part: "pkg", Allow: []string{"schemas", "pkg"}, Deny: []string{"pkg/core", "pkg/embedded"}, Why: "a library knows neither a stage nor the core"},
			{Part: "pkg/secret", Allow: nil, Why: "a leaf"},
			{Part: "pkg/lifecycle", Allow: nil, Why: "a leaf"},
			{Part: "pkg/obs", Allow: nil, Why: "a leaf"},
			{Part: "pkg/embedded", Allow: []string{"schemas", "pkg"}, Deny: []string{"pkg/core"}, Why: "an engine knows drivers and tables, not the product's services"},
			{Part: "pkg/core", Allow: []string{"schemas", "consent", "pkg"}, Deny: []string{"pkg/embedded"}, Why: "core reads and writes Kafka like a stage and never calls one"},
			{Part: "cmd", Allow: []string{"schemas", "consent", "collector", "enrich", "sink", "pkg", "cmd"}, Why: "wiring; nobody imports it"},
			{Part: "deploy", Allow: []string{"schemas"}, Why: "tests of the files only"},
		},
		Drivers: []Driver{
			{Path: "github.com/valyala/fasthttp", Only: []string{"collector", "cmd/internal/bench"}, Why: "the edge's server; its buffers must not outlive the handler; the bench has the bare server it is compared with"},
			{Path: "github.com/segmentio/kafka-go", Only: []string{"pkg/kafka"}, Why: "one producer and consumer for all; below it the plain copy that benches compare with"},
			{Path: "github.com/twmb/franz-go", Only: []string{"pkg/embedded/kafka"}, Why: "kfake only, for one machine"},
			{Path: "github.com/ClickHouse/clickhouse-go", Only: []string{"pkg/clickhouse"}, Why: "one package opens connections"},
			{Path: "github.com/ClickHouse/ch-go", Only: []string{"pkg/clickhouse", "pkg/embedded/clickhouse"}, Why: "the native format, for the driver and the embedded engine"},
			{Path: "github.com/jackc/pgx", Only: []string{"pkg/postgres", "pkg/tenant", "pkg/core"}, Why: "a connection is had through tenant.Run only"},
			{Path: "github.com/pressly/goose", Only: []string{"pkg/postgres"}, Why: "migrations are applied in one place"},
			{Path: "github.com/oschwald/maxminddb-golang", Only: []string{"enrich/geo"}, Why: "a closed database must have no readers"},
			{Path: "github.com/maxmind/mmdbwriter", Only: []string{"enrich/geo"}, Why: "built where it is read"},
			{Path: "github.com/ebitengine/purego", Only: []string{"pkg/embedded/clickhouse"}, Why: "loads a C library: the child process only"},
			{Path: "github.com/alecthomas/kong", Only: []string{"cmd"}, Why: "configuration is read under cmd"},
			{Path: "github.com/evanw/esbuild", Only: []string{"collector/snippet/internal"}, Why: "bundles the snippet at build time"},
			{Path: "github.com/andybalholm/brotli", Only: []string{"collector"}, Why: "decompresses request bodies, whose size only the edge bounds; compresses the snippet once, at build and start"},
			{Path: "github.com/klauspost/compress", Only: []string{"collector", "pkg/kafka"}, Why: "decompresses request bodies, whose size only the edge bounds; packs Kafka's batches"},
			{Path: "github.com/tink-crypto", Only: []string{"pkg/seal/kms"}, Why: "one package asks a KMS; only processes that open envelopes import it"},
			{Path: "github.com/hashicorp", Only: []string{"pkg/seal/kms"}, Why: "Vault's client, which Tink's is made of"},
			{Path: "golang.org/x/net/dns", Only: []string{"enrich/reversedns"}, Why: "names are asked for in one place, which is off by default"},
			{Path: "github.com/chromedp", Only: []string{"collector/snippet/chromium", "cmd"}, InTest: []string{"collector/snippet"}, Why: "drives a browser in tests and in the demo"},
		},
		Links: []Link{
			{Binary: "cmd/collector", Never: []string{
				"github.com/jackc/pgx", "github.com/ClickHouse/clickhouse-go", "github.com/ClickHouse/ch-go", "github.com/twmb/franz-go",
				"github.com/ebitengine/purego", "github.com/evanw/esbuild", "github.com/chromedp",
				"github.com/oschwald/maxminddb-golang", "github.com/maxmind/mmdbwriter",
				"github.com/tink-crypto", "github.com/hashicorp", "golang.org/x/net/dns", plainCopy,
			}, Why: "the exposed process holds no database client, knows no company, resolves no visitor's name, and has no token for a KMS"},
			{Binary: "cmd/enrich", Never: []string{"github.com/jackc/pgx", "github.com/ClickHouse/clickhouse-go", "github.com/valyala/fasthttp", "github.com/twmb/franz-go", plainCopy}, Why: "it only reads and writes Kafka"},
			{Binary: "cmd/sink", Never: []string{"github.com/jackc/pgx", "github.com/valyala/fasthttp", "github.com/twmb/franz-go", "github.com/tink-crypto", "github.com/hashicorp", plainCopy}, Why: "it only reads Kafka and writes ClickHouse"},
			{Binary: "cmd/core", Never: []string{"github.com/valyala/fasthttp", "github.com/twmb/franz-go", plainCopy}, Why: "the embedded engines are for one machine"},
		},
		Programs: []string{"collector/snippet/internal/build", "enrich/internal/lists"},
	}
}

// Limits of form.
const (
	FileLinesMax     = 500
	TestFileLinesMax = 700
)

// badNames say nothing about what a package does.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "misc"}
