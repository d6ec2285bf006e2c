package company

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/metiva-io/metiva/enrich/geo"
	"github.com/metiva-io/metiva/enrich/orgname"
)

// ChangedSystem is a number of systems.tsv that the databases announce under
// another name than the table has, or not at all.
type ChangedSystem struct {
	ASN uint32 `json:"asn"`
	// Table is the organisation in the table, Databases those in the databases.
	Table     string   `json:"table"`
	Databases []string `json:"databases"`
	// Names says that the table names a company by this number.
	Names bool `json:"names_a_company"`
}

// Changed compares systems.tsv with the databases. A name counts as the same when
// its key is; databases spell a name in their own ways, so the list of another
// database than the default one is to be read, not obeyed.
func (c *Chain) Changed(ctx context.Context, view geo.View) ([]ChangedSystem, error) {
	announced := make(map[uint32]map[string]struct{})
	err := view.Systems(ctx, func(asn uint32, organization string) {
		if _, listed := c.systems[asn]; !listed {
			return
		}
		if announced[asn] == nil {
			announced[asn] = make(map[string]struct{})
		}
		announced[asn][organization] = struct{}{}
	})
	if err != nil {
		return nil, err
	}
	var out []ChangedSystem
	for asn, s := range c.systems {
		names := slices.Sorted(maps.Keys(announced[asn]))
		if !slices.ContainsFunc(names, func(n string) bool { return n == s.announced || orgname.Same(n, s.announced) }) {
			out = append(out, ChangedSystem{ASN: asn, Table: s.announced, Databases: names, Names: s.kind.isOrganization()})
		}
	}
	slices.SortFunc(out, func(a, b ChangedSystem) int { return cmp.Compare(a.ASN, b.ASN) })
	return out, nil
}
