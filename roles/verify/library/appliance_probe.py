#!/usr/bin/python
"""Try other hosts' ports from this host."""

from __future__ import annotations

from ansible.module_utils.appliance_sockets import attempts
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: appliance_probe
short_description: Try other hosts' ports from this host
description:
  - Opens a connection to each target and closes it again, all at the same time. Nothing is changed.
  - Returns C(targets) and in their order C(answers), each one of open, refused, silent, unreachable.
options:
  targets:
    description: Dictionaries of address, port, protocol (tcp or udp) and seconds (how long to wait); other keys are ignored.
    type: list
    elements: dict
    required: true
  asked_at: {description: The control node's time in seconds; it is returned as it came, type: float, required: true}
author: Django Appliance
"""

EXAMPLES = r"""
- appliance_probe:
    targets: [{address: 192.0.2.10, port: 443, protocol: tcp, seconds: 2}]
    asked_at: "{{ now().timestamp() }}"
"""


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "targets": {"type": "list", "elements": "dict", "required": True},
            "asked_at": {"type": "float", "required": True},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, answers=attempts(module.params["targets"]), **module.params)


if __name__ == "__main__":
    main()
