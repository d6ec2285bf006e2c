package metiva

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/app/keeper"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/enrich/person"
	"github.com/metiva-io/metiva/pkg/core/erasure"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/obs"
	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// errNoContact: nobody is known by the address, as far as one can look.
var errNoContact = errors.New("no capture on captures.enriched, which keeps seven days, has that e-mail address: erase by --subject or --visitor")

// emailBytesMax is more than an address has (RFC 5321).
const emailBytesMax = 1024

// addressed finds contacts by an e-mail address that is read from standard input: on a
// command line it would stand in the shell's history and the list of processes.
type addressed struct {
	flags *eraseFlags
	kms   *config.KMS
	in    io.Reader
	log   *slog.Logger
}

// find gives the subjects whose captures have the address. Values are opened in memory,
// compared and cleared; none is printed or kept.
func (a addressed) find(ctx context.Context, client *kafka.Client, running *stack.Addresses) ([]erasure.Subject, error) {
	typed, err := io.ReadAll(io.LimitReader(a.in, emailBytesMax))
	defer clear(typed)
	if err != nil {
		return nil, fmt.Errorf("reading the e-mail address: %w", err)
	}
	wanted, ok := person.AppendEmail(nil, typed)
	defer clear(wanted)
	if !ok {
		return nil, fmt.Errorf("%w: what stands on standard input is no e-mail address", app.ErrConfiguration)
	}
	opener, err := a.opener(ctx, client, running)
	if err != nil {
		return nil, err
	}
	var found []erasure.Subject
	known := make(map[[schemas.IDBytes]byte]bool)
	err = client.Scan(ctx, schemas.TopicCapturesEnriched, func(r *kafka.Record) error {
		var c metivav1.Capture
		readable := proto.Unmarshal(r.Value, &c) == nil && len(c.GetSubjectId()) == schemas.IDBytes && len(c.GetEventId()) == schemas.IDBytes
		if !readable || c.GetCompanyId() != a.flags.Tenant {
			return nil
		}
		id := [schemas.IDBytes]byte(c.GetSubjectId())
		if !known[id] && hasEmail(opener, &c, wanted) {
			known[id] = true
			found = append(found, erasure.Subject{Kind: erasure.Contact, ID: id})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for captures: %w", err)
	}
	if len(found) == 0 {
		return nil, errNoContact
	}
	return found, nil
}

// hasEmail reports whether a field of the capture is the address. A mailbox may tell
// upper case from lower, but two people whose addresses differ in that alone are less
// likely than one who typed it in two ways.
func hasEmail(opener *seal.Opener, c *metivav1.Capture, wanted []byte) bool {
	for _, f := range c.GetFields() {
		if f.GetKind() != metivav1.FieldKind_FIELD_KIND_EMAIL {
			continue
		}
		value, err := opener.OpenField(nil, seal.Binding{
			CompanyID: c.GetCompanyId(), SiteID: c.GetSiteId(), EventID: [schemas.IDBytes]byte(c.GetEventId()),
			SubjectID: [schemas.IDBytes]byte(c.GetSubjectId()), Field: seal.PersonField(f.GetName()),
		}, c.GetSealedFields()[f.GetName()])
		same := err == nil && bytes.EqualFold(value, wanted)
		clear(value)
		if same {
			return true
		}
	}
	return false
}

// opener opens the captures' values with the resolver's keys.
func (a addressed) opener(ctx context.Context, client *kafka.Client, running *stack.Addresses) (*seal.Opener, error) {
	keys, process := a.flags.place(running)
	closed, err := app.CheckResolvers(&keys, &process, a.kms)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", app.ErrConfiguration, err)
	}
	opened, err := keeper.Open(ctx, a.kms, a.log, closed)
	if err != nil {
		return nil, err
	}
	private := make([]seal.PrivateKey, len(opened))
	for i, m := range opened {
		if private[i], err = m.PrivateKey(); err != nil {
			return nil, err
		}
	}
	opener := seal.NewOpener(private[0], private[1:]...)
	err = client.Scan(ctx, schemas.TopicControlKeys, func(r *kafka.Record) error {
		_ = opener.ApplyKey(r.Key, r.Value) // a key that cannot be read opens nothing
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the keys: %w", err)
	}
	return opener, nil
}

type eraseContact struct {
	eraseFlags
	kmsFlags
	Subject    string `xor:"who" required:"" help:"The id captures name the person by, 32 hexadecimal digits: the visitor id, or the receipt of a form without one."`
	EmailStdin bool   `xor:"who" required:"" help:"Read an e-mail address from standard input, and erase whoever gave it in a form of the last seven days. Takes resolver-private.key."`
}

// Run erases the person.
func (c *eraseContact) Run(ctx context.Context, t terminal, in input) error {
	if c.Subject == "" {
		if in.Reader == nil {
			return fmt.Errorf("%w: the e-mail address is read from standard input", app.ErrConfiguration)
		}
		a := addressed{flags: &c.eraseFlags, kms: c.settings(), in: in, log: obs.NewLogger(t.err, "erase", slog.LevelWarn)}
		return c.erase(ctx, t, a.find)
	}
	id, err := subjectID(c.Subject)
	if err != nil {
		return err
	}
	return c.erase(ctx, t, only(erasure.Subject{Kind: erasure.Contact, ID: id}))
}
