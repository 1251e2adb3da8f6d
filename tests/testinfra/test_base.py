"""What every host stands on: trust, clock, journal, kernel, upgrades."""

from __future__ import annotations

import re

import pytest

testinfra_hosts = ["ansible://all"]


def test_no_unit_failed(host):
    """A container that may not set its clock, or a key that it may not write, is no failure."""
    assert host.check_output("systemctl --failed --no-legend --plain") == ""


def test_no_package_is_half_installed(host):
    """What a killed run leaves is finished by the next."""
    assert host.check_output("dpkg --audit; ls /var/lib/dpkg/updates") == ""


def test_authorities_of_the_site_are_trusted(host):
    """Every program that uses the system's bundle then reaches the site's own services."""
    variables = host.ansible.get_variables()
    if not variables.get("base_ca_certificates"):
        pytest.skip("this site has no authorities of its own")
    listed = host.check_output("grep -c BEGIN /etc/appliance/site-authorities.pem")
    folder = "/usr/local/share/ca-certificates"
    verified = host.check_output(f"for one in {folder}/appliance-*.crt; do openssl verify -CApath /etc/ssl/certs -partial_chain $one; done")
    assert verified.count(": OK") == int(listed)


def test_upgrades_take_the_security_origin_only(host):
    """A point release changes behaviour, and is an operator's decision."""
    origins = host.check_output("apt-config dump Unattended-Upgrade::Origins-Pattern Unattended-Upgrade::Allowed-Origins")
    named = re.findall(r'::(?:Origins-Pattern|Allowed-Origins):: "(.+)"', origins)
    assert len(named) == 1
    assert "label=Debian-Security" in named[0]


def test_upgrades_do_not_reboot_by_themselves(host):
    """Only where the site said so."""
    assert 'Automatic-Reboot "false"' in host.check_output("apt-config dump Unattended-Upgrade::Automatic-Reboot")


def test_upgrades_start_in_the_window_only(host):
    """Debian's own timer makes up for a missed time right after boot, in the middle of the day."""
    name = "apt-daily-upgrade.timer"
    if host.check_output(f"systemctl show -P LoadState {name}") == "masked":
        pytest.skip("the lab masks the timer, so that no upgrade disturbs a test")
    calendar = host.check_output(f"systemctl show -P TimersCalendar {name}")
    assert calendar.count("OnCalendar=") == 1
    assert "06:00" not in calendar
    assert host.check_output(f"systemctl show -P Persistent {name}") == "no"


def test_journal_outlives_a_reboot(host):
    """After a crash it is the only witness."""
    with host.sudo():
        assert re.search(r"^File path: /var/log/journal/\w+/system.journal$", host.check_output("journalctl --header"), re.M)


def test_journal_has_a_limit_in_force(host):
    """What journald says of itself, not what the file asks for."""
    with host.sudo():
        said = host.check_output("journalctl -b -u systemd-journald -o cat -g 'System Journal'")
    assert "max 500M" in said.splitlines()[-1]


def test_kernel_settings_are_in_force_where_they_may_be(host):
    """A file that was never applied looks just as good."""
    with host.sudo():
        differing = host.check_output(
            "sed -n 's/^-//p' /etc/sysctl.d/90-appliance.conf | while IFS=' =' read -r key value; do"
            ' file=/proc/sys/$(echo $key | tr . /); [ ! -w $file ] || [ "$(cat $file)" = $value ] || echo $key; done'
        )
        assert host.check_output("grep -c ^- /etc/sysctl.d/90-appliance.conf") != "0"
    assert differing == ""


def test_clock_keeper_is_ready_and_opens_no_port(host):
    """chronyd's own reading of its file; in a container the daemon itself does not run."""
    with host.sudo():
        host.check_output("chronyd -p")
    assert host.service("chrony").is_enabled
    assert "chronyd" not in host.check_output("ss -Hlnup")
    assert host.file("/etc/chrony/chrony.conf").contains("^cmdport 0$")
