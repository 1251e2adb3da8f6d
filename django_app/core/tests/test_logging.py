import logging
import sys

import pytest

from config.logging import OneLineFormatter


@pytest.fixture
def render(monkeypatch):
    def make(message, *, journald=False, error=None):
        monkeypatch.setenv("JOURNAL_STREAM", "8:1") if journald else monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        exc_info = None
        if error:
            try:
                raise error
            except Exception:
                exc_info = sys.exc_info()
        record = logging.LogRecord("shop", logging.ERROR, __file__, 1, message, (), exc_info)
        return OneLineFormatter("{levelname} {message}", style="{").format(record)

    return make


def test_a_line_break_in_a_message_starts_no_new_line(render):
    """Otherwise a visitor could write log lines of his own."""
    assert render("Not Found: /a\nERROR forged\r") == r"ERROR Not Found: /a\nERROR forged\r"


def test_an_exception_is_one_line_without_the_values_of_the_row(render):
    line = render("failed", error=ValueError("null in column\nDETAIL: Failing row contains (ada@example.test)"))
    assert "ValueError: null in column [" in line
    assert "ada@example.test" not in line
    assert len(line.splitlines()) == 1


def test_journald_is_told_the_priority(render):
    assert render("failed", journald=True) == "<3>ERROR failed"
