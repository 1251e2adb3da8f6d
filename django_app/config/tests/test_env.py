import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env


def test_every_missing_variable_is_named_at_once():
    """One start, one list: nobody should have to find them one by one."""
    environment = env.Environment({"EMPTY": " "})
    for name in ("FIRST", "EMPTY", "THIRD"):
        environment.required(name)
    with pytest.raises(ImproperlyConfigured, match=r"FIRST is missing.*EMPTY is missing.*THIRD is missing"):
        environment.check()


def test_file_variable_gives_the_value(tmp_path):
    (tmp_path / "key").write_text("from the file\n")
    environment = env.Environment({"KEY_FILE": str(tmp_path / "key"), "KEY": "ignored"})
    assert environment.required("KEY") == "from the file"
    environment.check()


def test_unreadable_file_is_named(tmp_path):
    environment = env.Environment({"KEY_FILE": str(tmp_path / "absent")})
    environment.required("KEY")
    with pytest.raises(ImproperlyConfigured, match=r"KEY_FILE=.*absent cannot be read \(FileNotFoundError\)"):
        environment.check()


@pytest.mark.parametrize(
    ("parse", "value", "complaint"),
    [
        (env.secret_key, "short", "at least 50"),
        (env.secret_key, "a" * 60, "at least 50"),
        (env.host_names, "shop.example.test,*", "any Host"),
        (env.absolute_path, "static", "absolute path"),
        (env.boolean, "perhaps", "true or false"),
        (env.one_of("django"), "jinja2", "one of: django"),
    ],
)
def test_bad_value_is_refused_without_repeating_it(parse, value, complaint):
    """The message lands in the journal, where a secret has no place."""
    environment = env.Environment({"NAME": value})
    environment.required("NAME", parse)
    with pytest.raises(ImproperlyConfigured, match=f"NAME .*{complaint}") as caught:
        environment.check()
    assert f"{value!r}" not in str(caught.value)


def test_optional_variable_falls_back():
    assert env.Environment({}).optional("DEBUG", False, env.boolean) is False
