package collector

import (
	"errors"
	"testing"
	"time"

	"github.com/metiva-io/metiva/pkg/seal"
	"github.com/metiva-io/metiva/schemas"
)

// TestDestroyedKeysAreNotReplayed: a key record that waited in the spool while
// its key was destroyed must not bring the key back.
func TestDestroyedKeysAreNotReplayed(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	subject := seal.SubjectKeyRecordKey(testCompany, [16]byte{1}, 7)
	for _, key := range [][]byte{seal.DataKeyRecordKey(7), subject} {
		if e.Superseded(schemas.TopicControlKeys, key, []byte("record")) {
			t.Errorf("%s is superseded before its destruction", key)
		}
		if err := e.ApplyKey(key, nil); err != nil {
			t.Fatal(err)
		}
		if !e.Superseded(schemas.TopicControlKeys, key, []byte("record")) {
			t.Errorf("%s would be replayed after its destruction", key)
		}
	}
}

// TestKeysOfTheNextDayAreMadeAhead: housekeeping publishes them, and midnight
// needs nothing of Kafka.
func TestKeysOfTheNextDayAreMadeAhead(t *testing.T) {
	t.Parallel()
	e := newEdge(t, nil, nil)
	e.clock.Set(time.Date(2026, 11, 22, 23, 30, 0, 0, time.UTC))
	if err := e.sealer.Prepare(t.Context(), testCompany); err != nil {
		t.Fatal(err)
	}
	b := seal.Binding{CompanyID: testCompany, SiteID: testSite, EventID: [16]byte{1}, Field: seal.FieldUserAgent}
	sealOne := func() error {
		_, err := e.sealer.SealBytes(nil, b, []byte("x"))
		return err
	}
	if err := sealOne(); err != nil {
		t.Fatal(err)
	}
	e.prepareAhead(t.Context())
	e.clock.Set(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC))
	if err := sealOne(); err != nil {
		t.Errorf("at midnight: %v", err)
	}
	e.clock.Set(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC))
	if err := sealOne(); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("a day later: %v", err)
	}
}
