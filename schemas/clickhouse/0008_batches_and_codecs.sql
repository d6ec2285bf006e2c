-- Which insert a row came with: a hash of its deduplication token. A batch that is
-- tried again after a crash knows its own rows by it, and sends them once more under
-- the same token: the table takes none of them twice, and a materialised view that the
-- crash kept from them gets them (ADR 0035). 0 in rows from before this migration. The
-- same for all rows of an insert, so it takes next to no room.
ALTER TABLE events
    ADD COLUMN IF NOT EXISTS batch UInt64 DEFAULT 0 COMMENT 'hash of the token of the insert' CODEC(ZSTD(1));
