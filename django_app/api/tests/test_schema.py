from django.core.management import call_command


def test_schema_is_valid_openapi_without_a_warning():
    call_command("spectacular", validate=True, fail_on_warn=True, file="/dev/null")


def test_schema_is_served(client):
    answer = client.get("/api/schema/?format=json")
    assert answer.status_code == 200
    assert "/api/products/{slug}/reviews/" in answer.json()["paths"]


def test_docs_page_lists_each_operation(client):
    text = client.get("/api/docs/").text
    assert text.count('class="method"') == 6
    assert "/api/products/{slug}/reviews/" in text


def test_root_leads_to_the_rest(client):
    assert client.get("/api/").json()["products"] == "https://shop.example.test/api/products/"
