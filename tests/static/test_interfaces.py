"""Every role keeps the promises of its interface: spec, defaults, names and README agree."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT, load_yaml

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
#: Names that a role shares with others on purpose.
SHARED_PREFIXES = {"django_app": ("django_app_", "django_app"), "appliance": ("appliance_", "__appliance_")}


def spec_of(role):
    """All options of a role over its entry points."""
    entries = load_yaml(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    return {name: option for entry in entries.values() for name, option in (entry.get("options") or {}).items()}


def defaults_of(role):
    """A role's defaults, empty where it has none."""
    path = ROOT / "roles" / role / "defaults/main.yml"
    return (load_yaml(path) if path.exists() else None) or {}


@pytest.mark.parametrize("role", ROLES)
def test_role_has_a_readme_and_a_specification(role):
    """A newcomer opens these two first."""
    assert (ROOT / "roles" / role / "README.md").exists()
    assert spec_of(role)


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_specified_and_described(role):
    """A default that the specification does not know is neither typed nor documented."""
    spec = spec_of(role)
    public = [name for name in defaults_of(role) if not name.startswith("__")]
    if role == "appliance":  # what follows from the drawing is computed, not asked for
        public = [name for name in public if name in spec]
    unknown = [name for name in public if name not in spec]
    assert not unknown, f"in defaults/main.yml, not in argument_specs.yml: {unknown}"
    silent = [name for name, option in spec.items() if not option.get("description")]
    assert not silent, f"no description: {silent}"


@pytest.mark.parametrize("role", ROLES)
def test_specification_carries_no_second_copy_of_a_default(role):
    """Two copies drift apart."""
    copies = [name for name, option in spec_of(role).items() if "default" in option and name in defaults_of(role)]
    assert not copies


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_prefix_of_their_role(role):
    """Ansible has one namespace for all roles."""
    prefixes = SHARED_PREFIXES.get(role, (f"{role}_", f"__{role}_"))
    foreign = [name for name in {**spec_of(role), **defaults_of(role)} if not name.startswith(prefixes)]
    assert not foreign


@pytest.mark.parametrize("role", [role for role in ROLES if role not in ("appliance", "verify")])
def test_role_knows_no_group(role):
    """Groups are the drawing's; a role that reads them cannot be used in another drawing."""
    files = [
        path for kind in ("tasks", "templates", "defaults", "vars", "handlers") for path in (ROOT / "roles" / role / kind).rglob("*.*")
    ]
    guilty = [str(path.relative_to(ROOT)) for path in files if re.search(r"\b(groups|group_names|hostvars)\b\s*(\[|\.)", path.read_text())]
    assert not guilty
