package metiva

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"

	"github.com/metiva-io/metiva/cmd/internal/stack"
	"github.com/metiva-io/metiva/collector/snippet/chromium"
)

// driver sends the demo's visits through the collector's HTTP door.
type driver struct {
	collectorURL string
	sites        []stack.DemoSite
	client       *http.Client
	// sent counts the events handed to the collector; the ledger must have
	// received as many.
	sent int
}

const (
	sendTimeout     = 10 * time.Second
	sendAttemptsMax = 50
	sendPause       = 100 * time.Millisecond
)

func newDriver(collectorURL string, sites []stack.DemoSite) *driver {
	return &driver{collectorURL: collectorURL, sites: sites, client: &http.Client{Timeout: sendTimeout}}
}

// wireEvent is one event as the snippet sends it.
type wireEvent struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	At       int64  `json:"at"`
	URL      string `json:"url"`
	Referrer string `json:"referrer,omitempty"`
}

type wireBatch struct {
	Site   string      `json:"site"`
	SentAt int64       `json:"sent_at"`
	Events []wireEvent `json:"events"`
}

func newEvent(url, referrer string, at time.Time) wireEvent {
	return wireEvent{ID: uuid.Must(uuid.NewV7()).String(), Type: "page_view", At: at.UnixMilli(), URL: url, Referrer: referrer}
}

// visit sends the pages of one visit as one batch.
func (d *driver) visit(ctx context.Context, v demoVisit) error {
	site := d.sites[v.site]
	now := time.Now()
	batch := wireBatch{Site: site.SiteKey, SentAt: now.UnixMilli()}
	for i, page := range v.pages {
		at := now.Add(time.Duration(i-len(v.pages)) * time.Second)
		referrer := site.Origin + "/"
		url := site.Origin + page
		if i == 0 {
			referrer = v.referrer
			url += "?utm_source=demo&utm_medium=web&utm_campaign=start&gclid=never-kept"
		}
		batch.Events = append(batch.Events, newEvent(url, referrer, at))
	}
	return d.post(ctx, batch, site.Origin, map[string]string{"X-Forwarded-For": v.address, "User-Agent": v.agent})
}

// post sends a batch until the collector has answered for good: 503 is an
// invitation to send the same events again.
func (d *driver) post(ctx context.Context, batch wireBatch, origin string, headers map[string]string) error {
	body, err := json.Marshal(batch)
	if err != nil {
		return fmt.Errorf("encoding a demo visit: %w", err)
	}
	d.sent += len(batch.Events)
	for range sendAttemptsMax {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.collectorURL+"/v1/events", bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("sending a demo visit: %w", err)
		}
		req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
		req.Header.Set("Origin", origin)
		for k, v := range headers {
			req.Header.Set(k, v)
		}
		res, err := d.client.Do(req)
		if err != nil {
			return fmt.Errorf("sending a demo visit: %w", err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable {
			return nil
		}
		d.sent += len(batch.Events) // the same events, received once more
		select {
		case <-time.After(sendPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("sending a demo visit: the collector asked for a retry %d times", sendAttemptsMax)
}

const knownTimeout = 20 * time.Second

// untilKnown waits until the collector knows the sites: their registrations
// travel through Kafka. It asks with preflights, which no ledger counts.
func (d *driver) untilKnown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, knownTimeout)
	defer cancel()
	tick := time.NewTicker(sendPause)
	defer tick.Stop()
	for _, site := range d.sites {
		for !d.knows(ctx, site) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting for the collector to know the demo sites: %w", ctx.Err())
			case <-tick.C:
			}
		}
	}
	return nil
}

// knows reports whether the collector allows the site's origin.
func (d *driver) knows(ctx context.Context, site stack.DemoSite) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, d.collectorURL+"/v1/events", nil)
	if err != nil {
		return false
	}
	req.Header.Set("Origin", site.Origin)
	req.Header.Set("Access-Control-Request-Method", http.MethodPost)
	res, err := d.client.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusNoContent
}

// refusals sends events the collector must refuse, each for a reason of its
// own, and one event twice.
func (d *driver) refusals(ctx context.Context) error {
	site := d.sites[0]
	now := time.Now()
	from := map[string]string{"X-Forwarded-For": "164.140.12.9", "User-Agent": agentChrome}
	with := func(name, value string) map[string]string {
		h := map[string]string{name: value}
		for k, v := range from {
			h[k] = v
		}
		return h
	}
	one := func(key string, e wireEvent) wireBatch {
		return wireBatch{Site: key, SentAt: now.UnixMilli(), Events: []wireEvent{e}}
	}
	page := site.Origin + "/"
	twice := newEvent(page, "", now)
	cases := []struct {
		batch   wireBatch
		origin  string
		headers map[string]string
	}{
		{one("pk_000000000000000000000000", newEvent(page, "", now)), site.Origin, from},
		{one(site.SiteKey, newEvent(page, "", now)), "https://evil.example", from},
		{one(site.SiteKey, newEvent(page, "", now)), site.Origin, with("Sec-GPC", "1")},
		{one(site.SiteKey, newEvent(page, "", now)), site.Origin, with("DNT", "1")},
		{one(site.SiteKey, newEvent(page, "", now)), site.Origin, with("Sec-Purpose", "prefetch")},
		{one(site.SiteKey, newEvent(page, "", now.AddDate(0, 0, -30))), site.Origin, from},
		{one(site.SiteKey, wireEvent{ID: "not-an-id", Type: "page_view", At: now.UnixMilli(), URL: page}), site.Origin, from},
		{one(site.SiteKey, twice), site.Origin, from},
		{one(site.SiteKey, twice), site.Origin, from},
	}
	for _, c := range cases {
		if err := d.post(ctx, c.batch, c.origin, c.headers); err != nil {
			return err
		}
	}
	return nil
}

const (
	browserTimeout = 40 * time.Second
	browserPoll    = 100 * time.Millisecond
	// eventsSent counts the requests the page has had answered by the collector.
	eventsSent = `performance.getEntriesByType("resource").filter(e => e.name.split("?")[0].endsWith("/v1/events") && e.responseEnd > 0).length`
)

// browse loads a page in Chromium and waits until its script has sent the page
// view.
func browse(ctx context.Context, path, url string) error {
	ctx, cancel := context.WithTimeout(ctx, browserTimeout)
	defer cancel()
	tab, stop, err := chromium.Start(ctx, path)
	if err != nil {
		return err
	}
	defer stop()
	if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
		return fmt.Errorf("loading the demo website in Chromium: %w", err)
	}
	tick := time.NewTicker(browserPoll)
	defer tick.Stop()
	for {
		sent, err := chromedp.Run(tab, chromedp.Evaluate[int](eventsSent))
		if err != nil {
			return fmt.Errorf("waiting for the snippet on the demo website: %w", err)
		}
		if sent > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the snippet on the demo website sent nothing")
		case <-tick.C:
		}
	}
}
