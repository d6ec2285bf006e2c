-- Row policies of the tables with rows of tenants; written by go test ./deploy -update
-- from schemas/clickhouse.Tables. An administrator applies it after the migrations:
-- clickhouse-client --database metiva --queries-file policies.sql
--
-- The user reader sees the rows of one tenant: that of the setting metiva_company, which core
-- sets for each statement. Without it a statement fails. The users ingest, keeper and
-- migrate, who write, see everything: a filtered source of a materialised view drops rows
-- silently, and a day that is counted of no rows is empty.
-- Everybody else sees nothing (users_without_row_policies_can_read_rows in config.xml).

CREATE ROW POLICY OR REPLACE tenant ON metiva.events FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.events FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.drops FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.drops FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.ledger_edge FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.ledger_edge FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.ledger_checks FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.ledger_checks FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.visits FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.visits FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.accounts_daily FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.accounts_daily FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.changed_days FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.changed_days FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.counted_days FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.counted_days FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.traffic_daily FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.traffic_daily FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.closed_visits FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.closed_visits FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.pages_daily FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.pages_daily FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

CREATE ROW POLICY OR REPLACE tenant ON metiva.groups_daily FOR SELECT USING company_id = getSetting('metiva_company') AS PERMISSIVE TO reader;
CREATE ROW POLICY OR REPLACE everything ON metiva.groups_daily FOR SELECT USING 1 AS PERMISSIVE TO ingest, keeper, migrate;

-- How much a tenant may ask for in a minute, by the quota key core sends: its id. What core
-- asks for itself, without a key, counts for the user: a driver's first question has none.
CREATE QUOTA OR REPLACE tenant KEYED BY client_key, user_name FOR INTERVAL 1 minute MAX queries = 1200, read_rows = 4000000000, execution_time = 240 TO reader;
