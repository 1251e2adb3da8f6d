import pytest
from django.template import TemplateDoesNotExist, TemplateSyntaxError
from django.test import RequestFactory
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe

from core.mako_backend import MakoTemplates


@pytest.fixture
def mako(tmp_path):
    """Makes an engine with the given templates."""

    (tmp_path / "secret.html").write_text("not below the folder of templates")
    folder = tmp_path / "templates"
    folder.mkdir()

    def make(*, options=(), **templates):
        for name, text in templates.items():
            (folder / f"{name}.html").write_text(text)
        processors = {"context_processors": ["django.template.context_processors.static"]}
        return MakoTemplates(
            {"NAME": "mako", "DIRS": [folder], "APP_DIRS": False, "OPTIONS": processors | dict(options)}
        )

    return make


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<b>\"'&", "&lt;b&gt;&#34;&#39;&amp;"),
        (lazystr("<b>"), "&lt;b&gt;"),
        (mark_safe("<b>"), "<b>"),
        (1234.5, "1234.5"),
        (None, "None"),
    ],
)
def test_what_is_not_marked_as_safe_is_escaped(mako, value, shown):
    assert mako(page="${value}").get_template("page.html").render({"value": value}) == shown


def test_escaping_reaches_blocks_functions_and_parents(mako):
    engine = mako(
        parent="<p>${value}</p><%block name='content'/>${self.body()}",
        page="<%inherit file='/parent.html'/><%block name='content'>${value}</%block>"
        "<%def name='function()'>${value}</%def>${function()}",
    )
    assert engine.get_template("page.html").render({"value": "<"}) == "<p>&lt;</p>&lt;&lt;"


def test_request_brings_its_token_and_what_context_processors_add(mako):
    template = mako(page="${request.path} ${csrf_input} ${csrf_token} ${STATIC_URL}").get_template("page.html")
    text = template.render({}, RequestFactory().get("/here"))
    assert text.startswith('/here <input type="hidden" name="csrfmiddlewaretoken" value="')
    assert text.endswith(" /static/")


def test_context_of_the_view_is_not_changed(mako):
    context = {"value": 1}
    mako(page="${value}").get_template("page.html").render(context, RequestFactory().get("/"))
    assert context == {"value": 1}


@pytest.mark.parametrize("name", ["other.html", "../secret.html", "/etc/passwd"])
def test_missing_template_lets_django_ask_the_next_engine(mako, name):
    with pytest.raises(TemplateDoesNotExist) as caught:
        mako(page="").get_template(name)
    assert caught.value.backend.name == "mako"


@pytest.mark.parametrize("text", ["<%include file='/other.html'/>", "<%inherit file='/other.html'/>"])
def test_missing_part_is_told_as_missing(mako, text):
    with pytest.raises(TemplateDoesNotExist, match=r"other\.html"):
        mako(page=text).get_template("page.html").render()


@pytest.mark.parametrize("text", ["line one\n% if value:\n", "line one\n${value +}\n", "line one\n<%nothing/>"])
def test_wrong_syntax_is_told_with_its_place(mako, text):
    with pytest.raises(TemplateSyntaxError) as caught:
        mako(page=text).get_template("page.html")
    place = caught.value.template_debug
    assert place["name"].endswith("page.html")
    assert place["line"] in (2, 3)
    assert (1, "line one") in place["source_lines"]


def test_fault_within_a_template_is_itself(mako):
    with pytest.raises(ZeroDivisionError):
        mako(page="${1 / 0}").get_template("page.html").render()


def test_name_that_the_view_did_not_pass_is_an_error(mako):
    with pytest.raises(NameError, match="value"):
        mako(page="${value}").get_template("page.html").render()


def test_options_of_mako_may_be_given(mako):
    engine = mako(page="${value}", options={"default_filters": ["str"]})
    assert engine.get_template("page.html").render({"value": "<"}) == "<"


def test_text_can_be_rendered_too(mako):
    assert mako(page="${value}").from_string("<%include file='/page.html'/>!").render({"value": "<"}) == "&lt;!"
