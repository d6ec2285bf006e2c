package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/metiva-io/metiva/enrich/geo"
)

// BuildGeo builds the default company database from the installed data
// packages into dir, and says how far it is.
func BuildGeo(ctx context.Context, cacheDir, dir string, say func(format string, args ...any)) (geo.BuildReport, error) {
	packages := filepath.Join(cacheDir, "data", "node_modules", "@ip-location-db")
	phase := ""
	return geo.Build(ctx, geo.BuildConfig{
		ASNPackageDir:  filepath.Join(packages, "asn"),
		CountryFile:    filepath.Join(packages, "iptoasn-country-mmdb", "iptoasn-country.mmdb"),
		OutFile:        filepath.Join(dir, geo.FileASN),
		CountryOutFile: filepath.Join(dir, geo.FileCountry),
	}, func(p geo.Progress) {
		if p.Phase != phase {
			phase = p.Phase
			say("company database: %s", phase)
		}
	})
}

// prepareGeo finds the default database in the cache, or builds it there: once
// for each release of the data it is made of.
func (s *Stack) prepareGeo(ctx context.Context) error {
	dir := filepath.Join(s.cfg.CacheDir, "geo")
	s.addr.GeoDir = dir
	_, errASN := os.Stat(filepath.Join(dir, geo.FileASN))
	_, errCountry := os.Stat(filepath.Join(dir, geo.FileCountry))
	data, errData := os.Stat(filepath.Join(s.cfg.CacheDir, "data", "installed"))
	if errData != nil {
		return errors.New("the company data is not installed: run make engines")
	}
	if errASN == nil && errCountry == nil {
		built, err := os.Stat(filepath.Join(dir, geo.FileASN))
		if err == nil && built.ModTime().After(data.ModTime()) {
			return nil
		}
	}
	report, err := BuildGeo(ctx, s.cfg.CacheDir, dir, func(format string, args ...any) { s.say("    "+format, args...) })
	if err != nil {
		return fmt.Errorf("building the company database: %w", err)
	}
	s.say("    company database: %d networks of %d autonomous systems", report.Networks, report.Systems)
	return nil
}
