package audit

import (
	"crypto/rand"
	"encoding/json"
	"slices"
)

// Run names one doing of an action: the record that it began and the one of its end hold
// the same, in their details. It is embedded in them.
type Run struct {
	ID string `json:"run,omitempty"`
}

// NewRun makes a name nothing else has.
func NewRun() Run { return Run{ID: rand.Text()} }

// Unfinished follows a tenant's records, from the first one on, and keeps those that say
// that something began and whose end no record tells: it is under way, or its process was
// killed. The zero value is ready.
type Unfinished struct {
	begun []unfinished
}

type unfinished struct {
	record Record
	run    string
}

// Follow takes the next record. An end without a run, of before there were any, is that
// of the oldest such beginning of the same action and actor.
func (u *Unfinished) Follow(r Record) {
	var of Run
	_ = json.Unmarshal(r.Details, &of) // details of another form have none
	if r.Outcome == Begun {
		u.begun = append(u.begun, unfinished{r, of.ID})
		return
	}
	at := slices.IndexFunc(u.begun, func(b unfinished) bool {
		return b.record.Action == r.Action && b.run == of.ID && (of.ID != "" || b.record.Actor == r.Actor)
	})
	if at >= 0 {
		u.begun = slices.Delete(u.begun, at, at+1)
	}
}

// Records are those that began and have no end, oldest first.
func (u *Unfinished) Records() []Record {
	out := make([]Record, len(u.begun))
	for i, b := range u.begun {
		out[i] = b.record
	}
	return out
}
