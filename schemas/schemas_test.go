package schemas_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

func TestBucketsAreFixed(t *testing.T) {
	t.Parallel()
	// Stored data depends on these numbers: a change here loses every tenant.
	for company, want := range map[string]uint8{"": 1, "cmp_8fa2c1": 12, "cmp_1d47b9": 6, "cmp_63ae02": 12} {
		if got := schemas.TenantBucket(company); got != want {
			t.Errorf("TenantBucket(%q) = %d, want %d", company, got, want)
		}
	}
}

func TestAPartitionHoldsOneBucketAndAVisitOnePartition(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{schemas.TenantBuckets, 4 * schemas.TenantBuckets} {
		bucketOf := make(map[int]uint8)
		for company := range 200 {
			id := fmt.Sprintf("cmp_%d", company)
			for visit := range 50 {
				key := fmt.Appendf(nil, "visit-%d", visit)
				p := schemas.EventPartition(id, key, partitions)
				if p < 0 || p >= partitions {
					t.Fatalf("partition %d of %d", p, partitions)
				}
				if p != schemas.EventPartition(id, key, partitions) {
					t.Fatal("the partition of a visit changes")
				}
				bucket := schemas.TenantBucket(id)
				if other, seen := bucketOf[p]; seen && other != bucket {
					t.Fatalf("partition %d holds buckets %d and %d", p, other, bucket)
				}
				bucketOf[p] = bucket
			}
		}
		if len(bucketOf) != partitions {
			t.Errorf("%d of %d partitions are used", len(bucketOf), partitions)
		}
	}
}

func TestBucketsSpreadTenants(t *testing.T) {
	t.Parallel()
	const tenants = 16000
	var count [schemas.TenantBuckets]float64
	for i := range tenants {
		count[schemas.TenantBucket(fmt.Sprintf("cmp_%06x", i*7919))]++
	}
	for b, n := range count {
		if math.Abs(n-tenants/schemas.TenantBuckets) > 0.2*tenants/schemas.TenantBuckets {
			t.Errorf("bucket %d holds %.0f of %d tenants", b, n, tenants)
		}
	}
}

func TestTopics(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, topic := range schemas.Topics() {
		if seen[topic.Name] {
			t.Errorf("%s is listed twice", topic.Name)
		}
		seen[topic.Name] = true
		if topic.Partitions < 1 || topic.Key == "" {
			t.Errorf("%s: %+v", topic.Name, topic)
		}
		if strings.HasPrefix(topic.Name, "events.") && topic.Name != schemas.TopicEventsDead && topic.Partitions%schemas.TenantBuckets != 0 {
			t.Errorf("%s: %d partitions cannot each hold one bucket", topic.Name, topic.Partitions)
		}
		control := strings.HasPrefix(topic.Name, "control.")
		if state := strings.HasSuffix(topic.Name, ".state"); (control || state) != topic.Compacted() {
			t.Errorf("%s: compacted is %t", topic.Name, topic.Compacted())
		}
		if topic.Name == schemas.TopicVisitsState && topic.Partitions != partitionsOf(schemas.TopicEventsCollected) {
			t.Errorf("%s: its partitions are not those of %s", topic.Name, schemas.TopicEventsCollected)
		}
		if control && topic.Partitions != 1 {
			t.Errorf("%s: readers rely on one order over all keys", topic.Name)
		}
	}
}

func partitionsOf(name string) int {
	for _, topic := range schemas.Topics() {
		if topic.Name == name {
			return topic.Partitions
		}
	}
	return 0
}

func TestLabels(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"none":                 schemas.Label(metivav1.Reason_REASON_UNSPECIFIED),
		"unknown_site":         schemas.Label(metivav1.Reason_REASON_UNKNOWN_SITE),
		"unknown":              schemas.Label(metivav1.Reason(9999)),
		"collector":            schemas.Label(metivav1.Stage_STAGE_COLLECTOR),
		"isp":                  schemas.Label(metivav1.Verdict_VERDICT_ISP),
		"page_view":            schemas.Label(metivav1.EventType_EVENT_TYPE_PAGE_VIEW),
		"headless":             schemas.Label(metivav1.BotClass_BOT_CLASS_HEADLESS),
		"analytics":            schemas.Label(metivav1.ConsentState_CONSENT_STATE_ANALYTICS),
		"desktop":              schemas.Label(metivav1.DeviceClass_DEVICE_CLASS_DESKTOP),
		"duplicate":            schemas.Label(metivav1.Reason_REASON_DUPLICATE),
		"unacknowledged":       schemas.Label(metivav1.Reason_REASON_UNACKNOWLEDGED),
		"count":                schemas.Label(metivav1.SiteMode_SITE_MODE_COUNT),
		"ambiguous_truncation": schemas.Label(metivav1.Verdict_VERDICT_AMBIGUOUS_TRUNCATION),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	all := schemas.Labels(metivav1.Reason(0))
	seen := make(map[string]bool)
	for r, label := range all {
		if label == "" || seen[label] || label != strings.ToLower(label) {
			t.Errorf("%v has the label %q", r, label)
		}
		seen[label] = true
	}
}
