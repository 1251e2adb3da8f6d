from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway_cache.pages import purge, purge_everything


class Command(BaseCommand):
    help = "Drop cached pages (and query results) in all gateways: by app.Model, by app.Model:PK, by a word of the project's own, or all."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", nargs="*", help="catalog.Product, catalog.Product:12, or a word")
        parser.add_argument("--all", action="store_true", help="everything")

    def handle(self, *, what: list[str], all: bool, **options: Any) -> None:
        if bool(what) == all:
            raise CommandError("name what is to be purged, or give --all")
        if all:
            purge_everything()
            return
        purge(*(self._thing(one) for one in what))

    def _thing(self, text: str) -> Any:
        name, _, pk = text.partition(":")
        if name.count(".") != 1:
            return text
        try:
            model = apps.get_model(name)
        except LookupError as error:
            raise CommandError(str(error)) from None
        if not pk:
            return model
        thing = model._base_manager.filter(pk=pk).first()
        if thing is None:
            raise CommandError(f"there is no {name} with the primary key {pk}")
        return thing
