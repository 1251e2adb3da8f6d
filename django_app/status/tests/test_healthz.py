def test_healthz_asks_nobody(client, django_assert_num_queries, db):
    """A restart of the server would not bring a lost database back."""
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert "no-store" in answer.headers["Cache-Control"]
