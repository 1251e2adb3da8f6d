import pytest


def test_request_id_of_the_gateway_comes_back(client):
    assert client.get("/healthz").headers["X-Request-ID"] == "test-request-1"


@pytest.mark.parametrize("given", ["", "short", "a" * 65, "evil\ninjected line", "<script>alert(1)</script>"])
def test_strange_request_id_is_replaced(client, given):
    """It is written to the journal and to a header."""
    answer = client.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"]
    assert answer != given
    assert len(answer) == 32


def test_log_lines_of_a_request_carry_its_id(client, caplog):
    from config.logging import RequestIdFilter

    caplog.handler.addFilter(RequestIdFilter())
    client.get("/no-such-page")
    assert [record.request_id for record in caplog.records] == ["test-request-1"]
