-- +goose Up
-- How accounts are scored on a site: key pages, the threshold of account.hot and its
-- cool-down, and how long an account has to be away to have returned. What is left out
-- has the scorer's default.

ALTER TABLE core.sites
  -- {"key_pages": [{"name": …, "path": …, "weight": …}], "hot_score": …, …}
  ADD COLUMN score_rules jsonb NOT NULL DEFAULT '{}',
  ADD CONSTRAINT sites_score_rules CHECK (
    jsonb_typeof(score_rules) = 'object'
    AND octet_length(score_rules::text) <= 65536
    AND CASE WHEN score_rules ? 'key_pages'
             THEN jsonb_typeof(score_rules -> 'key_pages') = 'array' AND jsonb_array_length(score_rules -> 'key_pages') <= 50
             ELSE true END);

-- +goose Down
ALTER TABLE core.sites DROP COLUMN score_rules;
