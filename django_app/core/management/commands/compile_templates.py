import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.template.utils import EngineHandler

from config import templating


class Command(BaseCommand):
    help = "Translate the pages' templates for TEMPLATE_ENGINE once, for a release that is being built."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        engine, folder = settings.TEMPLATE_ENGINE, settings.BASE_DIR / "templates"
        if engine == "django":
            self.stdout.write("Django's own templates are not translated: nothing to do.")
            return
        target = templating.compiled_folder(engine, folder)
        if not target.is_dir():
            target.parent.mkdir(exist_ok=True)
            # Renamed when complete, so that a command that was killed leaves nothing that is used.
            with tempfile.TemporaryDirectory(dir=target.parent) as parent:
                work = Path(parent) / "new"
                work.mkdir()
                compile_into(work, engine, folder)
                work.rename(target)
        self.stdout.write(f"{target}: {len(templating.template_names(engine, folder))} templates")


def compile_into(work: Path, engine: str, folder: Path) -> None:
    ours, *others = templating.templates(engine, folder)
    if engine == "mako":
        ours["OPTIONS"]["module_directory"] = str(work)
    backend = EngineHandler([ours, *others])[engine]
    if engine == "jinja2":
        from jinja2 import FileSystemBytecodeCache

        backend.env.bytecode_cache = FileSystemBytecodeCache(str(work))
    for name in templating.template_names(engine, folder):
        backend.get_template(name)
