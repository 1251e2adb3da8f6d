"""Triggers on the tables of tracked models: whoever writes a row, by whatever means, leaves a record in the same transaction."""

import hashlib
from typing import Any

from django.db import connections, models, transaction

from gateway_cache import conf, keys

#: Rows of one statement that are named one by one; of more, the table is.
ROWS = 200

#: One trigger for each, since PostgreSQL gives the rows of a statement to triggers for one event only.
EVENTS = {
    "insert": "REFERENCING NEW TABLE AS new_rows",
    "update": "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "delete": "REFERENCING OLD TABLE AS old_rows",
    "truncate": "",
}

# The block with an exception catches a column that a migration has removed or renamed under a function made before: the
# table then is named as a whole until the triggers are made anew, and nobody's write fails.
BODY = """
DECLARE
    found text[];
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        found := {everything};
    ELSE
        BEGIN
            IF TG_OP = 'INSERT' THEN
                {insert}
            ELSIF TG_OP = 'UPDATE' THEN
                {update}
            ELSE
                {delete}
            END IF;
        EXCEPTION WHEN undefined_column THEN
            found := {everything};
        END;
    END IF;
    IF found IS NOT NULL THEN
        INSERT INTO {schema}.gateway_cache_change (keys) VALUES (found);
    END IF;
    RETURN NULL;
END
"""

GATHER = """SELECT CASE
                    WHEN count(*) = 0 THEN NULL
                    WHEN count(*) > {most} THEN {everything}
                    ELSE {label} || coalesce(array_agg(DISTINCT key) FILTER (WHERE key IS NOT NULL), ARRAY[]::text[])
                END INTO found
                FROM ({rows}) AS one, LATERAL (VALUES {keys}) AS word (key);"""


def function_name(model: type[models.Model]) -> str:
    """Short enough for any table, and the same for ever."""
    return f"gateway_cache_t_{hashlib.md5(keys.label(model).encode(), usedforsecurity=False).hexdigest()[:16]}"


def body(model: type[models.Model], schema: str, quote: Any) -> str:
    """The source of the model's trigger function."""
    fields = keys.row_fields(model)
    label = f"ARRAY[{_text(keys.label(model))}]"
    words = [keys.label(model), f"{keys.label(model)}*", *(f"{keys.stem(model, field)}*" for field in fields)]
    everything = f"ARRAY[{', '.join(_text(one) for one in dict.fromkeys(words))}]"
    expressions = []
    for field in fields:
        column = f"one.{quote(field.column)}::text"
        expressions.append(f"({_text(keys.stem(model, field) + ':')} || {column if keys.kind(field) == 'plain' else f'md5({column})'})")
    columns = ", ".join(quote(field.column) for field in fields)

    def gather(*tables: str) -> str:
        rows = " UNION ALL ".join(f"(SELECT {columns} FROM {table} LIMIT {ROWS + 1})" for table in tables)
        most = ROWS * len(tables) * max(1, len(expressions))
        return GATHER.format(label=label, everything=everything, rows=rows, keys=", ".join(expressions) or "(NULL)", most=most)

    return BODY.format(
        schema=quote(schema),
        everything=everything,
        insert=gather("new_rows"),
        update=gather("old_rows", "new_rows"),
        delete=gather("old_rows"),
    )


def synchronise(alias: str) -> dict[str, list[str]]:
    """Make the triggers those of the tracked models. Changes nothing where all is in step, so that no table is locked in vain."""
    connection = connections[alias]
    quote = connection.ops.quote_name
    done: dict[str, list[str]] = {"made": [], "removed": []}
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('gateway_cache_change') IS NOT NULL, current_schema()")
        ready, schema = cursor.fetchone()
        if not ready:
            return done
        existing = set(connection.introspection.table_names(cursor))
        wanted = {function_name(model): model for table, model in conf.tracked_models().items() if table in existing}
        present = _present(cursor)
        for name, model in wanted.items():
            table, source = model._meta.db_table, body(model, schema, quote)
            if present.get(name) == (source, {f"gateway_cache_{event}" for event in EVENTS}, {table}):
                continue
            cursor.execute(
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
                f"SET search_path = pg_catalog, pg_temp AS $gateway_cache${source}$gateway_cache$"
            )
            for event, rows in EVENTS.items():
                trigger = f"gateway_cache_{event}"
                cursor.execute(
                    f"DROP TRIGGER IF EXISTS {trigger} ON {quote(table)}; CREATE TRIGGER {trigger} AFTER {event.upper()} ON {quote(table)} "
                    f"{rows} FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
                )
            done["made"].append(keys.label(model))
        for name in sorted(present.keys() - wanted.keys()):
            cursor.execute(f"DROP FUNCTION {name}() CASCADE")
            done["removed"].append(name)
    return done


def watched_tables(alias: str) -> set[str]:
    """The tables whose every change is recorded at this moment."""
    with connections[alias].cursor() as cursor:
        cursor.execute(
            r"SELECT relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
            r" WHERE tgname LIKE 'gateway\_cache\_%%' AND tgenabled IN ('O', 'A') GROUP BY relname HAVING count(*) = %s",
            [len(EVENTS)],
        )
        return {name for (name,) in cursor.fetchall()}


def _present(cursor: Any) -> dict[str, tuple[str, set[str], set[str]]]:
    """Our functions: name to source, enabled triggers, tables."""
    cursor.execute(
        r"SELECT proname, prosrc, array_agg(tgname::text) FILTER (WHERE tgenabled IN ('O', 'A')), array_agg(DISTINCT relname::text)"
        r" FROM pg_proc LEFT JOIN pg_trigger ON tgfoid = pg_proc.oid LEFT JOIN pg_class ON pg_class.oid = tgrelid"
        r" WHERE proname LIKE 'gateway\_cache\_t\_%' AND pronamespace = current_schema()::regnamespace GROUP BY proname, prosrc"
    )
    return {name: (source, set(triggers or ()), set(tables)) for name, source, triggers, tables in cursor.fetchall()}


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
