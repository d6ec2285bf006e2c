package clickhouse

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/metiva-io/metiva/pkg/clickhouse"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// columnNames are the columns whose name is not that of the field.
var columnNames = map[string]string{
	"campaign.source":              "campaign_source",
	"campaign.medium":              "campaign_medium",
	"campaign.name":                "campaign_name",
	"resolution.verdict":           "verdict",
	"resolution.account_id":        "account_id",
	"resolution.name":              "account_name",
	"resolution.domain":            "account_domain",
	"resolution.confidence":        "confidence",
	"resolution.source":            "resolution_source",
	"resolution.asn":               "asn",
	"resolution.prefix_bits":       "prefix_bits",
	"resolution.database_build_ms": "database_build_at",
	"resolution.confirmation":      "confirmation",
	"source.partition":             "source_partition",
	"source.offset":                "source_offset",
	"engagement.visible_ms":        "engagement_ms",
	"engagement.scroll_percent":    "scroll_percent",
	"click.kind":                   "click_kind",
	"click.target_host":            "click_host",
	"click.target_path":            "click_path",
	"form_action.kind":             "form_action",
	"form_action.form_id":          "form_id",
	"custom.name":                  "custom_name",
	"custom.properties":            "custom_properties",
}

// visitColumnNames are those of visits, besides columnNames.
var visitColumnNames = map[string]string{
	"duration_ms": "duration_ms", "engaged_ms": "engaged_ms",
	"first_touch.channel": "first_channel", "first_touch.traffic_source": "first_traffic_source", "first_touch.referrer_host": "first_referrer_host",
	"first_touch.campaign.source": "first_campaign_source", "first_touch.campaign.medium": "first_campaign_medium", "first_touch.campaign.name": "first_campaign_name",
	"last_touch.channel": "last_channel", "last_touch.traffic_source": "last_traffic_source", "last_touch.referrer_host": "last_referrer_host",
	"last_touch.campaign.source": "last_campaign_source", "last_touch.campaign.medium": "last_campaign_medium", "last_touch.campaign.name": "last_campaign_name",
	"first_touch.at_ms": "first_touch_at", "last_touch.at_ms": "last_touch_at",
	"pages.host": "page_hosts", "pages.path": "page_paths", "pages.views": "page_view_counts", "pages.engaged_ms": "page_engaged_ms",
	"pages.scroll_percent_max": "page_scroll_percents", "pages.first_at_ms": "page_first_at",
	"custom_events.name": "custom_event_names", "custom_events.count": "custom_event_counts",
}

// dayColumnNames are those of accounts_daily.
var dayColumnNames = map[string]string{
	"name": "account_name", "domain": "account_domain", "engaged_ms": "engaged_ms",
	"parts.recency.points": "recency_points", "parts.recency.days_since_previous": "recency_days_since_previous",
	"parts.depth.points": "depth_points", "parts.depth.page_views": "depth_page_views",
	"parts.key_pages.points": "key_pages_points", "parts.key_pages.hits.name": "key_page_names", "parts.key_pages.hits.weight": "key_page_weights",
	"parts.key_pages.hits.visits": "key_page_visits",
	"parts.engagement.points":     "engagement_points", "parts.engagement.engaged_ms": "engagement_engaged_ms",
	"parts.engagement.interactions": "engagement_interactions",
	"parts.returning.points":        "returning_points", "parts.returning.earlier_days": "returning_earlier_days",
}

// columnOf is the column of a field: named, or by the field's own name.
func columnOf(path string, names ...map[string]string) string {
	for _, known := range append(names, columnNames) {
		if name, ok := known[path]; ok {
			return name
		}
	}
	if base, isTime := strings.CutSuffix(path, "_ms"); isTime {
		return base
	}
	return path
}

// fill sets every field of a message to a value of its own and lists the
// fields' paths. Of a choice of details it sets one, of a list one element.
func fill(m protoreflect.Message, prefix string, detail protoreflect.Name, n *int) (paths []string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		path := prefix + string(f.Name())
		switch {
		case f.ContainingOneof() != nil && f.Name() != detail:
			continue
		case f.IsMap():
			m.Mutable(f).Map().Set(protoreflect.ValueOfString("key").MapKey(), protoreflect.ValueOfString("value"))
		case f.IsList() && f.Kind() == protoreflect.MessageKind:
			paths = append(paths, fill(m.Mutable(f).List().AppendMutable().Message(), path+".", detail, n)...)
			continue
		case f.IsList():
			m.Mutable(f).List().Append(scalar(f, n))
		case f.Kind() == protoreflect.MessageKind:
			paths = append(paths, fill(m.Mutable(f).Message(), path+".", detail, n)...)
			continue
		default:
			m.Set(f, scalar(f, n))
		}
		paths = append(paths, path)
	}
	return paths
}

func scalar(f protoreflect.FieldDescriptor, n *int) (v protoreflect.Value) {
	*n++
	switch f.Kind() {
	case protoreflect.StringKind:
		v = protoreflect.ValueOfString(string(rune('a' + *n%26)))
	case protoreflect.BytesKind:
		v = protoreflect.ValueOfBytes([]byte(strings.Repeat(string(rune('a'+*n%26)), 16)))
	case protoreflect.EnumKind:
		v = protoreflect.ValueOfEnum(1)
	case protoreflect.Int64Kind:
		v = protoreflect.ValueOfInt64(1_790_000_000_000 + int64(*n)*1000)
	case protoreflect.Int32Kind:
		v = protoreflect.ValueOfInt32(int32(*n))
	case protoreflect.Uint64Kind:
		v = protoreflect.ValueOfUint64(uint64(*n))
	case protoreflect.Uint32Kind:
		v = protoreflect.ValueOfUint32(uint32(*n))
	case protoreflect.FloatKind:
		v = protoreflect.ValueOfFloat32(0.5)
	case protoreflect.BoolKind:
		v = protoreflect.ValueOfBool(true)
	}
	return v
}

// checkTable holds that every column of a table without a default is written.
func checkTable(t *testing.T, c *clickhouse.Conn, table string, written []clickhouse.Column) map[string]bool {
	t.Helper()
	inserted := make(map[string]bool)
	for _, col := range written {
		if inserted[col.Name] {
			t.Errorf("%s: column %s is written twice", table, col.Name)
		}
		inserted[col.Name] = true
	}
	err := c.Each(context.Background(), "SELECT name, default_expression FROM system.columns WHERE database = currentDatabase() AND table = {table:String}",
		func(scan func(...any) error) error {
			var name, expression string
			if err := scan(&name, &expression); err != nil {
				return err
			}
			if expression == "" && !inserted[name] {
				t.Errorf("%s: column %s is not written", table, name)
			}
			return nil
		}, clickhouse.Param("table", table))
	if err != nil {
		t.Fatal(err)
	}
	return inserted
}

// checkArrival holds that the value of each field reached its column: the row
// differs there from that of a message without the field.
func checkArrival(t *testing.T, c *clickhouse.Conn, table, company string, inserted map[string]bool, columns map[string]string) {
	t.Helper()
	for path, name := range columns {
		if !inserted[name] {
			t.Errorf("%s: field %s has no column %s that is written", table, path, name)
			continue
		}
		var isDefault bool
		sql := "SELECT toBool(" + name + " = defaultValueOfArgumentType(" + name + ")) FROM " + table + " WHERE company_id = {company:String}"
		if err := c.QueryRow(context.Background(), sql, clickhouse.Param("company", company)).Scan(&isDefault); err != nil {
			t.Fatalf("%s of %s: %v", name, table, err)
		}
		if isDefault {
			t.Errorf("%s: the value of field %s did not reach column %s", table, path, name)
		}
	}
}

func TestEveryFieldOfTheEventHasItsColumn(t *testing.T) {
	t.Parallel()
	c := migrated(t)
	s := New(c)
	inserted := checkTable(t, c, TableEvents, s.eventTable().columns([]EventRow{{Event: &metivav1.EnrichedEvent{
		Detail: &metivav1.EnrichedEvent_Custom{Custom: &metivav1.CustomEvent{Properties: map[string]string{"key": "value"}}},
	}}}))
	details := (&metivav1.EnrichedEvent{}).ProtoReflect().Descriptor().Oneofs().ByName("detail").Fields()
	for i := range details.Len() {
		e, n := new(metivav1.EnrichedEvent), 0
		columns := make(map[string]string)
		for _, path := range fill(e.ProtoReflect(), "", details.Get(i).Name(), &n) {
			columns[path] = columnOf(path)
		}
		e.Consent, e.CompanyId = metivav1.ConsentState_CONSENT_STATE_ANALYTICS, "cmp_"+string(details.Get(i).Name())
		if err := s.InsertEvents(context.Background(), "", []EventRow{{Event: e, ExpiresAt: time.Now().AddDate(1, 0, 0)}}); err != nil {
			t.Fatal(err)
		}
		checkArrival(t, c, TableEvents, e.GetCompanyId(), inserted, columns)
	}
}

func TestEveryFieldOfTheVisitHasItsColumn(t *testing.T) {
	t.Parallel()
	c := migrated(t)
	s := New(c)
	inserted := checkTable(t, c, TableVisits, s.visitTable().columns([]VisitRow{{Message: &metivav1.Visit{}}}))
	v, n := new(metivav1.Visit), 0
	columns := make(map[string]string)
	for _, path := range fill(v.ProtoReflect(), "", "", &n) {
		columns[path] = columnOf(path, visitColumnNames)
	}
	v.Consent, v.CompanyId = metivav1.ConsentState_CONSENT_STATE_ANALYTICS, "cmp_a"
	if err := s.InsertVisits(context.Background(), "", []VisitRow{{Message: v, ExpiresAt: time.Now().AddDate(1, 0, 0)}}); err != nil {
		t.Fatal(err)
	}
	checkArrival(t, c, TableVisits, "cmp_a", inserted, columns)
}

func TestEveryFieldOfTheAccountDayHasItsColumn(t *testing.T) {
	t.Parallel()
	c := migrated(t)
	s := New(c)
	inserted := checkTable(t, c, TableAccountsDaily, accountDayTable().columns([]AccountDayRow{{Message: &metivav1.AccountDay{}}}))
	d, n := new(metivav1.AccountDay), 0
	columns := make(map[string]string)
	for _, path := range fill(d.ProtoReflect(), "", "", &n) {
		columns[path] = columnOf(path, dayColumnNames)
	}
	d.CompanyId = "cmp_a"
	if err := s.InsertAccountDays(context.Background(), "", []AccountDayRow{{Message: d, ExpiresAt: time.Now().AddDate(1, 0, 0)}}); err != nil {
		t.Fatal(err)
	}
	checkArrival(t, c, TableAccountsDaily, "cmp_a", inserted, columns)
}

// TestTheNewestVersionStands, in whatever order versions come, and a removed one
// hides what was before it.
func TestTheNewestVersionStands(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := migrated(t)
	s := New(c)
	at := time.Now().Add(-time.Hour)
	visit := func(id string, version uint64, pages uint32, removed bool) VisitRow {
		return VisitRow{ExpiresAt: at.AddDate(1, 0, 0), Message: &metivav1.Visit{
			VisitId: []byte(strings.Repeat(id, 16)), VisitKey: make([]byte, 16), CompanyId: "cmp_a", SiteId: "sit_1", StartedAtMs: at.UnixMilli(),
			Version: version, PageViews: pages, Removed: removed,
		}}
	}
	day := func(account string, version uint64, score uint32, removed bool) AccountDayRow {
		return AccountDayRow{ExpiresAt: at.AddDate(1, 0, 0), Message: &metivav1.AccountDay{
			CompanyId: "cmp_a", SiteId: "sit_1", AccountId: account, Day: int32(at.Unix() / 86_400), Version: version, Score: score, Removed: removed,
		}}
	}
	for _, try := range []struct {
		token  string
		visits []VisitRow
		days   []AccountDayRow
	}{
		{"2", []VisitRow{visit("a", 4, 2, false), visit("b", 5, 0, true)}, []AccountDayRow{day("x.nl", 4, 20, false), day("y.nl", 5, 0, true)}},
		{"1", []VisitRow{visit("a", 2, 1, false), visit("b", 2, 1, false)}, []AccountDayRow{day("x.nl", 2, 10, false), day("y.nl", 2, 10, false)}},
		{"2 again", []VisitRow{visit("a", 4, 2, false)}, []AccountDayRow{day("x.nl", 4, 20, false)}},
	} {
		if err := s.InsertVisits(ctx, try.token, try.visits); err != nil {
			t.Fatal(err)
		}
		if err := s.InsertAccountDays(ctx, try.token, try.days); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		var visits, pages, days, score uint64
		if err := c.QueryRow(ctx, "SELECT count(), sum(page_views) FROM visits FINAL").Scan(&visits, &pages); err != nil || visits != 1 || pages != 2 {
			t.Errorf("%s: %d visits with %d pages, %v", when, visits, pages, err)
		}
		if err := c.QueryRow(ctx, "SELECT count(), sum(score) FROM accounts_daily FINAL").Scan(&days, &score); err != nil || days != 1 || score != 20 {
			t.Errorf("%s: %d days with score %d, %v", when, days, score, err)
		}
	}
	check("as inserted")
	for _, table := range []string{TableVisits, TableAccountsDaily} {
		if err := c.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			t.Fatal(err)
		}
	}
	check("merged")
	// The removed visit is remembered after a merge: an old version of it stays hidden.
	if err := s.InsertVisits(ctx, "late", []VisitRow{visit("b", 2, 1, false)}); err != nil {
		t.Fatal(err)
	}
	check("with a late version")
}

func TestTheTablesOfVisitsHoldTheInvariants(t *testing.T) {
	t.Parallel()
	s := New(migrated(t))
	for name, breakIt := range map[string]func(*metivav1.Visit){
		"visitor without consent":  func(v *metivav1.Visit) { v.VisitorId = []byte(strings.Repeat("v", 16)) },
		"region without consent":   func(v *metivav1.Visit) { v.Region = "NL-NH" },
		"name without its verdict": func(v *metivav1.Visit) { v.Resolution = &metivav1.Resolution{Name: "KPN"} },
		"no tenant":                func(v *metivav1.Visit) { v.CompanyId = "" },
	} {
		v := &metivav1.Visit{VisitId: make([]byte, 16), VisitKey: make([]byte, 16), CompanyId: "cmp_a", SiteId: "sit_1", StartedAtMs: time.Now().UnixMilli(), Version: 1}
		row := VisitRow{ExpiresAt: time.Now().AddDate(1, 0, 0), Message: v}
		if err := s.InsertVisits(context.Background(), "", []VisitRow{{ExpiresAt: row.ExpiresAt, Message: proto.Clone(v).(*metivav1.Visit)}}); err != nil {
			t.Fatalf("a valid visit: %v", err)
		}
		breakIt(v)
		if err := s.InsertVisits(context.Background(), "", []VisitRow{row}); !clickhouse.DataFault(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
