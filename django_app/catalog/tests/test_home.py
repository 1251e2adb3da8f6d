def test_home_shows_departments_and_new_products(client, make_product):
    make_product("Oak serving tray", category="Table")
    make_product("Brass ladle", category="Kitchen")
    text = client.get("/").text
    assert all(word in text for word in ("Table", "Kitchen", "1 product", "Oak serving tray", "Brass ladle"))


def test_home_of_an_empty_shop_says_how_to_fill_it(client, db):
    assert "seed_catalog" in client.get("/").text
