package company

import (
	"errors"
	"fmt"
	"os"
)

// Lists names the files an operator may add to the tables built in. Each is
// optional.
type Lists struct {
	// Suppressions is read by ReadSuppressions, Rows by ReadRows.
	Suppressions, Rows string
}

// Read reads the files.
func (l Lists) Read() (Config, error) {
	var cfg Config
	err := errors.Join(
		readList(l.Suppressions, "suppressions", func(f *os.File) (err error) {
			cfg.Suppressions, err = ReadSuppressions(f)
			return err
		}),
		readList(l.Rows, "rows", func(f *os.File) error {
			return ReadRows(f, func(r Row) error {
				cfg.Rows = append(cfg.Rows, r)
				return nil
			})
		}),
	)
	return cfg, err
}

func readList(path, what string, read func(*os.File) error) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("opening the operator's %s: %w", what, err)
	}
	return errors.Join(read(f), f.Close())
}
