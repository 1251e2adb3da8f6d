#!/usr/bin/python
"""Ansible's side of the release tool."""

from __future__ import annotations

import json
import os
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: app_release
short_description: Make a release of an app and hand the traffic over to it
description:
  - Runs C(/usr/local/sbin/appliance-release deploy) on the host, which compares what serves with what app.json asks for.
  - With C(state=previous) it runs C(appliance-release rollback).
  - A failure shows the failed command's own output; the release that served keeps serving.
options:
  name:
    description: The app.
    type: str
    required: true
  state:
    description: What app.json asks for, or a release that was good before.
    type: str
    choices: [wanted, previous]
    default: wanted
  operator:
    description: Who asks for it; goes into the history.
    type: str
    default: ""
  wait_seconds:
    description: How long to wait for another run that is under way on the host.
    type: int
    default: 300
  again:
    description: With C(state=wanted), make the release even where it was rolled back.
    type: bool
    default: false
  until:
    description: With C(state=wanted), stop once it is C(built) or C(migrated); a later task goes on.
    type: str
    choices: [built, migrated]
  release:
    description: With C(state=previous), this release in place of the last good one.
    type: str
    default: ""
  across_migrations:
    description: With C(state=previous), go back even where the database was migrated since.
    type: bool
    default: false
  superuser_password:
    description: For the contract's superuser, where it is not made yet.
    type: str
    default: ""
author: Django Appliance
"""

EXAMPLES = r"""
- name: Make the release and hand over to it
  app_release:
    name: shop
"""

RETURN = r"""
release:
  description: The release that serves.
  type: str
  returned: success
previous:
  description: The release that served before, if any.
  type: str
  returned: success
content:
  description: What its pages say, as an id that is the same on all hosts.
  type: str
  returned: success
due:
  description: Whether a release is to be made, or was.
  type: bool
  returned: with state=wanted
pending:
  description: Migrations for which the app has to be stopped.
  type: list
  returned: with until=built
migrations:
  description: Migrations that stand between the two and were not taken back.
  type: list
  returned: with state=previous
steps:
  description: What was done, with the seconds since the start.
  type: list
  returned: success
"""

TOOL = "/usr/local/sbin/appliance-release"


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["wanted", "previous"], "default": "wanted"},
            "operator": {"type": "str", "default": ""},
            "wait_seconds": {"type": "int", "default": 300},
            "again": {"type": "bool", "default": False},
            "until": {"type": "str", "choices": ["built", "migrated"]},
            "release": {"type": "str", "default": ""},
            "across_migrations": {"type": "bool", "default": False},
            "superuser_password": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    name, wanted = asked["name"], asked["state"] == "wanted"
    if module.check_mode and not (os.path.exists(TOOL) and os.path.exists(f"/etc/appliance/apps/{name}/app.json")):
        module.exit_json(changed=True, due=True, release="", previous=None, steps=[])
    command = [TOOL, "deploy" if wanted else "rollback", name, "--by", asked["operator"], "--wait", str(asked["wait_seconds"])]
    command += ["--check"] if module.check_mode else []
    if wanted:
        command += ["--again"] if asked["again"] else []
        command += ["--until", asked["until"]] if asked["until"] else []
    else:
        command += ["--to", asked["release"]] if asked["release"] else []
        command += ["--across-migrations"] if asked["across_migrations"] else []
    try:
        done = subprocess.run(command, input=asked["superuser_password"], capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        module.fail_json(msg=f"{TOOL} is not on this host; run site.yml first")
    if done.returncode:
        module.fail_json(msg=done.stderr.strip())
    result = json.loads(done.stdout)
    if "warning" in result:
        module.warn(result["warning"])
    module.exit_json(steps=done.stderr.splitlines(), **result)


if __name__ == "__main__":
    main()
