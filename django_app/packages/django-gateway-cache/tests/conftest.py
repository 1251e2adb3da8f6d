"""Real commits on a real PostgreSQL: what is tested is what other transactions see."""

from urllib.parse import quote

import psycopg
import pytest
from django.db import connection

from gateway_cache import pages
from gateway_cache.feed import Changes, Database


@pytest.fixture
def url(transactional_db):
    """The test database, for programs that are not Django."""
    config = connection.settings_dict
    return "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/{NAME}".format(
        **{name: quote(str(config[name]), safe="") for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")}
    )


@pytest.fixture
def other(url):
    """Makes connections of somebody else; their transactions are committed by hand."""
    made = []

    def make(**options):
        made.append(psycopg.connect(url, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def query(url):
    """The feed's own connection."""
    database = Database(url)
    yield database.query
    database.close()


@pytest.fixture
def changes(query):
    """A gateway that has heard of everything so far."""
    return Listener(Changes(query))


class Listener:
    """Asks a feed as a gateway does."""

    def __init__(self, changes):
        self.changes, self.cursor = changes, ""
        self.heard()

    def ask(self):
        return self.changes.since(self.cursor)

    def heard(self):
        """The keys told since the last time."""
        answer = self.ask()
        self.cursor = answer["cursor"]
        return {key for _, keys in answer["changes"] for key in keys}


@pytest.fixture(autouse=True)
def tags_are_wanted():
    """As within the middleware."""
    token = pages.wanted.set(True)
    yield
    pages.wanted.reset(token)
