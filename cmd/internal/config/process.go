package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"
)

// Environments a process can run in.
const (
	Production  = "production"
	Development = "development"
)

// euRegions are the regions of common providers that lie in the European
// Union. London and Zurich are in Europe and not in the Union.
var euRegions = map[string][]string{
	"Amazon":   {"eu-central-1", "eu-west-1", "eu-west-3", "eu-north-1", "eu-south-1", "eu-south-2", "eusc-de-east-1"},
	"Google":   {"europe-west1", "europe-west3", "europe-west4", "europe-west8", "europe-west9", "europe-west10", "europe-west12", "europe-north1", "europe-north2", "europe-central2", "europe-southwest1"},
	"Azure":    {"westeurope", "northeurope", "germanywestcentral", "francecentral", "swedencentral", "polandcentral", "italynorth", "spaincentral", "austriaeast", "belgiumcentral", "denmarkeast"},
	"Neon":     {"aws-eu-central-1"},
	"Hetzner":  {"fsn1", "nbg1", "hel1"},
	"Scaleway": {"nl-ams", "fr-par", "pl-waw"},
	"OVH":      {"gra", "sbg", "rbx", "waw", "de", "eu-west-par"},
	"own":      {"eu", "nl", "be", "de", "fr", "ie", "lu"},
}

// EURegion reports whether region is one of the known regions in the Union.
func EURegion(region string) bool {
	for _, list := range euRegions {
		if slices.Contains(list, region) {
			return true
		}
	}
	return false
}

// Process is what every process has.
type Process struct {
	Env          string
	Region       string
	AdminListen  string
	LogLevel     string
	DrainTimeout time.Duration
	Check        bool
}

// Bind adds the settings of every process.
func (p *Process) Bind(s *Set) {
	s.String(&p.Env, Option{Flag: "env", Env: "METIVA_ENV", Default: Production, Help: "production or development. Development accepts generated keys and plaintext connections."})
	s.String(&p.Region, Option{Flag: "region", Env: "METIVA_REGION", Help: "Region this process and its stores run in; production accepts regions in the European Union only."})
	s.String(&p.AdminListen, Option{Flag: "admin-listen", Env: "METIVA_ADMIN_LISTEN", Default: "127.0.0.1:0", Help: "Address of the admin listener: health, readiness, metrics and profiles. Keep it off the public network."})
	s.String(&p.LogLevel, Option{Flag: "log-level", Env: "METIVA_LOG_LEVEL", Default: "info", Help: "debug, info, warn or error."})
	s.Duration(&p.DrainTimeout, Option{Flag: "drain-timeout", Env: "METIVA_DRAIN_TIMEOUT", Default: "20s", Help: "How long a stop may take before what has not drained is left behind."})
	s.Bool(&p.Check, Option{Flag: "check", Help: "Report every fault of the configuration and exit."})
}

// InProduction reports whether the strict rules hold. Anything that is not
// plainly development is production.
func (p *Process) InProduction() bool { return p.Env != Development }

// Level is the log level; info when the text is not one.
func (p *Process) Level() slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(p.LogLevel)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// Validate joins every fault.
func (p *Process) Validate() error {
	var faults []error
	if p.Env != Production && p.Env != Development {
		faults = append(faults, errors.New("METIVA_ENV must be production or development"))
	}
	if p.InProduction() && p.Region == "" {
		faults = append(faults, errors.New("METIVA_REGION is missing: set the region this process runs in, for example eu-central-1"))
	} else if p.InProduction() && !EURegion(p.Region) {
		faults = append(faults, fmt.Errorf("METIVA_REGION is not a known region in the European Union: client data stays in the Union; known regions are %s", knownRegions()))
	}
	if _, _, err := net.SplitHostPort(p.AdminListen); err != nil {
		faults = append(faults, errors.New("METIVA_ADMIN_LISTEN must be host:port"))
	}
	var l slog.Level
	if err := l.UnmarshalText([]byte(p.LogLevel)); err != nil {
		faults = append(faults, errors.New("METIVA_LOG_LEVEL must be debug, info, warn or error"))
	}
	if p.DrainTimeout <= 0 {
		faults = append(faults, errors.New("METIVA_DRAIN_TIMEOUT must be longer than zero"))
	}
	return errors.Join(faults...)
}

func knownRegions() string {
	var all []string
	for _, list := range euRegions {
		all = append(all, list...)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// Loopback reports whether a host stays on this machine.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
