"""The headers that tell a gateway what it may keep, and until what changes."""

import logging
import time
from collections.abc import Callable

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import cc_delim_re

from gateway_cache import conf, keys, pages, triggers, view
from gateway_cache.pages import Tags

logger = logging.getLogger(__name__)

HEADER_BYTES = 4096
COMPLAIN_SECONDS = 60


class GatewayCacheMiddleware:
    """The first of all middleware, so that it sees the cookies that others set."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        self._complained = float("-inf")
        self._watched: dict[str | None, set[str]] = {}

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        asked_by = conf.asked_by()
        asked = asked_by is None or asked_by in request.headers
        token = pages.wanted.set(asked)
        try:
            with view.request(fresh=asked or may_follow_a_write(request)):
                response = self.get_response(request)
                tags = getattr(response, "gateway_cache", None)
                if tags is not None and is_public(request, response):
                    # A browser hears of no purge, so it has to ask; if nothing changed, 304 is the answer.
                    response["Cache-Control"] = "no-cache"
                    if asked and self.is_watched(tags):
                        self.mark(response, tags)
        finally:
            pages.wanted.reset(token)
        return response

    def mark(self, response: HttpResponseBase, tags: Tags) -> None:
        header = " ".join(tags.keys)
        if len(header) > HEADER_BYTES:
            header = " ".join(keys.labels_only(list(tags.keys)))
        if not header or len(header) > HEADER_BYTES:
            self.complain("%s keys do not fit into a header; the page is not kept", len(tags.keys))
            return
        seconds = conf.seconds() if tags.seconds is None else tags.seconds
        response["Surrogate-Key"] = header
        response["Surrogate-Control"] = f"max-age={min(seconds, conf.MOST_SECONDS)}"

    def is_watched(self, tags: Tags) -> bool:
        """Whether the tables' triggers are there now: a restore, a rollback or another release may have taken them away."""
        epoch = view.epoch()
        watched = self._watched.get(epoch)
        if watched is None:
            try:
                watched = triggers.watched_tables(conf.database())
            except Error:
                return False
            if epoch is not None:  # whatever is done to a trigger begins another one
                self._watched = {epoch: watched}
        missing = tags.tables - watched
        if missing:
            self.complain("no triggers on %s, so pages that show it are not kept; run migrate", ", ".join(sorted(missing)))
        return not missing

    def complain(self, *message: object) -> None:
        now = time.monotonic()
        if now - self._complained > COMPLAIN_SECONDS:
            self._complained = now
            logger.warning(*message)


def may_follow_a_write(request: HttpRequest) -> bool:
    """Whether somebody asks who may just have written, by another process: what they wrote has to be there."""
    names = {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME}
    return request.method not in ("GET", "HEAD") or "Authorization" in request.headers or not names.isdisjoint(request.COOKIES)


def is_public(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether the response is the same for everybody, as far as can be seen from outside the view."""
    session = getattr(request, "session", None)
    directives = {one.partition("=")[0].lower() for one in cc_delim_re.split(response.get("Cache-Control", ""))}
    return (
        request.method in ("GET", "HEAD")
        and response.status_code == 200
        and not response.streaming
        and not response.cookies
        and not (session is not None and (session.accessed or session.modified))
        and "Authorization" not in request.headers
        and directives.isdisjoint({"private", "no-store"})
    )
