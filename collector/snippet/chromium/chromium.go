package chromium

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chromedp/chromedp"
)

// ErrMissing says that no Chromium was found and what to do about it.
var ErrMissing = errors.New("no Chromium found: run `make chromium`, or set METIVA_CHROMIUM to its path")

// names are how distributions call the program.
var names = []string{"chromium", "chromium-browser", "google-chrome"}

// Find returns the path of a Chromium: METIVA_CHROMIUM, else one in the PATH,
// else the one .ci/tools/chromium put into the cache. getenv is os.Getenv.
func Find(getenv func(string) string) (string, error) {
	if path := getenv("METIVA_CHROMIUM"); path != "" {
		if _, err := exec.LookPath(path); err != nil {
			return "", fmt.Errorf("using METIVA_CHROMIUM: %w", err)
		}
		return path, nil
	}
	for _, dir := range filepath.SplitList(getenv("PATH")) {
		for _, name := range names {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(path) {
				return path, nil
			}
		}
	}
	// The installer keeps the path of what it installed in a link.
	path := filepath.Join(cacheDir(getenv), "chromium", "current", "chromium")
	if _, err := exec.LookPath(path); err == nil {
		return path, nil
	}
	return "", ErrMissing
}

func cacheDir(getenv func(string) string) string {
	if dir := getenv("METIVA_CACHE"); dir != "" {
		return dir
	}
	if dir := getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "metiva")
	}
	return filepath.Join(getenv("HOME"), ".cache", "metiva")
}

// Start runs the program at path with a profile of its own and returns a
// context for chromedp.Run; chromedp.NewContext on it opens further tabs of the
// same browser. stop ends the browser and removes its profile.
func Start(ctx context.Context, path string, extra ...chromedp.ExecAllocatorOption) (tab context.Context, stop func(), err error) {
	profile, err := os.MkdirTemp("", "metiva-chromium-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a browser profile: %w", err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.Env("TMPDIR="+profile), // what it leaves behind goes with the profile
		chromedp.DisableGPU,
		// Nothing of its own on the network: only the pages we open.
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-pings", true),
	)
	if os.Geteuid() == 0 {
		// Chromium refuses to sandbox as root. It opens our own pages only.
		opts = append(opts, chromedp.NoSandbox)
	}
	if Packaged(path) {
		opts = append(opts, packagedFlags...)
	}
	opts = append(opts, extra...)
	alloc, stopBrowser := chromedp.NewExecAllocator(ctx, opts...)
	tab, stopTab := chromedp.NewContext(alloc)
	stop = func() {
		stopTab()
		stopBrowser()
		_ = os.RemoveAll(profile)
	}
	if err := chromedp.Do(tab); err != nil {
		stop()
		return nil, nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return tab, stop, nil
}

// packagedFlags are what the build from npm needs: it has neither a sandbox
// helper nor a working zygote.
var packagedFlags = []chromedp.ExecAllocatorOption{
	chromedp.NoSandbox,
	chromedp.Flag("no-zygote", true),
}

// Packaged reports whether path is the build .ci/tools/chromium takes from npm,
// which lacks a sandbox, a zygote and the back/forward cache.
func Packaged(path string) bool {
	resolved, err := filepath.EvalSymlinks(path)
	return err == nil && strings.HasSuffix(filepath.Dir(resolved), "-npm")
}
