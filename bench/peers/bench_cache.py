# {{ ansible_managed }}
"""Django's own page cache for the stock peers, which requests with the cookie `bench` pass by."""

from django.middleware.cache import FetchFromCacheMiddleware, UpdateCacheMiddleware

Update = UpdateCacheMiddleware


class Fetch(FetchFromCacheMiddleware):
    def process_request(self, request):
        if "bench" in request.COOKIES:
            request._cache_update_cache = False
            return None
        return super().process_request(request)
