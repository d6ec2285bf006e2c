package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/pkg/secret"
)

const canary = "hunter2-canary"

func TestNoVerbShowsTheValue(t *testing.T) {
	t.Parallel()
	s := secret.New(canary)
	type outer struct {
		Exported   secret.Text
		unexported secret.Text
	}
	values := []any{s, &s, outer{s, s}, &outer{s, s}, []secret.Text{s}, map[string]secret.Text{"k": s}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p", "%t", "%c", "%U", "%T"} {
		for _, v := range values {
			got := fmt.Sprintf(verb, v)
			if strings.Contains(got, canary) || strings.Contains(got, fmt.Sprintf("%x", canary)) {
				t.Errorf("%s of %T shows the value: %s", verb, v, got)
			}
		}
	}
}

func TestEncodersShowTheMask(t *testing.T) {
	t.Parallel()
	s := secret.New(canary)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("started", "password", s, "config", struct{ P secret.Text }{s})
	encoded, err := json.Marshal(map[string]any{"p": s})
	if err != nil {
		t.Fatal(err)
	}
	wrapped := fmt.Errorf("connecting as %v: %w", s, errors.New("refused"))
	for _, got := range []string{log.String(), string(encoded), wrapped.Error()} {
		if strings.Contains(got, canary) {
			t.Errorf("the value is shown: %s", got)
		}
		if !strings.Contains(got, "***") {
			t.Errorf("the mask is missing: %s", got)
		}
	}
}

func TestRevealReturnsWhatWasRead(t *testing.T) {
	t.Parallel()
	var s secret.Text
	if !s.IsZero() || s.Reveal() != "" || s.String() != "" {
		t.Error("the zero value is not the empty secret")
	}
	if err := s.UnmarshalText([]byte(canary)); err != nil || s.Reveal() != canary || s.IsZero() {
		t.Errorf("got %q, %v", s.Reveal(), err)
	}
}
