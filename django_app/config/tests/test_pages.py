"""Every page, in every template engine: the same document, and nothing that somebody typed is part of its markup."""

from dataclasses import dataclass, field
from unittest.mock import Mock
from urllib.parse import quote, urlencode

import pytest
from django import forms
from django.conf import settings as project
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection, models
from django.template import engines
from django.test.utils import CaptureQueriesContext
from django.urls import URLResolver, get_resolver, resolve
from django.urls.exceptions import Resolver404
from jinja2 import UndefinedError

from accounts.forms import NewPasswordForm, ProfileForm, SignInForm
from accounts.models import User
from catalog import selectors
from catalog.forms import PhotoForm, ReviewForm
from catalog.models import Category, Photo, Product, Review
from config import templating
from config.tests.documents import Document

FOLDER = project.BASE_DIR / "templates"


@dataclass(frozen=True)
class Visit:
    path: str
    who: str = ""  # signed in as: ada, or boss (staff)
    posted: dict[str, str] | None = None
    stock: int = 60  # products on the shelves
    fault: Exception | None = None  # raised where the page reads its rows
    headers: dict[str, str] = field(default_factory=dict)
    csrf_checks: bool = False
    status: int = 200

    def __str__(self) -> str:
        parts = [self.path, self.who, "" if self.stock else "empty", "" if self.posted is None else "posted"]
        return " ".join(part for part in parts if part) + ("" if self.status == 200 else f" {self.status}")


PUBLIC = [
    Visit("/"),
    Visit("/", stock=0),
    Visit("/catalog/"),
    Visit("/catalog/?page=2&sort=-price"),
    Visit("/catalog/", stock=0),
    Visit("/catalog/", stock=500),
    Visit("/catalog/?page=6", stock=500),
    Visit("/catalog/table/"),
    Visit("/catalog/kitchen/?sort=rating"),
    Visit("/search/"),
    Visit("/search/?q=bowl"),
    Visit("/search/?q=bowl&page=2"),
    Visit("/search/?q=nothing"),
    Visit("/search/?q=" + "x" * 101),
    Visit("/products/bowl-0/"),
    Visit("/products/bowl-1/"),
    Visit("/products/bowl-2/"),
    Visit("/products/bowl-3/"),
    Visit("/products/bowl-0/", stock=1),
    Visit("/api/docs/"),
]
PERSONAL = [
    Visit("/products/bowl-0/review/"),
    Visit("/products/bowl-0/review/", who="ada"),
    Visit("/products/bowl-0/review/", posted={}),
    Visit("/products/bowl-0/review/", posted={"rating": "4", "name": "", "text": "Fine.\nWell."}),
    Visit("/products/bowl-0/review/", posted={"rating": "9", "name": "x" * 61, "text": ""}),
    Visit("/products/bowl-0/photo/", who="ada"),
    Visit("/products/bowl-0/photo/", who="ada", posted={"caption": "With tea"}),
    Visit("/account/", who="ada"),
    Visit("/account/", who="boss"),
    Visit("/account/profile/", who="ada"),
    Visit("/account/profile/", who="ada", posted={"first_name": "Ada", "email": "nowhere"}),
    Visit("/account/password/", who="ada"),
    Visit("/account/password/", who="ada", posted={"old_password": "a", "new_password1": "b", "new_password2": "c"}),
    Visit("/account/login/?next=/status/"),
    Visit("/account/login/", posted={}),
    Visit("/account/login/", posted={"username": "ada", "password": "wrong", "next": "/status/"}),
    Visit("/status/", who="boss"),
]
ERRORS = [
    Visit("/", headers={"Host": "evil.example"}, status=400),
    Visit("/status/", who="ada", status=403),
    Visit("/products/bowl-0/review/", posted={}, csrf_checks=True, status=403),
    Visit("/no-such-page", status=404),
    Visit("/products/nothing/", who="ada", status=404),
    Visit("/catalog/", fault=RuntimeError("inner detail"), status=500),
    Visit("/catalog/", fault=OperationalError("connection refused"), status=503),
]
VISITS = [*PUBLIC, *PERSONAL, *ERRORS]

NO_PAGES = {
    *("healthz", "readyz", "robots.txt", "favicon.ico", "account/logout/", "api/", "api/schema/", "api/categories/"),
    *("api/products/", "api/products/<slug:slug>/", "api/products/<slug:slug>/reviews/"),
}


class Invalid(str):
    """What Django's engine is to show in place of a variable that is not there: nothing, it fails."""

    __slots__ = ()

    def __contains__(self, text):
        return True

    def __mod__(self, name):
        raise AssertionError(f"no such variable: {name}")


@pytest.fixture
def use_engine(settings):
    def use(engine, **options):
        chosen = templating.templates(engine, FOLDER)
        if engine == "django":
            options.setdefault("string_if_invalid", Invalid("%s"))
        chosen[0]["OPTIONS"] = chosen[0]["OPTIONS"] | options
        settings.TEMPLATES = chosen

    return use


@pytest.fixture
def fill(make_user):
    """Puts rows into the database; texts are made by `say`, which is told the field."""

    def fill(stock=60, say=lambda one: ""):
        def texts(model):
            return {one.name: said for one in text_fields(model) if (said := say(one))}

        people = {name: make_user(name, is_staff=name == "boss") for name in ("ada", "boss")}
        if texts(User):
            User.objects.filter(username="ada").update(**texts(User))
            people["ada"].refresh_from_db()
        if not stock:
            return people
        table, _ = [
            Category.objects.create(
                slug=slug, position=position, **{"name": slug.title(), "description": "Things."} | texts
            )
            for position, (slug, texts) in enumerate([("table", texts(Category)), ("kitchen", {})])
        ]
        plain = {"name": "Bowl", "summary": "For two.", "description": "Turned.\n\nOiled by hand.", "price": "64.90"}
        rows = [
            {"stock": 12, "material": "Oak", "dimensions": "46 cm"} | texts(Product),
            {"stock": 5, "description": "One & <two>"},
            {"stock": 0, "price": "1234.50"},
            *({"stock": 1} for _ in range(3, stock)),
        ][:stock]
        products = Product.objects.bulk_create(
            Product(**{"category": table, "slug": f"bowl-{number}", "sku": f"T-{number}"} | plain | row)
            for number, row in enumerate(rows)
        )
        words = {"name": "Ada", "text": "Carries well.\nIndeed."} | texts(Review)
        reviews = [
            Review(product=products[0], author=people["ada"], rating=4, **words),
            Review(product=products[0], author=people["ada"], rating=1, is_published=False, **words),
            *(Review(product=product, rating=5, **words) for product in products[1:2]),
            *(Review(product=product, rating=stars, **words) for product in products[3:4] for stars in [1, 2, 5] * 11),
        ]
        Review.objects.bulk_create(reviews)
        picture = {"image": "photos/a.jpg", "caption": "With coffee", "width": 400, "height": 300} | texts(Photo)
        Photo.objects.bulk_create([Photo(product=products[0], uploaded_by=people["ada"], **picture) for _ in range(2)])
        return people

    return fill


@pytest.fixture
def go(new_client, monkeypatch):
    def go(visit, people):
        client = new_client(enforce_csrf_checks=visit.csrf_checks, raise_request_exception=not visit.fault)
        if visit.who:
            client.force_login(people[visit.who])
        cache.clear()
        with monkeypatch.context() as patch:
            if visit.fault:
                patch.setattr(selectors, "products", Mock(side_effect=visit.fault))
            if visit.posted is None:
                return client.get(visit.path, headers=visit.headers)
            return client.post(visit.path, visit.posted, headers=visit.headers)

    return go


def text_fields(model: type[models.Model]) -> list[models.Field]:
    """Those that hold whatever somebody typed. A slug holds letters, digits and hyphens only, or has no address."""
    return [
        one
        for one in model._meta.get_fields()
        if isinstance(one, models.CharField | models.TextField | models.FileField)
        and not isinstance(one, models.SlugField)
        and not one.choices
        and one.name != "password"
    ]


def routes(patterns, prefix=""):
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if not isinstance(pattern, URLResolver):
            yield route
        elif pattern.app_name != "admin":
            yield from routes(pattern.url_patterns, route)


def test_no_page_is_forgotten():
    visited = set()
    for visit in VISITS:
        try:
            visited.add(resolve(visit.path.partition("?")[0]).route)
        except Resolver404:
            assert visit.status == 404
    assert visited.isdisjoint(NO_PAGES)
    assert visited | NO_PAGES == set(routes(get_resolver().url_patterns))


def test_each_template_has_its_twins():
    django, *others = (templating.template_names(engine, FOLDER) for engine in templating.ENGINES)
    assert len(django) > 20
    assert all(names == django for names in others)


@pytest.mark.parametrize("visit", VISITS, ids=str)
def test_page_is_the_same_in_every_engine(use_engine, fill, go, visit):
    people, seen = fill(visit.stock), {}
    for engine in templating.ENGINES:
        use_engine(engine)
        with CaptureQueriesContext(connection) as queries:
            answer = go(visit, people)
        assert answer.status_code == visit.status
        seen[engine] = {
            "document": Document(answer.text).parts,
            "cookies": sorted(answer.cookies),
            "vary": answer.get("Vary"),
            "queries": len(queries),
        }
    for engine in templating.ENGINES[1:]:
        for what, value in seen["django"].items():
            assert seen[engine][what] == value


@pytest.mark.parametrize("engine", templating.ENGINES)
def test_public_page_leaves_the_session_alone(use_engine, fill, go, engine):
    """A gateway keeps these for everybody."""
    people = fill()
    use_engine(engine)
    for visit in PUBLIC:
        answer = go(Visit(visit.path, who="ada"), people)
        assert not answer.cookies, visit
        assert "Cookie" not in answer.get("Vary", ""), visit


@pytest.mark.parametrize("engine", templating.ENGINES)
def test_visits_show_every_template(use_engine, fill, go, engine):
    """Else a page could differ, and no test above would see it."""
    people = fill()
    use_engine(engine)
    for visit in VISITS:
        go(visit, people)
    assert loaded(engines[engine]) >= set(templating.template_names(engine, FOLDER))


def loaded(backend):
    if backend.name == "jinja2":
        return {name for _, name in backend.env.cache}
    if backend.name == "mako":
        return {uri.lstrip("/") for uri in backend.lookup._collection}
    return {
        template.origin.template_name for template in backend.engine.template_loaders[0].get_template_cache.values()
    }


# What somebody typed

MODELS = (Photo, Review, Product, Category, User)  # in an order in which they can be deleted
NUMBERS = {one: number for number, one in enumerate(one for model in MODELS for one in text_fields(model))}
PLAIN = "{:02} is plain"
HOSTILE = """{:02}"'><img src=x>"""


def typed(text):
    """Visits on which `text` comes from the visitor, and from rows that visitors wrote."""
    other = text.format(99)

    def posted(form, **others):
        return {name: other for name, one in form.base_fields.items() if isinstance(one, forms.CharField)} | others

    upload = SimpleUploadedFile(other, b"no picture")
    return [
        *(Visit(path) for path in ("/", "/catalog/", "/catalog/table/", "/products/bowl-0/", "/products/bowl-3/")),
        *(Visit(f"/products/bowl-0/{page}/", who="ada") for page in ("review", "photo")),
        *(Visit(f"/account/{page}", who="ada") for page in ("", "profile/", "password/")),
        Visit("/search/?" + urlencode({"q": text.format(NUMBERS[Product._meta.get_field("name")])})),
        Visit("/search/?" + urlencode({"q": other + "x" * 100})),
        Visit("/search/?" + urlencode({"q": "bowl", "page": "2", "other": other, other: "x"})),
        Visit("/catalog/?" + urlencode({"sort": other, "page": other, other: other})),
        Visit("/products/bowl-0/review/", posted=posted(ReviewForm, rating=other)),
        Visit("/products/bowl-0/photo/", who="ada", posted=posted(PhotoForm, image=upload)),
        Visit("/account/profile/", who="ada", posted=posted(ProfileForm)),
        Visit("/account/password/", who="ada", posted=posted(NewPasswordForm)),
        Visit("/account/login/", posted=posted(SignInForm, next=other)),
        Visit("/account/login/?" + urlencode({"next": "/" + other})),
        Visit("/status/", who="boss", headers={"X-Forwarded-For": other, "Via": other}),
        Visit("/" + quote(other), status=404),
    ]


def check_inert(fill, go):
    """Visit all with hostile and with plain texts: both give the same tags and attributes, and show what was typed."""
    pages = {}
    for text in (HOSTILE, PLAIN):
        for model in MODELS:
            model.objects.all().delete()
        people, pages[text] = fill(50, lambda one: text.format(NUMBERS[one])), []  # noqa: B023
        for visit in typed(text):
            answer = go(visit, people)
            assert "<img src=x" not in answer.text, f"a visitor's markup on {visit}"
            pages[text].append(Document(answer.text))
    for visit, plain, hostile in zip(typed(PLAIN), pages[PLAIN], pages[HOSTILE], strict=True):
        assert hostile.structure == plain.structure, visit
    shown = {
        text: {str(one) for one, number in NUMBERS.items() if any(text.format(number) in page.words for page in some)}
        for text, some in pages.items()
    }
    assert shown[HOSTILE] == shown[PLAIN]
    return shown[HOSTILE]


@pytest.mark.parametrize("engine", templating.ENGINES)
def test_what_somebody_typed_is_shown_and_inert(use_engine, fill, go, engine):
    use_engine(engine)
    # A file's name is shown as an address only.
    assert check_inert(fill, go) == {str(one) for one in NUMBERS} - {"catalog.Photo.image"}


@pytest.mark.parametrize(
    ("engine", "options"),
    [("django", {"autoescape": False}), ("jinja2", {"autoescape": False}), ("mako", {"default_filters": ["str"]})],
)
def test_engine_that_escapes_nothing_is_noticed(use_engine, fill, go, engine, options):
    use_engine(engine, **options)
    with pytest.raises(AssertionError, match="a visitor's markup"):
        check_inert(fill, go)


@pytest.mark.parametrize("name", ["nothing", "product.nothing"])
@pytest.mark.parametrize("engine", templating.ENGINES)
def test_name_that_does_not_exist_is_an_error(use_engine, engine, name):
    """On the site with Jinja2 and Mako; with Django's engine, which knows no such thing, in these tests."""
    use_engine(engine)
    template = engines[engine].from_string(f"${{{name}}}" if engine == "mako" else f"{{{{ {name} }}}}")
    with pytest.raises((UndefinedError, NameError, AttributeError, AssertionError), match="nothing"):
        template.render({"product": Product()})
