def test_profile_is_saved(signed_in):
    answer = signed_in.post(
        "/account/profile/", {"first_name": "Ada", "last_name": "Byron", "email": "ada@example.test"}, follow=True
    )
    assert "Your profile has been saved." in answer.text
    assert "Hello, Ada" in answer.text
    assert "ada@example.test" in answer.text


def test_profile_changes_nothing_else(signed_in):
    """Fields that are not in the form are ignored, however they are sent."""
    signed_in.post("/account/profile/", {"email": "", "is_staff": "1", "is_superuser": "1", "username": "boss"})
    signed_in.user.refresh_from_db()
    assert (signed_in.user.username, signed_in.user.is_staff, signed_in.user.is_superuser) == ("ada", False, False)


def test_wrong_address_is_explained(signed_in):
    assert "Enter a valid email address" in signed_in.post("/account/profile/", {"email": "nowhere"}).text
