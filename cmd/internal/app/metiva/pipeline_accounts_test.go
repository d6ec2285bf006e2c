package metiva

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/metiva-io/metiva/schemas"
	"github.com/metiva-io/metiva/schemas/metivav1"
)

// testAccounts looks for what the visits of testTypes, from a company's network under a
// grant, are worth: a score with its parts in ClickHouse, and the signal of a company
// that is new. Companies whose pages only loaded have a day and no score.
func (h *harness) testAccounts(t *testing.T) {
	h.t = t
	h.within(60*time.Second, "the company's score", func() (bool, error) {
		rows, scored, unscored := 0, 0, 0
		err := h.conn.Each(t.Context(), `SELECT toInt64(score), toInt64(recency_points + depth_points + key_pages_points + engagement_points + returning_points),
	toInt64(engagement_points), toInt64(depth_points), toInt64(human_visits), account_id = 'ing.nl' AND site_id = '`+h.demo.Sites[0].SiteID+`'
FROM accounts_daily FINAL`,
			func(scan func(...any) error) error {
				var score, sum, engagement, depth, human int64
				var ours bool
				if err := scan(&score, &sum, &engagement, &depth, &human, &ours); err != nil {
					return err
				}
				rows++
				if score != sum || human == 0 && score > 0 {
					return fmt.Errorf("a score of %d has parts of %d and %d human visits", score, sum, human)
				}
				if ours && engagement > 0 && depth > 0 {
					scored++
				}
				if human == 0 {
					unscored++
				}
				return nil
			})
		if err == nil && (scored == 0 || unscored == 0) {
			err = fmt.Errorf("%d days, %d of the company's scored, %d unscored", rows, scored, unscored)
		}
		return err == nil, err
	})
	client, _ := h.kafkaClient(t)
	signals := make(map[string]int)
	h.records(t, client, schemas.TopicAccountSignals, func(_, value []byte) {
		s := new(metivav1.Signal)
		if err := proto.Unmarshal(value, s); err != nil {
			t.Error(err)
		}
		if s.GetAccountId() == "ing.nl" && s.GetSiteId() == h.demo.Sites[0].SiteID {
			signals[schemas.Label(s.GetKind())]++
		}
	})
	if signals["account_first_seen"] != 1 {
		t.Errorf("the company's signals are %v", signals)
	}
}
