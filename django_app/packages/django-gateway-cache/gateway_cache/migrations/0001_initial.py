from django.db import migrations

# No model: nobody but the triggers writes here, and what reads it (feed.py, view.py) is SQL.
# xid tells when a change became visible, which neither id nor time can: see feed.py.
CREATE = """
CREATE TABLE gateway_cache_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    keys text[] NOT NULL CHECK (cardinality(keys) > 0),
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX gateway_cache_change_xid ON gateway_cache_change (xid);
"""

# Triggers of a table that is gone would refuse every write.
DROP = r"""
DO $$
DECLARE one regprocedure;
BEGIN
    FOR one IN SELECT oid FROM pg_proc WHERE proname LIKE 'gateway\_cache\_t\_%' AND pronamespace = current_schema()::regnamespace LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', one);
    END LOOP;
END $$;
DROP TABLE gateway_cache_change;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [migrations.RunSQL(CREATE, DROP)]
