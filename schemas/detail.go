package schemas

import (
	"strings"

	"github.com/metiva-io/metiva/schemas/metivav1"
)

// Detail is what an event says by its type; CollectedEvent and EnrichedEvent
// both do. A Get that is nil was not said.
type Detail interface {
	GetType() metivav1.EventType
	GetEngagement() *metivav1.Engagement
	GetClick() *metivav1.Click
	GetFormAction() *metivav1.FormAction
	GetCustom() *metivav1.CustomEvent
}

// DetailFits reports whether the detail is the type's own, whole and within its
// limits. A form's capture is none of these details: whoever takes one checks it
// first.
func DetailFits(d Detail) bool {
	engagement, click, form, custom := d.GetEngagement(), d.GetClick(), d.GetFormAction(), d.GetCustom()
	is := func(isEngagement, isClick, isForm, isCustom bool) bool {
		return (engagement != nil) == isEngagement && (click != nil) == isClick && (form != nil) == isForm && (custom != nil) == isCustom
	}
	switch d.GetType() {
	case metivav1.EventType_EVENT_TYPE_PAGE_VIEW:
		return is(false, false, false, false)
	case metivav1.EventType_EVENT_TYPE_ENGAGEMENT:
		return is(true, false, false, false) && engagement.GetVisibleMs() <= VisibleMsMax && engagement.GetScrollPercent() <= ScrollPercentMax
	case metivav1.EventType_EVENT_TYPE_CLICK:
		return is(false, true, false, false) && clickFits(click)
	case metivav1.EventType_EVENT_TYPE_FORM:
		return is(false, false, true, false) && formActionFits(form)
	case metivav1.EventType_EVENT_TYPE_CUSTOM:
		return is(false, false, false, true) && customFits(custom)
	default:
		return false
	}
}

func clickFits(c *metivav1.Click) bool {
	if c.GetTargetHost() == "" || len(c.GetTargetHost()) > HostBytesMax {
		return false
	}
	path := c.GetTargetPath()
	switch c.GetKind() {
	case metivav1.ClickKind_CLICK_KIND_OUTBOUND:
		return path == ""
	case metivav1.ClickKind_CLICK_KIND_DOWNLOAD:
		return strings.HasPrefix(path, "/") && len(path) <= TargetPathBytesMax && !strings.ContainsAny(path, "?#")
	default:
		return false
	}
}

func formActionFits(f *metivav1.FormAction) bool {
	switch f.GetKind() {
	case metivav1.FormActionKind_FORM_ACTION_KIND_START, metivav1.FormActionKind_FORM_ACTION_KIND_SUBMIT:
		return IsName(f.GetFormId()) && len(f.GetFormId()) <= FormIDBytesMax
	default:
		return false
	}
}

func customFits(c *metivav1.CustomEvent) bool {
	if !IsName(c.GetName()) || len(c.GetName()) > CustomNameBytesMax || len(c.GetProperties()) > CustomPropertiesMax {
		return false
	}
	for name, value := range c.GetProperties() {
		if !IsName(name) || len(name) > PropertyNameBytesMax || len(value) > PropertyValueBytesMax {
			return false
		}
	}
	return true
}

// IsName reports whether s has the form of a name a site gives its forms, its
// custom events and their properties: letters, digits, dots, dashes and
// underscores of ASCII, at least one. Its length is the caller's to bound.
func IsName[T string | []byte](s T) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return len(s) > 0
}
