package export

import (
	"time"

	"github.com/metiva-io/metiva/pkg/core/analytics"
)

// FormatVersion is that of the manifest and the files' layout. Another one may mean
// anything.
const FormatVersion = 1

// ManifestName is the manifest's file, and RegistryName that of the registry's facts.
const (
	ManifestName = "manifest.json"
	RegistryName = "registry.json"
)

// Manifest says what an export holds. It is written last: a directory that has it is
// whole.
type Manifest struct {
	FormatVersion int    `json:"format_version"`
	CompanyID     string `json:"company_id"`
	// CreatedBy is the actor of the claim ("operator:anna").
	CreatedBy string `json:"created_by"`
	// StartedAt is when the first table was asked for, CreatedAt when the last was
	// written, in UTC.
	StartedAt time.Time `json:"started_at"`
	CreatedAt time.Time `json:"created_at"`
	// Format is that of the files with rows.
	Format analytics.ExportFormat `json:"format"`
	// Since and Until bound the rows by each table's time; both are left out of an
	// export of everything.
	Since *time.Time `json:"since,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	Files []File     `json:"files"`
	// NotExported names tables that are not in the export, with the tables they are made
	// from.
	NotExported map[string][]string `json:"not_exported,omitempty"`
}

// File is one file of an export.
type File struct {
	Name string `json:"name"`
	// Table, TimeColumn and Columns are of a file with rows; empty for the registry's.
	Table      string                   `json:"table,omitempty"`
	TimeColumn string                   `json:"time_column,omitempty"`
	Columns    []analytics.ExportColumn `json:"columns,omitempty"`
	// Rows are 0 in the registry's file.
	Rows  int64 `json:"rows"`
	Bytes int64 `json:"bytes"`
	// SHA256 is in lower-case hexadecimal.
	SHA256 string `json:"sha256"`
}
