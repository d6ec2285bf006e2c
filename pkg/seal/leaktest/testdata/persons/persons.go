// Each marked line compiles and is a breach of CheckFlows where persons' values are
// handled; no other is.
package leak

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/metiva-io/metiva/enrich/person"
	"github.com/metiva-io/metiva/pkg/seal"
)

type typed []byte

type vault interface {
	OpenField(dst []byte, b seal.Binding, blob []byte) ([]byte, error)
}

func opens(o *seal.Opener, v person.Vault, b seal.Binding, blob []byte) {
	_, _ = o.OpenField(nil, b, blob)        // want
	_, _ = v.OpenField(nil, b, blob)        // want
	_, _ = o.ResealField(nil, b, blob, nil) // want
	open := o.OpenField                     // want
	_, _ = open(nil, b, blob)
	_, _ = o.OpenBytes(nil, b, blob)
	_, _ = o.OpenAddress(b, blob)
}

func texts(value []byte, name typed, log *slog.Logger, sc *person.Scratch) error {
	text := string(value) // want
	_ = string(name)      // want
	_ = text
	fmt.Println(value)               // want
	log.Info("m", "value", name[:2]) // want
	log.Info("m", "bytes", len(value))
	_ = slices.Index([]int{1}, 1)
	_ = slices.MaxFunc([][]byte{value}, bytes.Compare) // want
	_ = bytes.TrimSpace(value)
	_ = strings.Repeat("a", len(value))
	fmt.Println(sc) // want
	if len(value) > 9 {
		panic(value) // want
	}
	if len(value) == 0 {
		return errors.New("no value")
	}
	return fmt.Errorf("value %q", value) // want
}
