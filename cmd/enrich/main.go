// Command enrich runs the enrich process; see cmd/internal/app/enrich.
package main

import (
	"os"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/enrich"
)

func main() { os.Exit(app.Main(enrich.Run)) }
