import pytest

from catalog import selectors


def test_missing_page_is_in_style_and_404(client):
    answer = client.get("/no-such-page")
    assert answer.status_code == 404
    assert "This page does not exist" in answer.text


def test_fault_is_in_style_and_500(new_client, monkeypatch):
    def fail(**arguments):
        raise RuntimeError("inner detail")

    monkeypatch.setattr(selectors, "products", fail)
    client = new_client(raise_request_exception=False)
    answer = client.get("/catalog/")
    assert answer.status_code == 500
    assert "Something went wrong" in answer.text
    assert "inner detail" not in answer.text


def test_foreign_host_is_refused(client):
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 400


def test_plain_http_is_sent_to_https(client):
    answer = client.get("/catalog/", headers={"X-Forwarded-Proto": "http"})
    assert (answer.status_code, answer.headers["Location"]) == (301, "https://shop.example.test/catalog/")


@pytest.mark.parametrize("path", ["/", "/admin/login/", "/no-such-page", "/api/", "/api/docs/"])
def test_answer_states_the_content_security_policy(client, db, path):
    assert "default-src 'self'" in client.get(path).headers["Content-Security-Policy"]


def test_files_at_fixed_addresses(client):
    assert "Disallow: /account/" in client.get("/robots.txt").text
    assert client.get("/favicon.ico").headers["Location"].startswith("/static/img/favicon.")


@pytest.mark.parametrize(
    "path", ["/", "/catalog/", "/products/oak-serving-tray/", "/search/?q=oak", "/account/login/", "/api/docs/"]
)
def test_page_allows_a_strict_content_security_policy(client, product, path):
    """No inline script or style, nothing loaded from another host."""
    text = client.get(path).text
    assert "<script" not in text
    assert "<style" not in text
    assert " style=" not in text
    assert " on" + "click=" not in text
    assert 'src="http' not in text
    assert 'src="//' not in text
