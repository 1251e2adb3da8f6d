PATH = "/account/password/"


def test_password_is_changed_and_the_session_kept(signed_in):
    new = "a much longer sentence 7"
    answer = signed_in.post(
        PATH, {"old_password": "correct horse battery", "new_password1": new, "new_password2": new}, follow=True
    )
    assert "Your password has been changed." in answer.text
    signed_in.user.refresh_from_db()
    assert signed_in.user.check_password(new)


def test_weak_password_is_refused(signed_in):
    data = {"old_password": "correct horse battery", "new_password1": "12345678", "new_password2": "12345678"}
    assert "too common" in signed_in.post(PATH, data).text
