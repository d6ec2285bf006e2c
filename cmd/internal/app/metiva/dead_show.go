package metiva

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

type deadShow struct {
	deadSource
	Letter string `arg:"" help:"Partition and offset on events.dead, as list prints them: 2/17."`
}

// shownLetter is what show prints.
type shownLetter struct {
	letter
	// Envelope is missing for a value that is no event.
	Envelope *shownEnvelope `json:"envelope,omitempty"`
}

// shownEnvelope is of a collected event what names nobody: no visit or visitor, no
// page, no referrer, and of what is sealed its length alone.
type shownEnvelope struct {
	CompanyID            string    `json:"company_id"`
	BrandID              string    `json:"brand_id"`
	SiteID               string    `json:"site_id"`
	Type                 string    `json:"type"`
	Consent              string    `json:"consent"`
	ConsentTextVersion   string    `json:"consent_text_version"`
	ReceivedAt           time.Time `json:"received_at"`
	OccurredAt           time.Time `json:"occurred_at"`
	WriterID             string    `json:"writer_id"`
	RetentionDays        uint32    `json:"retention_days"`
	Replayed             bool      `json:"replayed"`
	EventIDBytes         int       `json:"event_id_bytes"`
	VisitKeyBytes        int       `json:"visit_key_bytes"`
	VisitorIDBytes       int       `json:"visitor_id_bytes"`
	PathBytes            int       `json:"path_bytes"`
	SealedAddressBytes   int       `json:"sealed_address_bytes"`
	SealedUserAgentBytes int       `json:"sealed_user_agent_bytes"`
	// FormFields is how many sealed fields a capture has.
	FormFields int `json:"form_fields,omitempty"`
}

// errNoLetter: retention may have taken it.
var errNoLetter = errors.New("there is no such dead letter")

// Run prints the letter.
func (c *deadShow) Run(ctx context.Context, t terminal) (err error) {
	partition, offset, err := parseLetter(c.Letter)
	if err != nil {
		return err
	}
	client, err := c.open(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	found := false
	err = oneLetter(ctx, client, partition, offset, func(r *kafka.Record) error {
		found = true
		shown := shownLetter{letter: readLetter(r)}
		if shown.SourceTopic == schemas.TopicEventsCollected {
			shown.Envelope = envelopeOf(r.Value)
		}
		if err := json.NewEncoder(t.out).Encode(shown); err != nil {
			return fmt.Errorf("printing a dead letter: %w", err)
		}
		return nil
	})
	if err == nil && !found {
		err = errNoLetter
	}
	return err
}

// oneLetter reads the letter at an offset, and none of the others: the topic may be
// large. Do is not called when there is none.
func oneLetter(ctx context.Context, client *kafka.Client, partition int, offset int64, do func(*kafka.Record) error) error {
	ends, err := client.EndOffsets(ctx, schemas.TopicEventsDead)
	if err != nil {
		return fmt.Errorf("reading the end of %s: %w", schemas.TopicEventsDead, err)
	}
	if partition >= len(ends) || offset >= ends[partition] {
		return nil
	}
	one := kafka.Range{Topic: schemas.TopicEventsDead, Partition: partition, From: offset, To: offset + 1, Compacted: true}
	_, err = client.ReadRange(ctx, one, do)
	return err
}

// envelopeOf is nil for what is no event. Texts are cut: a record that no collector
// made may hold anything anywhere.
func envelopeOf(value []byte) *shownEnvelope {
	e := new(metivav1.CollectedEvent)
	if len(value) == 0 || proto.Unmarshal(value, e) != nil {
		return nil
	}
	return &shownEnvelope{
		CompanyID: idOf(e.GetCompanyId()), BrandID: idOf(e.GetBrandId()), SiteID: idOf(e.GetSiteId()),
		Type: schemas.Label(e.GetType()), Consent: schemas.Label(e.GetConsent()), ConsentTextVersion: idOf(e.GetConsentTextVersion()),
		ReceivedAt: time.UnixMilli(e.GetReceivedAtMs()).UTC(), OccurredAt: time.UnixMilli(e.GetOccurredAtMs()).UTC(),
		WriterID: idOf(e.GetWriterId()), RetentionDays: e.GetRetentionDays(), Replayed: e.GetReplayed(),
		EventIDBytes: len(e.GetEventId()), VisitKeyBytes: len(e.GetVisitKey()), VisitorIDBytes: len(e.GetVisitorId()), PathBytes: len(e.GetPath()),
		SealedAddressBytes: len(e.GetSealedAddress()), SealedUserAgentBytes: len(e.GetSealedUserAgent()),
		FormFields: len(e.GetFormCapture().GetSealedFields()),
	}
}

// idBytesShown bounds an id that is printed.
const idBytesShown = 64

// idOf is the text if it has the form of an id, else what it is instead.
func idOf(text string) string {
	if text != "" && (!schemas.IsName(text) || len(text) > idBytesShown) {
		return fmt.Sprintf("not an id, %d bytes", len(text))
	}
	return text
}
