"""Mako as a template engine of Django: `render()`, error pages, forms and context processors work as with Django's own.

`OPTIONS` are those of `mako.lookup.TemplateLookup`, and `context_processors`. Unless told otherwise, every `${…}` is
escaped unless marked as safe, and a name that the view did not pass is an error.

A view's context cannot use the names that belong to Mako (`next`, `self`, `parent`, `local`, `loop`, `context`), nor
a template's own blocks and functions: those win.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.template.backends.base import BaseEngine
from django.template.backends.utils import csrf_input_lazy, csrf_token_lazy
from django.utils.functional import cached_property
from django.utils.module_loading import import_string
from mako import exceptions
from mako.lookup import TemplateLookup
from mako.template import Template as MakoTemplate

# markupsafe's `escape` leaves alone what has `__html__`: Django's SafeString, forms, fields and lists of errors.
ESCAPE = "from markupsafe import escape"


class MakoTemplates(BaseEngine):
    app_dirname = "mako"

    def __init__(self, params: dict[str, Any]) -> None:
        params = params.copy()
        options = params.pop("OPTIONS").copy()
        super().__init__(params)
        self.context_processors = options.pop("context_processors", [])
        if "default_filters" not in options:
            options["default_filters"] = ["escape"]
            options["imports"] = [ESCAPE, *options.get("imports", [])]
        options.setdefault("strict_undefined", True)
        options.setdefault("filesystem_checks", settings.DEBUG)
        options.setdefault("input_encoding", "utf-8")
        self.lookup = TemplateLookup([str(folder) for folder in self.template_dirs], **options)

    @cached_property
    def template_context_processors(self) -> list[Any]:
        return [import_string(path) for path in self.context_processors]

    def from_string(self, template_code: str) -> "Template":
        options = {**self.lookup.template_args, "module_directory": None}
        with _django_errors(self):
            template = MakoTemplate(template_code, lookup=self.lookup, **options)  # noqa: S702  # escapes, see above
            return Template(template, self)

    def get_template(self, template_name: str) -> "Template":
        # The same name that templates have for each other, so that each is loaded once.
        with _django_errors(self):
            return Template(self.lookup.get_template(f"/{template_name}"), self)


class Template:
    def __init__(self, template: MakoTemplate, backend: MakoTemplates) -> None:
        self.template = template
        self.backend = backend
        self.origin = Origin(template.filename, template.uri)

    def render(self, context: dict[str, Any] | None = None, request: HttpRequest | None = None) -> str:
        names = dict(context or {})
        if request is not None:
            names |= {
                "request": request,
                "csrf_input": csrf_input_lazy(request),
                "csrf_token": csrf_token_lazy(request),
            }
            for processor in self.backend.template_context_processors:
                names.update(processor(request))
        with _django_errors(self.backend):  # a template may include or inherit another one
            return self.template.render_unicode(**names)


class Origin:
    """Where a template came from, for the page that DEBUG shows."""

    def __init__(self, name: str | None, template_name: str) -> None:
        self.name = name
        self.template_name = template_name


class _django_errors:  # noqa: N801
    """Mako's errors as those that Django looks out for: it then asks the next engine, or shows the place."""

    def __init__(self, backend: MakoTemplates) -> None:
        self.backend = backend

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, exceptions.TemplateLookupException):
            raise TemplateDoesNotExist(str(error), backend=self.backend) from error
        if isinstance(error, exceptions.SyntaxException | exceptions.CompileException):
            wrong = TemplateSyntaxError(str(error))
            wrong.template_debug = _place(error)
            raise wrong from error


def _place(error: exceptions.SyntaxException | exceptions.CompileException) -> dict[str, Any]:
    lines = list(enumerate((error.source or "").splitlines(), start=1))
    first, last = max(0, error.lineno - 11), error.lineno + 10
    return {
        "name": error.filename,
        "message": str(error),
        "source_lines": lines[first:last],
        "line": error.lineno,
        "before": "",
        "during": dict(lines).get(error.lineno, ""),
        "after": "",
        "total": len(lines),
        "top": first,
        "bottom": min(last, len(lines)),
    }
