-- +goose Up
-- Whether an address in a known business network of /25 to /29 may be sealed as
-- that network. Only where somebody has accepted the assessment.

ALTER TABLE core.sites
  ADD COLUMN network_precision boolean NOT NULL DEFAULT false,
  ADD CONSTRAINT sites_precision_accepted CHECK (NOT network_precision OR interest_accepted_by IS NOT NULL);

-- +goose Down
ALTER TABLE core.sites DROP COLUMN network_precision;
