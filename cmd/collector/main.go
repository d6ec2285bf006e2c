// Command collector runs the collector process; see cmd/internal/app/collector.
package main

import (
	"os"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/collector"
)

func main() { os.Exit(app.Main(collector.Run)) }
