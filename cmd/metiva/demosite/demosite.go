package demosite

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
)

//go:embed pages assets
var embedded embed.FS

// defaultName is the company that does not exist.
const defaultName = "De Groene Wand"

// Config is what the pages need to know.
type Config struct {
	CollectorURL string // origin of the collector, as "http://127.0.0.1:8080"; the snippet is loaded from its /v1/s.js
	SiteKey      string // public key of the site, "pk_..."
	Name         string // company name on the pages; empty means "De Groene Wand"
	// Origin is where the pages are, "http://127.0.0.1:7710": the form that is posted
	// without script names the page to come back to.
	Origin string
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var faults []error
	u, err := url.Parse(c.CollectorURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.ContainsAny(u.Host, "; ,") {
		faults = append(faults, fmt.Errorf("collector URL %q: want http://host or https://host", c.CollectorURL))
	}
	if c.SiteKey == "" {
		faults = append(faults, errors.New("site key: empty"))
	}
	return errors.Join(faults...)
}

// plants are the entries of the catalogue, the page that changes its address
// without loading (pushState). Each also answers when it is loaded directly.
var plants = []plant{
	{"monstera", "Monstera deliciosa", "Halfschaduw", "1× per week", 4, "Groot blad, weinig zorgen. Staat graag een meter of twee van het raam."},
	{"calathea", "Calathea orbifolia", "Schaduw", "2× per week", 3, "Vouwt ’s avonds haar blad op. Voor vergaderkamers zonder direct zonlicht."},
	{"sansevieria", "Sansevieria zeylanica", "Maakt niet uit", "1× per maand", 5, "Overleeft elke vakantieperiode. Onze eerste keus voor gangen en ontvangst."},
	{"ficus", "Ficus lyrata", "Veel licht", "1× per week", 2, "De boom onder de kantoorplanten: tot drie meter, graag op een vaste plek."},
	{"varen", "Nephrolepis exaltata", "Halfschaduw", "3× per week", 3, "Maakt van een groene wand een bos. Drinkt mee met het watersysteem."},
	{"pilea", "Pilea peperomioides", "Licht, geen zon", "1× per week", 4, "Pannenkoekplant. Deelt zichzelf uit: na een jaar heeft elk bureau er een."},
}

type plant struct {
	Slug, Name, Light, Water string
	Ease                     int // 1 to 5
	Text                     string
}

type page struct {
	Path, Template, Title string
}

var pages = []page{
	{"/", "home.html", "Groene wanden voor kantoren"},
	{"/prijzen", "prijzen.html", "Prijzen"},
	{"/planten", "planten.html", "Onze planten"},
	{"/over-ons", "over-ons.html", "Over ons en contact"},
	{"/privacy", "privacy.html", "Privacy en uw keuze"},
	{"/bedankt", "bedankt.html", "Bedankt"},
}

// menuPages is how many of them stand in the menu.
const menuPages = 4

// view is what a template sees.
type view struct {
	Name      string
	Path      string
	Title     string
	Nav       []page
	SiteKey   string
	ScriptURL string
	Origin    string
	Plants    []plant
	Open      string // slug of the plant the address names
}

// Handler serves the website. cfg is valid.
func Handler(cfg Config) http.Handler {
	if cfg.Name == "" {
		cfg.Name = defaultName
	}
	collector := strings.TrimRight(cfg.CollectorURL, "/")
	mux := http.NewServeMux()

	assets, err := fs.Sub(embedded, "assets")
	if err != nil {
		panic(fmt.Sprintf("BUG: embedded assets: %v", err))
	}
	mux.Handle("GET /assets/", http.StripPrefix("/assets/", http.FileServerFS(assets)))
	all := view{Name: cfg.Name, Nav: pages[:menuPages], Plants: plants, SiteKey: cfg.SiteKey, ScriptURL: collector + "/v1/s.js", Origin: cfg.Origin}
	addTestPages(mux, all, collector)
	policy := "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self' " + collector + "; connect-src " + collector +
		"; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
	for _, p := range pages {
		base := all
		base.Title, base.Path = p.Title, p.Path
		tmpl := template.Must(template.New("layout.html").Funcs(template.FuncMap{"stars": stars}).
			ParseFS(embedded, "pages/layout.html", "pages/"+p.Template))
		show := func(w http.ResponseWriter, v view) { render(w, tmpl, v, policy) }
		pattern := "GET " + p.Path
		if p.Path == "/" {
			pattern += "{$}"
		}
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { show(w, base) })
		if p.Path != "/planten" {
			continue
		}
		mux.HandleFunc("GET /planten/{slug}", func(w http.ResponseWriter, r *http.Request) {
			v := base
			for _, one := range plants {
				if one.Slug == r.PathValue("slug") {
					v.Open, v.Title = one.Slug, one.Name
				}
			}
			if v.Open == "" {
				http.NotFound(w, r)
				return
			}
			show(w, v)
		})
	}
	// What a site does with a form is its own business; this one does nothing.
	mux.HandleFunc("POST /bericht", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/bedankt", http.StatusSeeOther)
	})
	return mux
}

// stars says in five marks how easy a plant is.
func stars(n int) string { return strings.Repeat("●", n) + strings.Repeat("○", 5-n) }

// render writes a page whole or not at all. The policy lets in the page's own
// files and the collector, nothing else: the snippet works under it.
func render(w http.ResponseWriter, tmpl *template.Template, v any, policy string) {
	var out bytes.Buffer
	if err := tmpl.Execute(&out, v); err != nil {
		http.Error(w, "page cannot be shown", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "strict-origin-when-cross-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-store: the back/forward cache keeps the page, as on most sites.
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(out.Bytes())
}
