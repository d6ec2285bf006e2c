package schemas_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// detailed is an event of each type with a detail at its limits.
func detailed() map[metivav1.EventType]*metivav1.EnrichedEvent {
	const (
		engagement, click = metivav1.EventType_EVENT_TYPE_ENGAGEMENT, metivav1.EventType_EVENT_TYPE_CLICK
		form, custom      = metivav1.EventType_EVENT_TYPE_FORM, metivav1.EventType_EVENT_TYPE_CUSTOM
		view              = metivav1.EventType_EVENT_TYPE_PAGE_VIEW
	)
	properties := map[string]string{strings.Repeat("p", schemas.PropertyNameBytesMax): strings.Repeat("v", schemas.PropertyValueBytesMax)}
	for len(properties) < schemas.CustomPropertiesMax {
		properties[strings.Repeat("p", len(properties))] = ""
	}
	return map[metivav1.EventType]*metivav1.EnrichedEvent{
		view: {Type: view},
		engagement: {Type: engagement, Detail: &metivav1.EnrichedEvent_Engagement{Engagement: &metivav1.Engagement{
			VisibleMs: schemas.VisibleMsMax, ScrollPercent: schemas.ScrollPercentMax,
		}}},
		click: {Type: click, Detail: &metivav1.EnrichedEvent_Click{Click: &metivav1.Click{
			Kind: metivav1.ClickKind_CLICK_KIND_DOWNLOAD, TargetHost: strings.Repeat("h", schemas.HostBytesMax),
			TargetPath: "/" + strings.Repeat("p", schemas.TargetPathBytesMax-1),
		}}},
		form: {Type: form, Detail: &metivav1.EnrichedEvent_FormAction{FormAction: &metivav1.FormAction{
			Kind: metivav1.FormActionKind_FORM_ACTION_KIND_SUBMIT, FormId: strings.Repeat("f", schemas.FormIDBytesMax),
		}}},
		custom: {Type: custom, Detail: &metivav1.EnrichedEvent_Custom{Custom: &metivav1.CustomEvent{
			Name: strings.Repeat("n", schemas.CustomNameBytesMax), Properties: properties,
		}}},
	}
}

func TestADetailFitsItsOwnTypeOnly(t *testing.T) {
	t.Parallel()
	for own := range metivav1.EventType_name {
		e, known := detailed()[metivav1.EventType(own)]
		if known != (own != 0) {
			t.Errorf("no detail for the type %d", own)
			continue
		}
		for _, given := range detailed() {
			other := proto.Clone(given).(*metivav1.EnrichedEvent)
			other.Type = metivav1.EventType(own)
			if want := known && e.GetType() == given.GetType(); schemas.DetailFits(other) != want {
				t.Errorf("type %d with the detail of %v: fits is %t", own, given.GetType(), !want)
			}
		}
	}
	if schemas.DetailFits(&metivav1.EnrichedEvent{Type: 99}) {
		t.Error("an unknown type fits")
	}
}

func TestADetailOverItsLimitsDoesNotFit(t *testing.T) {
	t.Parallel()
	type event = metivav1.EnrichedEvent
	const (
		engagement, click = metivav1.EventType_EVENT_TYPE_ENGAGEMENT, metivav1.EventType_EVENT_TYPE_CLICK
		form, custom      = metivav1.EventType_EVENT_TYPE_FORM, metivav1.EventType_EVENT_TYPE_CUSTOM
	)
	for _, c := range []struct {
		name string
		of   metivav1.EventType
		set  func(*event)
	}{
		{"long engagement", engagement, func(e *event) { e.GetEngagement().VisibleMs++ }},
		{"deep scroll", engagement, func(e *event) { e.GetEngagement().ScrollPercent++ }},
		{"no kind of click", click, func(e *event) { e.GetClick().Kind = 0 }},
		{"unknown kind of click", click, func(e *event) { e.GetClick().Kind = 9 }},
		{"no host", click, func(e *event) { e.GetClick().TargetHost = "" }},
		{"long host", click, func(e *event) { e.GetClick().TargetHost += "h" }},
		{"long path", click, func(e *event) { e.GetClick().TargetPath += "p" }},
		{"query", click, func(e *event) { e.GetClick().TargetPath = "/?q=x" }},
		{"fragment", click, func(e *event) { e.GetClick().TargetPath = "/#x" }},
		{"no path of a download", click, func(e *event) { e.GetClick().TargetPath = "" }},
		{"path of an outbound link", click, func(e *event) { e.GetClick().Kind = metivav1.ClickKind_CLICK_KIND_OUTBOUND }},
		{"no form action", form, func(e *event) { e.GetFormAction().Kind = 0 }},
		{"unknown form action", form, func(e *event) { e.GetFormAction().Kind = 9 }},
		{"no form", form, func(e *event) { e.GetFormAction().FormId = "" }},
		{"long form", form, func(e *event) { e.GetFormAction().FormId += "f" }},
		{"form with an at sign", form, func(e *event) { e.GetFormAction().FormId = "jan@example" }},
		{"no name", custom, func(e *event) { e.GetCustom().Name = "" }},
		{"long name", custom, func(e *event) { e.GetCustom().Name += "n" }},
		{"name with a space", custom, func(e *event) { e.GetCustom().Name = "a b" }},
		{"a property too many", custom, func(e *event) { e.GetCustom().Properties["q"] = "" }},
		{"long property", custom, func(e *event) { e.GetCustom().Properties["p"] = strings.Repeat("v", schemas.PropertyValueBytesMax+1) }},
		{"property with a quote", custom, func(e *event) { e.GetCustom().Properties = map[string]string{"'": ""} }},
		{"long property name", custom, func(e *event) {
			e.GetCustom().Properties = map[string]string{strings.Repeat("p", schemas.PropertyNameBytesMax+1): ""}
		}},
	} {
		e := detailed()[c.of]
		if !schemas.DetailFits(e) {
			t.Fatalf("%v at its limits does not fit", c.of)
		}
		if c.set(e); schemas.DetailFits(e) {
			t.Errorf("%s: fits", c.name)
		}
	}
}
