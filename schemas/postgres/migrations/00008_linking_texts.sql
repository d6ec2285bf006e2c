-- +goose Up
-- Whether a text says that the person's own visits are kept together with what they
-- fill in. It belongs to the text and never changes: the visitor agreed to it.

ALTER TABLE core.consent_texts ADD COLUMN links_visits boolean NOT NULL DEFAULT false;

-- +goose Down
ALTER TABLE core.consent_texts DROP COLUMN links_visits;
