from urllib.parse import quote

import pytest


@pytest.fixture
def shelf(make_product):
    make_product("Oak serving tray", description="Carries breakfast.")
    make_product("Oak ladle", description="Pours soup.")
    make_product("Brass lamp", description="Shines on an oak table.")


def found(client, query):
    return [product.name for product in client.get(f"/search/?q={quote(query)}").context["page"]]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("oak", ["Oak ladle", "Oak serving tray", "Brass lamp"]),
        ("tray -ladle", ["Oak serving tray"]),
        ("oak -tray -lamp", ["Oak ladle"]),
        ('"serving tray"', ["Oak serving tray"]),
        ('"tray serving"', []),
        ("lamps", ["Brass lamp"]),
        ("serv", ["Oak serving tray"]),
        ("T-002", ["Oak ladle"]),
        ("nothing like it", []),
        ("", []),
    ],
)
def test_search_finds(client, shelf, query, names):
    """The name weighs more than the description; a word that is still being typed counts."""
    assert found(client, query) == names


@pytest.mark.parametrize(
    "query",
    [
        "'",
        '"',
        "''",
        '"""',
        "\\",
        "%",
        "_",
        "%%",
        "a' OR 1=1 --",
        "&|!():*",
        "<script>",
        "-",
        "- -",
        "💡",
        "\x00",
        "a\x00b",
        "x" * 101,
        "\ud800",
    ],
)
def test_odd_characters_are_safe(client, shelf, query):
    answer = client.get("/search/", {"q": query.encode("utf-8", "surrogatepass")})
    assert answer.status_code == 200
    assert "<script>" not in answer.text


def test_percent_sign_is_a_character_and_no_wildcard(client, shelf):
    assert found(client, "%") == []


def test_broken_encoding_is_safe(client, shelf):
    assert client.get("/search/?q=%ff%fe%80").status_code == 200


def test_query_is_shown_in_the_box_again(client, shelf):
    assert 'value="&quot;serving tray&quot;"' in client.get("/search/?q=%22serving+tray%22").text
