package schemas_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func TestMarkReplayed(t *testing.T) {
	t.Parallel()
	plain := &metivav1.CollectedEvent{CompanyId: "cmp_a", Path: "/", RetentionDays: 400, Campaign: &metivav1.Campaign{Name: "n"}}
	value, err := proto.Marshal(plain)
	if err != nil {
		t.Fatal(err)
	}
	for times := range 3 { // a mark on a marked record changes nothing
		var got metivav1.CollectedEvent
		if err := proto.Unmarshal(value, &got); err != nil {
			t.Fatal(err)
		}
		want := proto.Clone(plain).(*metivav1.CollectedEvent)
		want.Replayed = times > 0
		if !proto.Equal(&got, want) {
			t.Errorf("after %d marks: %v", times, &got)
		}
		before := len(value)
		if value = schemas.MarkReplayed(value); len(value) != before+schemas.ReplayMarkBytes {
			t.Errorf("the mark has %d bytes", len(value)-before)
		}
	}
}
