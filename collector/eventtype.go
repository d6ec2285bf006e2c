package collector

import (
	"github.com/metiva-io/metiva/collector/beacon"
	"github.com/metiva-io/metiva/collector/mask"
	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// eventType is the type of that name. A capture is no type of an event: forms
// have a route of their own.
func eventType(name []byte) metivav1.EventType {
	switch string(name) {
	case "page_view":
		return metivav1.EventType_EVENT_TYPE_PAGE_VIEW
	case "engagement":
		return metivav1.EventType_EVENT_TYPE_ENGAGEMENT
	case "click":
		return metivav1.EventType_EVENT_TYPE_CLICK
	case "form":
		return metivav1.EventType_EVENT_TYPE_FORM
	case "custom":
		return metivav1.EventType_EVENT_TYPE_CUSTOM
	}
	return metivav1.EventType_EVENT_TYPE_UNSPECIFIED
}

// propertyNames are the properties a site's custom events may carry. The value
// is the key, so that a name in a body needs no string of its own.
type propertyNames map[string]string

// newPropertyNames takes a registration's list. A name that is none is left out
// and does not cost the site its others.
func newPropertyNames(registered []string) propertyNames {
	names := propertyNames{}
	for _, name := range registered {
		if len(names) < schemas.CustomPropertyNamesMax && len(name) <= schemas.PropertyNameBytesMax && schemas.IsName(name) {
			names[name] = name
		}
	}
	return names
}

// details is the memory for what an event says by its type.
type details struct {
	engagement metivav1.CollectedEvent_Engagement
	click      metivav1.CollectedEvent_Click
	form       metivav1.CollectedEvent_FormAction
	custom     metivav1.CollectedEvent_Custom

	target mask.Target
	text   mask.Text
	masked []byte
}

func newDetails() *details {
	return &details{
		engagement: metivav1.CollectedEvent_Engagement{Engagement: &metivav1.Engagement{}},
		click:      metivav1.CollectedEvent_Click{Click: &metivav1.Click{}},
		form:       metivav1.CollectedEvent_FormAction{FormAction: &metivav1.FormAction{}},
		custom:     metivav1.CollectedEvent_Custom{Custom: &metivav1.CustomEvent{Properties: map[string]string{}}},
	}
}

// forget drops the texts of the last event.
func (d *details) forget() {
	d.click.Click.TargetHost, d.click.Click.TargetPath = "", ""
	d.form.FormAction.FormId, d.custom.Custom.Name = "", ""
	clear(d.custom.Custom.Properties)
	clear(d.masked[:cap(d.masked)])
}

// describe checks what an event says by its type and puts it, masked, into
// r.event.detail. It is called for an event whose type the visitor's consent
// covers: nothing of the others is looked at.
func (r *request) describe(e *incoming) metivav1.Reason {
	d, out := r.event.details, &r.event.detail
	out.Detail = nil
	var reason metivav1.Reason
	switch e.kind {
	case metivav1.EventType_EVENT_TYPE_PAGE_VIEW:
	case metivav1.EventType_EVENT_TYPE_ENGAGEMENT:
		out.Detail, reason = &d.engagement, d.engage(e.sent)
	case metivav1.EventType_EVENT_TYPE_CLICK:
		out.Detail, reason = &d.click, d.follow(e.sent)
	case metivav1.EventType_EVENT_TYPE_FORM:
		out.Detail, reason = &d.form, d.use(e.sent)
	case metivav1.EventType_EVENT_TYPE_CUSTOM:
		var leftOut int
		leftOut, reason = d.report(e.sent, r.site.properties)
		out.Detail = &d.custom
		r.c.metrics.propertiesLeftOut.Add(float64(leftOut))
	default:
		reason = metivav1.Reason_REASON_MALFORMED
	}
	return reason
}

// engage reads an engagement.
func (d *details) engage(e *beacon.Event) metivav1.Reason {
	visibleMs, scroll, ok := e.Engagement()
	switch {
	case !ok:
		return metivav1.Reason_REASON_MALFORMED
	case visibleMs > schemas.VisibleMsMax || scroll > schemas.ScrollPercentMax:
		return metivav1.Reason_REASON_TOO_LARGE
	}
	d.engagement.Engagement.VisibleMs, d.engagement.Engagement.ScrollPercent = uint32(visibleMs), uint32(scroll)
	return metivav1.Reason_REASON_UNSPECIFIED
}

// follow reads a click: the host of an outbound link, host and path of a
// download.
func (d *details) follow(e *beacon.Event) metivav1.Reason {
	kind, target, ok := e.Click()
	if !ok {
		return metivav1.Reason_REASON_MALFORMED
	}
	c := d.click.Click
	switch string(kind) {
	case "outbound":
		c.Kind = metivav1.ClickKind_CLICK_KIND_OUTBOUND
	case "download":
		c.Kind = metivav1.ClickKind_CLICK_KIND_DOWNLOAD
	default:
		return metivav1.Reason_REASON_MALFORMED
	}
	if len(target) > mask.URLBytesMax {
		return metivav1.Reason_REASON_TOO_LARGE
	}
	if err := d.target.Reduce(target, c.Kind == metivav1.ClickKind_CLICK_KIND_DOWNLOAD); err != nil {
		return metivav1.Reason_REASON_MALFORMED
	}
	c.TargetHost, c.TargetPath = string(d.target.Host), string(d.target.Path)
	return metivav1.Reason_REASON_UNSPECIFIED
}

// use reads what was done with a form.
func (d *details) use(e *beacon.Event) metivav1.Reason {
	action, form, ok := e.FormAction()
	if !ok {
		return metivav1.Reason_REASON_MALFORMED
	}
	f := d.form.FormAction
	switch string(action) {
	case "start":
		f.Kind = metivav1.FormActionKind_FORM_ACTION_KIND_START
	case "submit":
		f.Kind = metivav1.FormActionKind_FORM_ACTION_KIND_SUBMIT
	default:
		return metivav1.Reason_REASON_MALFORMED
	}
	var reason metivav1.Reason
	f.FormId, reason = d.name(form, schemas.FormIDBytesMax)
	return reason
}

// report reads a custom event. Properties the site has not registered are left
// out, and counted; of the others a text is masked, and cut where it is too long.
func (d *details) report(e *beacon.Event, names propertyNames) (leftOut int, reason metivav1.Reason) {
	name, properties, ok := e.Custom()
	if !ok {
		return 0, metivav1.Reason_REASON_MALFORMED
	}
	c := d.custom.Custom
	clear(c.Properties)
	if c.Name, reason = d.name(name, schemas.CustomNameBytesMax); reason != metivav1.Reason_REASON_UNSPECIFIED {
		return 0, reason
	}
	for _, p := range properties {
		name, known := names[string(p.Name)]
		switch {
		case !known:
			leftOut++
			continue
		case len(c.Properties) == schemas.CustomPropertiesMax:
			return 0, metivav1.Reason_REASON_TOO_LARGE
		}
		d.masked = d.text.Append(d.masked[:0], p.Value, schemas.PropertyValueBytesMax)
		c.Properties[name] = string(d.masked)
	}
	return leftOut, metivav1.Reason_REASON_UNSPECIFIED
}

// name checks and masks what a site calls a form or an event.
func (d *details) name(sent []byte, bytesMax int) (string, metivav1.Reason) {
	switch {
	case len(sent) > bytesMax:
		return "", metivav1.Reason_REASON_TOO_LARGE
	case !schemas.IsName(sent):
		return "", metivav1.Reason_REASON_MALFORMED
	}
	d.masked = d.text.AppendName(d.masked[:0], sent)
	return string(d.masked), metivav1.Reason_REASON_UNSPECIFIED
}
