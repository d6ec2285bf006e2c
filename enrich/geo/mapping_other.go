//go:build !unix

package geo

import "os"

// mapFile reads a file into memory.
func mapFile(path string) (data []byte, release func() error, err error) {
	data, err = os.ReadFile(path)
	return data, func() error { return nil }, err
}
