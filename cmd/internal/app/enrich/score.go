package enrich

import (
	"context"
	"time"

	"github.com/metiva-io/metiva/cmd/internal/app"
	"github.com/metiva-io/metiva/cmd/internal/config"
	"github.com/metiva-io/metiva/enrich/scorer"
	"github.com/metiva-io/metiva/pkg/kafka"
	"github.com/metiva-io/metiva/pkg/lifecycle"
)

// bindScore adds the settings of the scorer.
func bindScore(c *scorer.Config, s *config.Set) {
	s.Int(&c.StateBytesMax, config.Option{Flag: "score-state-bytes-max", Env: "METIVA_ENRICH_SCORE_STATE_BYTES_MAX", Default: "33554432", Help: "Memory of the accounts' states of one partition; beyond it the accounts unseen for longest are forgotten."})
}

// scorerStage is the scorer as a part of the process. It is told to stop after the
// worker, whose visits it scores.
func scorerStage(w *app.Watched, client *kafka.Client, cfg scorer.Config) (lifecycle.Stage, error) {
	scores, err := scorer.New(cfg, scorer.Deps{Kafka: client, Log: w.Log, Registerer: w.Registry, Now: time.Now})
	if err != nil {
		return lifecycle.Stage{}, err
	}
	return lifecycle.Stage{Name: "scorer", Run: func(ctx context.Context) error {
		if err := w.Until(ctx, "kafka", client.Ping); err != nil {
			return err
		}
		go func() {
			select {
			case <-scores.Ready():
				w.Ready.Set("score_tables", nil)
			case <-ctx.Done():
			}
		}()
		return scores.Run(ctx)
	}}, nil
}
