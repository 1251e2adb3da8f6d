"""What somebody new does: clone, one command, the line that it prints."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from site_in_lab import ROOT, changes


def run(command, folder, **options):
    """Run a shell command as typed in a folder; its output, standard error included."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE", "MOLECULE", "VIRTUAL_ENV"))}
    environment |= {"ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=900,
        **options,
    )


@pytest.fixture(scope="module")
def clones(tmp_path_factory):
    """Two clones; in the first, the site has been raised. Output of that, and the folders."""
    folders = [tmp_path_factory.mktemp("clone") / name for name in ("first", "second")]
    for folder in folders:
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    done = run("make up", folders[0])
    yield done, *folders
    run("make down", folders[0])


def test_make_up_raises_and_proves_the_site(clones):
    """One command; the proof is part of it."""
    done = clones[0]
    assert done.returncode == 0, done.stdout[-4000:]
    assert "checks, all well" in done.stdout


def test_printed_line_works_as_pasted(clones):
    """Products come from the database on the other machine."""
    done, first, _ = clones
    line = re.search(r"^\s*(curl .*)$", done.stdout, re.MULTILINE)[1]
    assert "/products/" in run(line, first).stdout


def test_printed_password_file_is_there(clones):
    """Only its owner may read it."""
    done, first, _ = clones
    file = first / re.search(r"administrator: (\S+)", done.stdout)[1]
    assert file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600


def test_second_clone_without_the_secrets_changes_nothing(clones):
    """It would lock everybody out of the database."""
    _, first, second = clones
    command = f"{first}/.venv/bin/ansible-playbook -i inventories/monolith -i {first}/.lab/monolith/inventory site.yml"
    done = run(command, second)
    assert done.returncode != 0
    assert set(changes(done).values()) == {0}
    assert "was set up with secrets that are not here" in " ".join(done.stdout.split())
    assert not list((second / ".secrets").rglob("*password*"))


def test_make_down_leaves_no_lab(clones):
    """And says so by its status."""
    _, first, _ = clones
    assert run("make down", first).returncode == 0
    assert run("make status", first).returncode != 0
