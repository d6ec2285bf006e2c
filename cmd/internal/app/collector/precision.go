package collector

import (
	"errors"
	"fmt"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/pkg/businessnet"
)

// The precisions of addresses a collector can have.
const (
	precisionTruncated = "truncated"
	precisionNetwork   = "network"
)

// Precision is how finely addresses may be sealed.
type Precision struct {
	Mode      string
	CompanyDB string
}

func (p *Precision) bind(s *config.Set) {
	s.String(&p.Mode, config.Option{Flag: "precision", Env: "METIVA_COLLECTOR_PRECISION", Default: precisionTruncated, Help: "How addresses are cut: truncated, to /24 or /48; or network, to the business network of /25 to /29 where METIVA_COLLECTOR_COMPANY_DB knows one, for sites that have this precision (metiva site set --precision network)."})
	s.String(&p.CompanyDB, config.Option{Flag: "company-db", Env: "METIVA_COLLECTOR_COMPANY_DB", Help: "File of business networks (metiva geo networks makes it), for the precision network; it is read again when it is replaced."})
}

// validate refuses settings that contradict each other, and a file that is not
// there or damaged.
func (p *Precision) validate() error {
	switch {
	case p.Mode != precisionTruncated && p.Mode != precisionNetwork:
		return errors.New("METIVA_COLLECTOR_PRECISION must be truncated or network")
	case p.Mode == precisionTruncated && p.CompanyDB != "":
		return errors.New("METIVA_COLLECTOR_COMPANY_DB is set and METIVA_COLLECTOR_PRECISION is truncated: nothing would use the file; set the precision to network, or leave the file out")
	case p.Mode == precisionNetwork && p.CompanyDB == "":
		return errors.New("METIVA_COLLECTOR_COMPANY_DB is missing: METIVA_COLLECTOR_PRECISION=network needs the file metiva geo networks makes")
	case p.Mode == precisionTruncated:
		return nil
	}
	if _, err := businessnet.Load(p.CompanyDB); err != nil {
		return fmt.Errorf("METIVA_COLLECTOR_COMPANY_DB: %w", err)
	}
	return nil
}

// open reads the file; nil without the precision network.
func (p *Precision) open(w *app.Watched) (*businessnet.Watch, error) {
	if p.Mode != precisionNetwork {
		return nil, nil //nolint:nilnil // none is wanted
	}
	networks, err := businessnet.Open(businessnet.Config{File: p.CompanyDB}, w.Log, w.Registry)
	if err != nil {
		return nil, fmt.Errorf("METIVA_COLLECTOR_COMPANY_DB: %w", err)
	}
	return networks, nil
}

// currentOf is how the edge asks for the networks; nil without any.
func currentOf(w *businessnet.Watch) func() *businessnet.Set {
	if w == nil {
		return nil
	}
	return w.Current
}
