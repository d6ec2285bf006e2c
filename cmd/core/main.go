// Command core runs the core process; see cmd/internal/app/core.
package main

import (
	"os"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/core"
)

func main() { os.Exit(app.Main(core.Run)) }
