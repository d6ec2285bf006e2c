package audit

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestUnfinished: what was begun and has no end, whatever else began and ended meanwhile.
func TestUnfinished(t *testing.T) {
	t.Parallel()
	const export, erase = "tenant.export", "tenant.erase"
	for name, c := range map[string]struct {
		records []Record
		want    []int64
	}{
		"none":            {nil, nil},
		"killed":          {[]Record{{Outcome: Begun, Details: json.RawMessage(`{"run":"a"}`)}}, []int64{1}},
		"whole":           {[]Record{{Outcome: Begun, Details: json.RawMessage(`{"run":"a"}`)}, {Outcome: Done, Details: json.RawMessage(`{"run":"a"}`)}}, nil},
		"failed":          {[]Record{{Outcome: Begun, Details: json.RawMessage(`{"run":"a"}`)}, {Outcome: Failed, Details: json.RawMessage(`{"run":"a"}`)}}, nil},
		"two at once":     {[]Record{{Outcome: Begun, Details: json.RawMessage(`{"run":"a"}`)}, {Outcome: Begun, Details: json.RawMessage(`{"run":"b"}`)}, {Outcome: Denied, Details: json.RawMessage(`{"run":"b"}`)}}, []int64{1}},
		"another action":  {[]Record{{Outcome: Begun, Details: json.RawMessage(`{"run":"a"}`)}, {Action: erase, Outcome: Done, Details: json.RawMessage(`{"run":"a"}`)}}, []int64{1}},
		"of before runs":  {[]Record{{Outcome: Begun, Details: json.RawMessage(`{}`)}, {Outcome: Begun, Details: json.RawMessage(`{}`)}, {Outcome: Done, Details: json.RawMessage(`{}`)}}, []int64{2}},
		"by someone else": {[]Record{{Outcome: Begun, Details: json.RawMessage(`{}`)}, {Actor: "operator:y", Outcome: Done, Details: json.RawMessage(`{}`)}}, []int64{1}},
		"old and new":     {[]Record{{Outcome: Begun, Details: json.RawMessage(`{}`)}, {Outcome: Begun, Details: json.RawMessage(`{"run":"a"}`)}, {Outcome: Done, Details: json.RawMessage(`{"run":"a"}`)}}, []int64{1}},
	} {
		var u Unfinished
		for i, r := range c.records {
			r.Seq = int64(i) + 1
			if r.Action == "" {
				r.Action = export
			}
			if r.Actor == "" {
				r.Actor = "operator:x"
			}
			u.Follow(r)
		}
		var got []int64
		for _, r := range u.Records() {
			got = append(got, r.Seq)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: unfinished are %v, want %v", name, got, c.want)
		}
	}
	if a, b := NewRun(), NewRun(); a.ID == "" || a == b {
		t.Errorf("two runs are %q and %q", a.ID, b.ID)
	}
}
