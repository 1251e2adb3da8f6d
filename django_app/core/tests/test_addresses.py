from django.urls import reverse
from django.urls.base import set_script_prefix

from core.addresses import address
from core.storage import StaticFilesStorage


def test_address_is_django_s_own():
    assert address("product", "oak-tray") == reverse("product", args=["oak-tray"]) == "/products/oak-tray/"


def test_remembered_address_follows_the_prefix_of_the_site():
    assert address("catalog") == "/catalog/"
    try:
        set_script_prefix("/shop/")
        assert address("catalog") == "/shop/catalog/"
    finally:
        set_script_prefix("/")
    assert address("catalog") == "/catalog/"


def test_static_address_is_remembered_until_files_are_collected_anew(tmp_path):
    storage = StaticFilesStorage(location=tmp_path, base_url="/static/")
    storage.hashed_files = {"site.css": "site.1.css"}
    assert storage.url("site.css") == "/static/site.1.css"
    storage.hashed_files = {"site.css": "site.2.css"}
    assert storage.url("site.css") == "/static/site.1.css"
    list(storage.post_process({}))
    storage.hashed_files = {"site.css": "site.2.css"}
    assert storage.url("site.css") == "/static/site.2.css"
