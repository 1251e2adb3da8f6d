from datetime import UTC, datetime

import pytest

from core.template_functions import attribute, date, linebreaks


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (False, ""),
        ("", ""),
        (True, " name"),
        ("page", ' name="page"'),
        ('"<', ' name="&quot;&lt;"'),
        (1, ' name="1"'),
    ],
)
def test_attribute_is_there_or_not_and_escaped(value, shown):
    assert attribute("name", value) == shown


def test_date_is_local(settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    assert date(datetime(2026, 1, 31, 20, tzinfo=UTC), "j F Y") == "1 February 2026"


def test_line_breaks_are_shown_and_the_rest_escaped():
    assert linebreaks("<b>\na\n\nb") == "<p>&lt;b&gt;<br>a</p>\n\n<p>b</p>"


def test_attribute_tells_one_from_true():
    assert attribute("name", True) == " name"
    assert attribute("name", 1) == ' name="1"'
