// Command sink runs the sink process; see cmd/internal/app/sink.
package main

import (
	"os"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/sink"
)

func main() { os.Exit(app.Main(sink.Run)) }
