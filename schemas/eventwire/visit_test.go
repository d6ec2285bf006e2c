package eventwire_test

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/metiva-io/metiva/schemas/eventwire"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// TestVisitIsTheGeneratedOne: byte by byte, with every field of the contract, and
// behind what dst held.
func TestVisitIsTheGeneratedOne(t *testing.T) {
	t.Parallel()
	visits := []*metivav1.Visit{{}, {FirstTouch: &metivav1.VisitTouch{Campaign: &metivav1.Campaign{}}, Resolution: &metivav1.Resolution{}}}
	for _, length := range lengths() {
		v := &metivav1.Visit{}
		fill(v.ProtoReflect(), 0, length)
		visits = append(visits, v)
	}
	for _, v := range visits {
		got, err := eventwire.AppendVisit([]byte("before"), v)
		if err != nil {
			t.Fatal(err)
		}
		if want := append([]byte("before"), generated(t, v)...); !bytes.Equal(got, want) {
			t.Errorf("other bytes from %d of %d on", firstDifference(got, want), len(want))
		}
	}
}

func TestResolutionIsAField(t *testing.T) {
	t.Parallel()
	r := &metivav1.Resolution{}
	fill(r.ProtoReflect(), 0, 20)
	got, err := eventwire.AppendResolution(nil, 10, r)
	if err != nil {
		t.Fatal(err)
	}
	if want := protowire.AppendBytes(protowire.AppendTag(nil, 10, protowire.BytesType), generated(t, r)); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// TestVisitRefusesText that is not UTF-8, and does not quote it.
func TestVisitRefusesText(t *testing.T) {
	t.Parallel()
	for _, v := range []*metivav1.Visit{{EntryPath: "\xff"}, {SubmittedFormIds: []string{"\xff"}}, {Pages: []*metivav1.VisitPage{{Path: "\xff"}}}} {
		got, err := eventwire.AppendVisit([]byte("x"), v)
		if err == nil || string(got) != "x" || bytes.Contains([]byte(err.Error()), []byte("\xff")) {
			t.Errorf("%q, %v", got, err)
		}
	}
	if _, err := eventwire.AppendResolution(nil, 10, &metivav1.Resolution{Name: "\xff"}); err == nil {
		t.Error("a name that is not UTF-8 passed")
	}
}

// TestVisitAllocatesNothing when dst has the room.
func TestVisitAllocatesNothing(t *testing.T) {
	v := &metivav1.Visit{}
	fill(v.ProtoReflect(), 0, 20)
	dst := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := eventwire.AppendVisit(dst, v); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}
