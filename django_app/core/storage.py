from functools import cache

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class StaticFilesStorage(ManifestStaticFilesStorage):
    """Remembers each file's address: a release's files do not change, and a list shows one picture many times."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.url = cache(self.url)

    def post_process(self, *args, **kwargs):
        yield from super().post_process(*args, **kwargs)
        self.url.cache_clear()
