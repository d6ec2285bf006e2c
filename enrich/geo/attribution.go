package geo

import (
	"fmt"
	"io"
	"time"
)

// The licences ask for the notice wherever results are shown (CC BY 4.0;
// DB-IP asks for a link on the pages), so it travels with the database and is
// available to the pages.
const (
	attributionASN = "ASN data by RouteViews (routeviews.org), NRO (nro.net) and DB-IP (db-ip.com), " +
		"CC BY 4.0, merged by ip-location-db; IP Geolocation by DB-IP (https://db-ip.com)."
	attributionCountry = "Country data by IPtoASN (iptoasn.com), PDDL 1.0."
)

// Attribution is the notice to show where company names or countries from
// these databases are shown. It is plain text with the link DB-IP asks for.
func Attribution() string {
	return attributionASN + " " + attributionCountry
}

// AttributionFile is the path of the notice next to a database.
func AttributionFile(database string) string { return database + ".LICENSE.txt" }

func writeAttribution(database string, r BuildReport) error {
	err := ReplaceFile(AttributionFile(database), func(w io.Writer) error {
		_, err := fmt.Fprintf(w, `%s

Changes: converted to the MaxMind DB format; ranges split into networks; the
IPv4 aliases 2001::/32 and 2002::/16 and reserved ranges left out.

The names are those of autonomous systems. The publisher of the data package
says of this version that it contains errors and that no further one will be
published there. For production, set a current database by configuration.

Data version: @ip-location-db/asn %s
Data date:    %s
SHA-256:      %s
Licence:      https://creativecommons.org/licenses/by/4.0/
`, Attribution(), r.DataVersion, r.BuildTime.Format(time.RFC3339), r.SHA256)
		return err
	}, nil)
	if err != nil {
		return fmt.Errorf("writing the attribution file: %w", err)
	}
	return nil
}
