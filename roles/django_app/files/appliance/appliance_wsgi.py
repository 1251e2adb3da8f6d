"""The project's WSGI application, with what the appliance needs to know about it.

A probe (a request that carries X-Appliance-Probe) is told which release answered: on a socket that old and new
instances share, nothing else proves that the new one serves. Nothing is added to any other response.
"""

import os
from importlib import import_module

_module, _, _name = os.environ["APPLIANCE_WSGI"].partition(":")
_application = getattr(import_module(_module), _name or "application")
_header = ("X-Appliance-Release", os.environ["APPLIANCE_RELEASE"])


def application(environ, start_response):
    """Call the project's application."""
    if not environ.get("REMOTE_ADDR"):
        # A unix socket has no client address. Only nginx may open it, and nginx sets this header rather than append to it.
        environ["REMOTE_ADDR"] = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip() or "127.0.0.1"
    if "HTTP_X_APPLIANCE_PROBE" not in environ:
        return _application(environ, start_response)

    def start_marked_response(status, headers, *rest):
        return start_response(status, [*headers, _header], *rest)

    return _application(environ, start_marked_response)
