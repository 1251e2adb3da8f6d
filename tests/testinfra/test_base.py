"""What every host stands on: trust, clock, journal, kernel, upgrades."""

from __future__ import annotations

import re

import pytest


def test_no_package_is_half_installed(machine):
    """What a killed run leaves is finished by the next."""
    assert machine.run("dpkg --audit; ls /var/lib/dpkg/updates") == ""


def test_authorities_of_the_site_are_trusted(machine):
    """Every program that uses the system's bundle then reaches the site's own services."""
    variables = machine.variables
    if not variables.get("base_ca_certificates"):
        pytest.skip("this site has no authorities of its own")
    listed = machine.run("grep -c BEGIN /etc/appliance/site-authorities.pem")
    folder = "/usr/local/share/ca-certificates"
    verified = machine.run(f"for one in {folder}/appliance-*.crt; do openssl verify -CApath /etc/ssl/certs -partial_chain $one; done")
    assert verified.count(": OK") == int(listed)


def test_upgrades_take_the_security_origin_only(machine):
    """A point release changes behaviour, and is an operator's decision."""
    origins = machine.run("apt-config dump Unattended-Upgrade::Origins-Pattern Unattended-Upgrade::Allowed-Origins")
    named = re.findall(r'::(?:Origins-Pattern|Allowed-Origins):: "(.+)"', origins)
    assert len(named) == 1
    assert "label=Debian-Security" in named[0]


def test_upgrades_do_not_reboot_by_themselves(machine):
    """Only where the site said so."""
    assert 'Automatic-Reboot "false"' in machine.run("apt-config dump Unattended-Upgrade::Automatic-Reboot")


def test_upgrades_start_in_the_window_only(machine):
    """Debian's own timer makes up for a missed time right after boot, in the middle of the day."""
    name = "apt-daily-upgrade.timer"
    calendar = machine.run(f"systemctl show -P TimersCalendar {name}")
    assert calendar.count("OnCalendar=") == 1
    assert "06:00" not in calendar
    assert machine.run(f"systemctl show -P Persistent {name}") == "no"


def test_journal_outlives_a_reboot(machine):
    """After a crash it is the only witness."""
    assert re.search(r"^File path: /var/log/journal/\w+/system.journal$", machine.run("journalctl --header"), re.M)


def test_journal_has_a_limit_in_force(machine):
    """What journald says of itself, not what the file asks for."""
    said = machine.run("journalctl -b -u systemd-journald -o cat -g 'System Journal'")
    assert "max 500M" in said.splitlines()[-1]


def test_kernel_settings_are_in_force_where_they_may_be(machine):
    """A file that was never applied looks just as good."""
    differing = machine.run(
        "sed -n 's/^-//p' /etc/sysctl.d/90-appliance.conf | while IFS=' =' read -r key value; do"
        ' file=/proc/sys/$(echo $key | tr . /); [ ! -w $file ] || [ "$(cat $file)" = $value ] || echo $key; done'
    )
    assert machine.run("grep -c ^- /etc/sysctl.d/90-appliance.conf") != "0"
    assert differing == ""


def test_clock_keeper_is_ready_and_opens_no_port(machine):
    """chronyd's own reading of its file; in a container the daemon itself does not run."""
    machine.run("chronyd -p")
    assert machine.run("systemctl is-enabled chrony") == "enabled"
    assert "chronyd" not in machine.run("ss -Hlnup")
    assert machine.run("grep -cx 'cmdport 0' /etc/chrony/chrony.conf") == "1"
