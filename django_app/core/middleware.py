from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from core.database_away import database_away_response, is_database_away
from core.request_id import choose_request_id, enter_request, leave_request


class RequestIdMiddleware:
    """Keep the gateway's X-Request-ID for the logs and send it back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        request_id = choose_request_id(request.headers.get("X-Request-ID", ""))
        request.id = request_id
        token = enter_request(request_id)
        try:
            response = self.get_response(request)
        finally:
            leave_request(token)
        response["X-Request-ID"] = request_id
        return response


class DatabaseAwayMiddleware:
    """Answer 503 to a view that could not reach the database. The 500 handler does so for other middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return database_away_response(request, exception) if is_database_away(exception) else None
