package eventwire

import "github.com/metiva-io/metiva/schemas/metivav1"

// AppendVisit appends the value of a record on visits.enriched: the bytes of
// schemas.Encode. It does not allocate when dst has the room. The error is about a
// text that is not UTF-8, and quotes none of it.
func AppendVisit(dst []byte, v *metivav1.Visit) ([]byte, error) {
	w := writer{b: dst}
	w.visit(v)
	if w.err != nil {
		return dst, w.err
	}
	return w.b, nil
}

// AppendResolution appends a resolution as the field of a message with that number.
// The error is as that of AppendVisit.
func AppendResolution(dst []byte, number int, r *metivav1.Resolution) ([]byte, error) {
	w := writer{b: dst}
	w.resolution(number, r)
	if w.err != nil {
		return dst, w.err
	}
	return w.b, nil
}

func (w *writer) visit(v *metivav1.Visit) {
	w.bytes(1, v.GetVisitId())
	w.string(2, v.GetCompanyId())
	w.string(3, v.GetBrandId())
	w.string(4, v.GetSiteId())
	w.bytes(5, v.GetVisitKey())
	w.bytes(6, v.GetVisitorId())
	w.varint(7, v.GetVersion())
	w.bool(8, v.GetRemoved())
	w.varint(9, uint64(v.GetStartedAtMs()))
	w.varint(10, uint64(v.GetEndedAtMs()))
	w.varint(11, v.GetDurationMs())
	w.varint(12, v.GetEngagedMs())
	w.varint(13, uint64(v.GetPageViews()))
	w.varint(14, uint64(v.GetEvents()))
	w.bool(15, v.GetBounce())
	w.string(16, v.GetEntryHost())
	w.string(17, v.GetEntryPath())
	w.string(18, v.GetExitHost())
	w.string(19, v.GetExitPath())
	w.touch(20, v.GetFirstTouch())
	w.touch(21, v.GetLastTouch())
	w.varint(22, uint64(v.GetDevice()))
	w.string(23, v.GetBrowserFamily())
	w.string(24, v.GetSystemFamily())
	w.string(25, v.GetCountry())
	w.string(26, v.GetRegion())
	w.resolution(27, v.GetResolution())
	w.varint(28, uint64(v.GetConsent()))
	w.bool(29, v.GetCaptured())
	for _, p := range v.GetPages() {
		w.page(p)
	}
	w.varint(31, uint64(v.GetPagesBeyond()))
	w.varint(32, uint64(v.GetScrollPercentMax()))
	w.varint(33, uint64(v.GetFormsStarted()))
	w.varint(34, uint64(v.GetFormsSubmitted()))
	for _, id := range v.GetSubmittedFormIds() {
		w.element(35, id)
	}
	w.varint(36, uint64(v.GetOutboundClicks()))
	w.varint(37, uint64(v.GetDownloads()))
	for _, c := range v.GetCustomEvents() {
		from := w.begin(38)
		w.string(1, c.GetName())
		w.varint(2, uint64(c.GetCount()))
		w.end(from)
	}
	w.varint(39, uint64(v.GetRetentionDays()))
	w.varint(40, uint64(v.GetLastReceivedAtMs()))
	w.bool(41, v.GetFolded())
}

// element is one text of a list, which is written even when it is empty.
func (w *writer) element(number int, v string) {
	if v == "" {
		w.tag(number, delimited)
		w.b = append(w.b, 0)
		return
	}
	w.string(number, v)
}

func (w *writer) touch(number int, t *metivav1.VisitTouch) {
	if t == nil {
		return
	}
	from := w.begin(number)
	w.varint(1, uint64(t.GetChannel()))
	w.string(2, t.GetTrafficSource())
	w.campaign(3, t.GetCampaign(), nil)
	w.string(4, t.GetReferrerHost())
	w.varint(5, uint64(t.GetAtMs()))
	w.end(from)
}

func (w *writer) page(p *metivav1.VisitPage) {
	from := w.begin(30)
	w.string(1, p.GetHost())
	w.string(2, p.GetPath())
	w.varint(3, uint64(p.GetViews()))
	w.varint(4, p.GetEngagedMs())
	w.varint(5, uint64(p.GetScrollPercentMax()))
	w.varint(6, uint64(p.GetFirstAtMs()))
	w.end(from)
}
