"""The application that the server runs: the project's own, with what the appliance needs to know about it.

Gunicorn and uWSGI both import this module, once before they fork unless the contract says `preload: false`.
APPLIANCE_WSGI names the project's application, APPLIANCE_RELEASE and APPLIANCE_CONTENT say what is served.
"""

import gc
import logging
import os
import random
import socket
import stat
import sys
import threading
from contextlib import closing, suppress
from importlib import import_module
from operator import attrgetter
from urllib.parse import quote

log = logging.getLogger("appliance")

try:
    import uwsgi
except ImportError:
    uwsgi = None

MARKS = {"X-Appliance-Release": os.environ.get("APPLIANCE_RELEASE"), "X-Appliance-Content": os.environ.get("APPLIANCE_CONTENT")}
MARKS = [(name, value) for name, value in MARKS.items() if value]
#: Where the app lies on its domain, without the last slash.
PATH = os.environ.get("APPLIANCE_PATH", "")
BODILESS = ("1", "204", "304")


def warm_up():
    """Import what Django would import at the first request: shared by all processes, and that request need not wait for it."""
    if "django" not in sys.modules:
        return
    try:
        from django.template import engines
        from django.urls import get_resolver

        engines.all()
        _ = get_resolver().url_patterns
    except Exception:
        # It will show at the first request, as it would have without us; a database that is away must not keep the app from starting.
        log.warning("the project's URLs could not be loaded ahead of the first request", exc_info=True)


def connected_sockets():
    """Peers of the stream connections of this process; pairs within it, and the journal's, have none."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            number = int(name)
            if number > 2 and stat.S_ISSOCK(os.fstat(number).st_mode):
                with closing(socket.socket(fileno=os.dup(number))) as one:
                    peer = one.getpeername()
                    if one.type == socket.SOCK_STREAM and peer and not str(peer).startswith("/run/systemd/"):
                        yield peer


def part_before_fork():
    """Leave nothing open that processes must not share: two of them on one connection read each other's answers."""
    if "django" in sys.modules:
        from django.core.cache import caches
        from django.db import connections

        for connection in connections.all(initialized_only=True):
            connection.close()
            getattr(connection, "close_pool", lambda: None)()
        for cache in caches.all(initialized_only=True):
            for client in getattr(getattr(cache, "client", None), "_clients", None) or []:
                with suppress(AttributeError):  # django-redis
                    client.connection_pool.disconnect()
    peers = sorted(map(str, connected_sockets()))
    if peers:
        raise RuntimeError(
            f"the project opened a connection to {', '.join(peers)} while it was imported, which its processes would share;"
            " let it connect when it is first needed, or set preload: false for this app"
        )
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        log.warning("threads %s, started while the project was imported, do not live on in its processes", ", ".join(others))
    if uwsgi is not None:
        # It runs none of Python's hooks for a fork (py-call-osafterfork aborts with 3.13), and all processes would draw the same numbers.
        uwsgi.post_fork_hook = random.seed
    # Objects that are there now are never looked at again, so that their memory stays shared.
    gc.collect()
    gc.freeze()


def chunked(parts):
    """Frame a body whose length nobody said: without, one that breaks off would look whole to nginx, and be kept."""
    try:
        for part in parts:
            if part:
                yield b"%x\r\n%b\r\n" % (len(part), part)
        yield b"0\r\n\r\n"
    finally:
        getattr(parts, "close", lambda: None)()


def wrap(project):
    """The application for the server.

    A probe (a request that carries X-Appliance-Probe) is told which release answered: on a socket that old and new
    instances share, nothing else proves that the new one serves. No other response is told.
    """

    def application(environ, start_response):
        # A unix socket has no client address. nginx alone can open it, and sets these headers rather than append to what a client sent.
        environ["REMOTE_ADDR"] = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip() or "127.0.0.1"
        if environ.get("HTTP_X_FORWARDED_PROTO") == "https":
            environ["wsgi.url_scheme"] = "https"
        # For the access log: as it was sent, so that no line break in it starts a line of somebody's own.
        path = environ.get("PATH_INFO", "")
        environ["appliance.path"] = quote(path, encoding="latin-1")
        if PATH:
            environ["SCRIPT_NAME"] = PATH
            if path.startswith(f"{PATH}/"):  # a probe comes without
                environ["PATH_INFO"] = path[len(PATH) :]
        marks = MARKS if "HTTP_X_APPLIANCE_PROBE" in environ else []
        if uwsgi is None:
            if not marks:
                return project(environ, start_response)
            return project(environ, lambda status, headers, *rest: start_response(status, [*headers, *marks], *rest))

        uwsgi.set_logvar("client", environ["REMOTE_ADDR"])
        uwsgi.set_logvar("path", environ["appliance.path"])
        frame = []

        def start_framed_response(status, headers, *rest):
            headers = [*headers, *marks]
            bodiless = environ["REQUEST_METHOD"] == "HEAD" or status.startswith(BODILESS)
            frame[:] = [not bodiless and not any(name.lower() == "content-length" for name, _ in headers)]
            return start_response(status, [*headers, ("Transfer-Encoding", "chunked")] if frame[0] else headers, *rest)

        parts = project(environ, start_framed_response)
        return chunked(parts) if frame == [True] else parts

    return application


module, _, attribute = os.environ["APPLIANCE_WSGI"].partition(":")
application = wrap(attrgetter(attribute or "application")(import_module(module)))
if os.environ.get("APPLIANCE_PRELOAD"):
    warm_up()
    part_before_fork()
