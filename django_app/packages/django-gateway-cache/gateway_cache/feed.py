#!/usr/bin/python3
"""Tell gateways what changed in the database: one small process beside the app, independent of its workers.

    DATABASE_URL=postgres://… feed.py --socket /run/shop/feed.sock --content 1
    feed.py --current /srv/shop/current --releases /etc/appliance/apps/shop/releases      (socket from systemd)

    GET /changes?since=CURSOR
    200 {"content": "4f0c…", "epoch": "7430….1", "xmin": 812, "cursor": "9b1d…:17", "changes": [[811, ["catalog.product", …]], …]}
    503 otherwise

An answer is given only if the database was asked after the request came in, so silence is never mistaken for "nothing
changed". A change is told exactly once per cursor and as soon as its transaction is visible, however late that commits:
what is asked for is what the snapshot of the last question did not see, not what has a higher number.

Without DATABASE_URL there is no database part, and only `content` tells anything.

A file to be run as it is: standard library and psycopg 3 (Debian: python3-psycopg) only.
"""

import argparse
import contextlib
import itertools
import json
import os
import socket
import socketserver
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

#: No page and no query result may live longer than this less a minute; older changes are forgotten.
KEEP_SECONDS = 3660

#: More keys than this at once are told as "*", everything.
MANY = 20000

#: What any answer from before a certain event must not be compared with: another server, timeline or database, a start
#: of the server (with older files, perhaps), the table made anew, a trigger made, switched off or removed.
EPOCH = r"""
concat_ws('.',
    (SELECT system_identifier FROM pg_control_system()),
    left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYMMDDHH24MISSUS'),
    pg_relation_filenode('gateway_cache_change'),
    (SELECT md5(string_agg(concat(oid, ':', xmin), ' ' ORDER BY oid)) FROM pg_trigger WHERE tgname LIKE 'gateway\_cache\_%%')
)
"""

#: One statement, hence one snapshot for all its parts. `seen` is the snapshot of the question before.
CHANGES = f"""
WITH news AS MATERIALIZED (
    SELECT id, xid::text::bigint AS xid, keys FROM gateway_cache_change
    WHERE xid >= pg_snapshot_xmin(%(seen)s::pg_snapshot) AND NOT pg_visible_in_snapshot(xid, %(seen)s::pg_snapshot)
)
SELECT
    {EPOCH},
    pg_snapshot_xmin(snapshot)::text::bigint,
    snapshot::text,
    CASE WHEN (SELECT coalesce(sum(cardinality(keys)), 0) FROM news) <= %(many)s
        THEN (SELECT coalesce(json_agg(json_build_array(xid, keys) ORDER BY id), '[]') FROM news)
        ELSE (SELECT json_build_array(json_build_array(max(xid), json_build_array('*'))) FROM news)
    END
FROM pg_current_snapshot() AS snapshot
"""

#: Changes that every snapshot has seen for long enough. Numbers are compared, not times: a transaction may write
#: its change now and commit it in an hour. A part at a time, so that none takes long; what is left goes with the next.
FORGET = """
DELETE FROM gateway_cache_change WHERE id IN (
    SELECT id FROM gateway_cache_change WHERE xid < %(xid)s::text::xid8 ORDER BY xid LIMIT 20000 FOR UPDATE SKIP LOCKED
)
"""

#: The snapshot that has seen nothing.
NOTHING = "1:1:"

#: A database that is cut off must cost seconds, not minutes; what DATABASE_URL says wins.
PATIENCE = {
    "connect_timeout": "2",
    "tcp_user_timeout": "2000",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "application_name": "gateway-cache-feed",
    "options": "-c statement_timeout=2000",
}


class UnavailableError(Exception):
    """No answer can be given; the message is for the log."""


class Horizon:
    """Which transactions ended at least `seconds` ago."""

    STEP_SECONDS = 30

    def __init__(self, seconds=KEEP_SECONDS, clock=time.monotonic):
        self._seconds, self._clock = seconds, clock
        self._marks = deque()

    def note(self, xmin):
        """Remember that everything below `xmin` has ended by now. Returns the number below which all is to be forgotten, or None."""
        now = self._clock()
        if self._marks and now - self._marks[-1][0] < self.STEP_SECONDS:
            return None
        self._marks.append((now, xmin))
        passed = None
        while self._marks and now - self._marks[0][0] >= self._seconds:
            passed = self._marks.popleft()[1]
        return passed


class Database:
    """The feed's own connection."""

    def __init__(self, url):
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        self._psycopg = psycopg
        self._arguments = PATIENCE | conninfo_to_dict(url)
        self._connection = None

    def query(self, sql, values):
        """The first row of one statement, or None; whatever goes wrong, the next call begins with a new connection."""
        try:
            if self._connection is None:
                self._connection = self._psycopg.connect(**self._arguments, autocommit=True)
                # A plan made anew for every question would cost as much as the question.
                self._connection.prepare_threshold = 1
            cursor = self._connection.execute(sql, values)
            return cursor.fetchone() if cursor.description else None
        except (self._psycopg.Error, OSError) as error:
            self.close()
            raise UnavailableError(f"database: {(str(error).splitlines() or [type(error).__name__])[0]}") from None

    def close(self):
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
        self._connection = None


class Changes:
    """What changed, in the order in which it became visible."""

    def __init__(self, query, clock=time.monotonic):
        self._query, self._clock = query, clock
        self._lock = threading.Lock()
        self._asked, self._failure = -1.0, None
        self._horizon = Horizon(clock=clock)
        self.epoch, self.xmin = None, 0
        self._begin_anew()

    def _begin_anew(self):
        """Forget all: cursors of before become unknown, and who has one is told everything that is kept."""
        self._incarnation = os.urandom(8).hex()
        self._seen, self._n = NOTHING, 0
        self._log, self._keys = deque(), 0  # (n, when it was told first, xid, keys), and how many keys these are

    def since(self, cursor):
        """The database's part of an answer. The database is asked once for all who wait."""
        arrived = self._clock()
        with self._lock:
            if self._asked < arrived:
                self._asked = self._clock()
                try:
                    self._ask()
                    self._failure = None
                except UnavailableError as failure:
                    self._failure = failure
            if self._failure:
                raise self._failure
            incarnation, _, number = cursor.partition(":")
            known = int(number) if incarnation == self._incarnation and number.isdecimal() else 0
            news = [[xid, keys] for _, _, xid, keys in itertools.takewhile(lambda one: one[0] > known, reversed(self._log))]
            return {"epoch": self.epoch, "xmin": self.xmin, "cursor": f"{self._incarnation}:{self._n}", "changes": news[::-1]}

    def _ask(self):
        epoch, xmin, snapshot, news = self._query(CHANGES, {"seen": self._seen, "many": MANY})
        if epoch != self.epoch:
            if self._seen != NOTHING:
                self._begin_anew()
                self._ask()
                return
            self.epoch, self._horizon = epoch, Horizon(clock=self._clock)
        self.xmin, self._seen = xmin, snapshot
        now = self._clock()
        for xid, keys in news:
            self._n += 1
            self._log.append((self._n, now, xid, keys))
            self._keys += len(keys)
        while self._log and now - self._log[0][1] > KEEP_SECONDS:
            self._drop()
        if self._keys > 2 * MANY:
            self._merge()
        if passed := self._horizon.note(xmin):
            self._query(FORGET, {"xid": str(passed)})

    def _drop(self):
        oldest = self._log.popleft()
        self._keys -= len(oldest[3])
        return oldest

    def _merge(self):
        """Make the older half one entry. Only who asks with an unknown cursor is told more than what changed."""
        old = [self._drop()]
        while self._keys > MANY:
            old.append(self._drop())
        n, when = old[-1][:2]
        self._log.appendleft((n, when, max(one[2] for one in old), ["*"]))
        self._keys += 1


class Content:
    """The id of what is served: fixed, or that of the release that a link points to now."""

    def __init__(self, text=None, current=None, releases=None):
        self._text, self._current, self._releases = text, current, releases

    def read(self):
        if self._text is not None:
            return self._text
        try:
            release = self._current.readlink().name
            content = (self._releases / release / "content").read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise UnavailableError(f"content: {error}") from None
        if not content:
            raise UnavailableError("content: the release has no content id")
        return content


class Handler(BaseHTTPRequestHandler):
    """HTTP for nginx, which keeps its connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "feed", ""
    timeout = 60
    content = changes = None
    last_complaint = None

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path != "/changes":
            self._answer(404, b'{"error": "GET /changes?since=CURSOR"}\n')
            return
        try:
            answer = {"content": self.content.read(), "epoch": "", "xmin": 0, "cursor": "", "changes": []}
            if self.changes is not None:
                answer |= self.changes.since(parse_qs(url.query).get("since", [""])[0])
        except UnavailableError as problem:
            self._complain(str(problem))
            self._answer(503, b'{"error": "unavailable"}\n')
            return
        self._complain(None)
        self._answer(200, json.dumps(answer, separators=(",", ":")).encode())

    def _answer(self, status, body):
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    @classmethod
    def _complain(cls, problem):
        """One line when something begins or ends, not one for each question."""
        if problem != Handler.last_complaint:
            Handler.last_complaint = problem
            print(problem or "answers again", file=sys.stderr, flush=True)

    def log_message(self, *arguments):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A thread for each connection; gateways are few, and each keeps one."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path):
        if path is None:
            super().__init__("", Handler, bind_and_activate=False)
            self.socket = socket.socket(fileno=3)  # systemd's first
        else:
            with contextlib.suppress(FileNotFoundError):
                Path(path).unlink()
            super().__init__(path, Handler)

    def handle_error(self, request, client_address):
        """A client that went away is nobody's concern."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--socket", help="where to listen; else the socket that systemd hands over")
    parser.add_argument("--content", help="the content id")
    parser.add_argument("--current", type=Path, help="a link to the release that serves …")
    parser.add_argument("--releases", type=Path, help="… and the folder with <release>/content")
    options = parser.parse_args()
    if options.content is None and not (options.current and options.releases):
        parser.error("give --content, or --current and --releases")
    if options.socket is None and os.environ.get("LISTEN_FDS") != "1":
        parser.error("no socket: give --socket, or start it by systemd")
    Handler.content = Content(options.content, options.current, options.releases)
    if url := os.environ.get("DATABASE_URL"):
        Handler.changes = Changes(Database(url).query)
    # A thread's stack is address space of 8 MB otherwise.
    threading.stack_size(512 * 1024)
    server = Server(options.socket)
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.connect(address.replace("@", "\0", 1))
            systemd.send(b"READY=1")
    server.serve_forever()


if __name__ == "__main__":
    main()
