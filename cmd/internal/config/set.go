package config

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/metiva-io/metiva/pkg/secret"
)

// Option is one setting as the operator sees it.
type Option struct {
	Flag, Env, Default, Help string
	Secret                   bool
}

// Set binds settings to fields. Bind first, then Parse.
type Set struct {
	flags   *flag.FlagSet
	options []Option
	read    map[string]func(string) error
	given   map[string]string
}

// NewSet is an empty set for the named process.
func NewSet(process string) *Set {
	fs := flag.NewFlagSet(process, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return &Set{flags: fs, read: make(map[string]func(string) error), given: make(map[string]string)}
}

// held keeps what a flag was given, to be read with all others in Parse.
type held struct {
	set  *Set
	name string
	bool bool
}

func (h held) String() string { return "" }

// Set records the value; Parse reads it, so that every fault is reported.
func (h held) Set(v string) error {
	h.set.given[h.name] = v
	return nil
}

// IsBoolFlag lets a switch stand without a value.
func (h held) IsBoolFlag() bool { return h.bool }

func (s *Set) bind(o Option, isBool bool, read func(string) error) {
	s.options = append(s.options, o)
	s.read[o.Flag] = read
	s.flags.Var(held{s, o.Flag, isBool}, o.Flag, o.Help)
}

// String binds a text.
func (s *Set) String(p *string, o Option) {
	s.bind(o, false, func(v string) error { *p = v; return nil })
}

// Secret binds a text that never prints.
func (s *Set) Secret(p *secret.Text, o Option) {
	o.Secret = true
	s.bind(o, false, func(v string) error { *p = secret.New(v); return nil })
}

// List binds a comma-separated list; empty items are left out.
func (s *Set) List(p *[]string, o Option) {
	s.bind(o, false, func(v string) error {
		*p = nil
		for item := range strings.SplitSeq(v, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*p = append(*p, item)
			}
		}
		return nil
	})
}

// Bool binds a switch.
func (s *Set) Bool(p *bool, o Option) {
	s.bind(o, true, func(v string) (err error) {
		*p, err = strconv.ParseBool(v)
		if err != nil {
			return errors.New("must be true or false")
		}
		return nil
	})
}

// Int binds a whole number.
func (s *Set) Int(p *int, o Option) {
	s.bind(o, false, func(v string) (err error) {
		*p, err = strconv.Atoi(v)
		if err != nil {
			return errors.New("must be a whole number")
		}
		return nil
	})
}

// Duration binds a length of time such as 5ms, 30s or 2h.
func (s *Set) Duration(p *time.Duration, o Option) {
	s.bind(o, false, func(v string) (err error) {
		*p, err = time.ParseDuration(v)
		if err != nil {
			return errors.New("must be a length of time such as 5ms, 30s or 2h")
		}
		return nil
	})
}

// Options lists what was bound, in order.
func (s *Set) Options() []Option { return s.options }

// ErrHelp is returned by Parse for -h and --help.
var ErrHelp = flag.ErrHelp

// Parse fills the bound fields. The error joins every value that could not be
// read; values themselves are never repeated in it.
func (s *Set) Parse(args []string, lookup func(string) (string, bool)) error {
	var faults []error
	if err := s.flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return ErrHelp
		}
		faults = append(faults, fmt.Errorf("reading the arguments: %w", err))
	}
	if n := s.flags.NArg(); n > 0 {
		faults = append(faults, fmt.Errorf("%d arguments are left over after the flags", n))
	}
	for _, o := range s.options {
		v, from := o.Default, "default of --"+o.Flag
		if ev, ok := lookup(o.Env); ok && o.Env != "" {
			v, from = ev, o.Env
		}
		if fv, ok := s.given[o.Flag]; ok {
			v, from = fv, "--"+o.Flag
		}
		if v == "" && from != "--"+o.Flag && o.Default == "" {
			continue
		}
		if err := s.read[o.Flag](v); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", from, err))
		}
	}
	return errors.Join(faults...)
}

// Usage writes one paragraph for each option.
func (s *Set) Usage(w io.Writer) {
	_, _ = fmt.Fprintf(w, "Usage of %s:\n", s.flags.Name())
	for _, o := range s.options {
		_, _ = fmt.Fprintf(w, "  --%s", o.Flag)
		if o.Env != "" {
			_, _ = fmt.Fprintf(w, " (%s)", o.Env)
		}
		if o.Default != "" {
			_, _ = fmt.Fprintf(w, " [%s]", o.Default)
		}
		_, _ = fmt.Fprintf(w, "\n      %s\n", o.Help)
	}
}
