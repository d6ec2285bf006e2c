// Command metiva is the operator's command; see cmd/internal/app/metiva.
package main

import (
	"os"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/metiva"
)

func main() { os.Exit(app.Main(metiva.Run)) }
