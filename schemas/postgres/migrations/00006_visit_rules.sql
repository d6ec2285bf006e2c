-- +goose Up
-- Where the visits of a site end: after how much silence, at midnight in which time
-- zone (none when empty), and whether at another campaign.

ALTER TABLE core.sites
  ADD COLUMN visit_idle_minutes integer NOT NULL DEFAULT 30,
  ADD COLUMN visit_time_zone text NOT NULL DEFAULT '',
  ADD COLUMN visit_campaign boolean NOT NULL DEFAULT false,
  ADD CONSTRAINT sites_visit_idle CHECK (visit_idle_minutes BETWEEN 1 AND 240),
  ADD CONSTRAINT sites_visit_time_zone CHECK (length(visit_time_zone) <= 64);

-- +goose Down
ALTER TABLE core.sites
  DROP COLUMN visit_idle_minutes,
  DROP COLUMN visit_time_zone,
  DROP COLUMN visit_campaign;
