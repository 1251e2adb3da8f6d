import pytest

PATH = "/account/login/"
RIGHT = {"username": "ada", "password": "correct horse battery"}


@pytest.fixture(autouse=True)
def ada(make_user):
    return make_user("ada")


def test_signing_in_leads_to_the_account(client):
    answer = client.post(PATH, RIGHT)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/account/")
    cookie = answer.cookies["sessionid"]
    assert cookie["secure"]
    assert cookie["httponly"]


def test_signing_in_leads_back_to_where_one_wanted_to_go(client):
    assert client.post(PATH, RIGHT | {"next": "/status/"}).headers["Location"] == "/status/"


def test_no_way_to_another_site(client):
    assert client.post(PATH, RIGHT | {"next": "https://evil.example/"}).headers["Location"] == "/account/"


def test_wrong_password_is_refused(client):
    answer = client.post(PATH, RIGHT | {"password": "wrong"})
    assert "Please enter a correct username" in answer.text
    assert "sessionid" not in answer.cookies


def test_guessing_is_slowed_down(client):
    for _ in range(10):
        client.post(PATH, RIGHT | {"password": "wrong"})
    assert "Too many attempts" in client.post(PATH, RIGHT).text


def test_guessing_from_one_address_locks_out_nobody_else(client):
    for _ in range(10):
        client.post(PATH, RIGHT | {"password": "wrong"})
    assert client.post(PATH, RIGHT, headers={"X-Forwarded-For": "203.0.113.8"}).status_code == 302


def test_signing_out_needs_a_click_and_ends_the_session(client, ada):
    client.force_login(ada)
    assert client.get("/account/logout/").status_code == 405
    assert client.post("/account/logout/").status_code == 302
    assert client.get("/account/").status_code == 302
