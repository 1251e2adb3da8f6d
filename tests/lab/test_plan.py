"""What a lab looks like follows from the inventory alone, and what a lab cannot stand in for is refused by name."""

import json

import pytest
from lab import cli, image, inventory, services
from lab.system import LabError


def plan(hosts, groups=None, **options):
    return inventory.make_plan("site", "/somewhere/site", hosts, groups or {}, **options)


def one(**values):
    return {"web1": {"ansible_host": "10.1.2.3", **values}}


def test_groups_are_those_above_too():
    """A host of a nested group is a host of the outer one."""
    listing = {
        "_meta": {"hostvars": {"web1": {"ansible_host": "10.1.2.3"}}},
        "all": {"children": ["ungrouped", "front"]},
        "front": {"children": ["gateway"]},
        "gateway": {"hosts": ["web1", "web2"]},
    }
    variables, groups = inventory.digest(listing)
    assert groups["web1"] == ["front", "gateway"]
    assert variables["web2"] == {}, "a host without variables has no entry in _meta"


def test_ini_inventory_is_read(tmp_path):
    (tmp_path / "hosts").write_text("[gateway]\nweb[1:2] ansible_host=10.1.2.3\n[edge:children]\ngateway\n")
    variables, groups = inventory.read(tmp_path)
    assert groups == {"web1": ["edge", "gateway"], "web2": ["edge", "gateway"]}
    assert variables["web1"]["ansible_host"] == "10.1.2.3"


def test_broken_inventory_says_so(tmp_path):
    (tmp_path / "hosts.yml").write_text("all: [")
    with pytest.raises(LabError, match="ansible-inventory cannot read"):
        inventory.read(tmp_path)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"ansible_host": "db.example.test"}, "'db.example.test' is a name, not an address: set appliance_addresses"),
        ({"ansible_host": "{{ other }}"}, "ansible_host is a template"),
        ({"ansible_host": "127.0.0.1"}, "127.0.0.1 cannot be another machine's"),
        ({"ansible_connection": "local"}, "ansible_connection is 'local'"),
        ({"appliance_addresses": "10.1.2.3"}, "must be a list"),
        ({"appliance_addresses": ["10.1.2.3/24"]}, "is no plain address"),
        ({"ansible_host": "fd00::1"}, "IPv6 addresses only"),
        ({"ansible_port": "{{ port }}"}, "ansible_port must be a plain number"),
        ({"appliance_networks": {"operators": ["{{ net }}"]}}, "appliance_networks.operators has"),
        ({"appliance_networks": {"operators": ["10.1.2.3/32"]}}, "has no address that is not a host's"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_by_name(values, words):
    with pytest.raises(LabError) as refusal:
        plan(one(**values))
    assert words in str(refusal.value)


def test_two_hosts_of_one_address_are_refused():
    with pytest.raises(LabError, match=r"web1 and web2 have the same address 10\.1\.2\.3"):
        plan({"web1": {"ansible_host": "10.1.2.3"}, "web2": {"ansible_host": "10.1.2.3"}})


def test_empty_inventory_is_refused():
    with pytest.raises(LabError, match="has no hosts"):
        plan({})


def test_every_subnet_has_a_gateway_that_is_no_host():
    made = plan({"a": {"ansible_host": "10.1.2.1"}, "b": {"ansible_host": "10.1.3.5"}, "c": {"ansible_host": "10.1.2.2"}})
    assert made.gateways[:2] == ["10.1.2.3/24", "10.1.3.1/24"]


def test_operator_comes_from_the_operators_network():
    """So that the firewall of the inventory, unchanged, lets the control node in."""
    made = plan(one(appliance_networks={"operators": ["10.1.2.3/32", "10.9.0.0/24"]}))
    assert made.operator == ["10.9.0.1"]


def test_operator_is_found_in_the_hosts_own_subnet():
    made = plan(one(appliance_networks={"operators": ["10.1.2.0/24"]}))
    assert made.operator == ["10.1.2.1"]


def test_without_operators_there_is_a_note():
    assert "names no operators" in " ".join(plan(one()).notes)


def test_outsider_is_in_no_network_of_the_inventory():
    named = {"monitoring": ["198.51.100.0/28"], "backup": ["203.0.113.7/32"]}
    assert plan(one(appliance_networks=named)).outside["outsider"] == ["192.0.2.2"]


def test_each_named_network_has_somebody_to_play():
    """So that an arrow from it can be tried. Nobody can be played of a network whose addresses are all taken."""
    made = plan(one(appliance_networks={"operators": ["10.1.2.0/24"], "monitoring": ["10.1.2.0/24"], "backup": ["10.1.2.3/32"]}))
    assert made.outside["monitoring"] == ["10.1.2.2"]
    assert set(made.outside) == {"outsider", "monitoring"}


def test_network_of_everybody_leaves_room_for_an_outsider():
    assert plan(one(appliance_networks={"anywhere": ["0.0.0.0/0"]})).outside["outsider"]


def test_ipv6_only_where_a_host_has_it():
    both = one(appliance_addresses=["10.1.2.3", "fd00::3"])
    assert len(plan(both).outside["outsider"]) == 2
    assert len(plan(one()).outside["outsider"]) == 1


def test_become_password_of_the_inventory_asks_for_one_here():
    assert plan(one(ansible_become_password="production's")).sudo_password  # noqa: S106
    assert not plan(one()).sudo_password


def test_jump_hosts_are_named():
    made = plan(one(ansible_ssh_common_args="-o ProxyJump=bastion.example.test"))
    assert "jump hosts are not used here: the lab reaches web1 directly" in made.notes


def test_names_lead_to_addresses():
    hosts = {
        "web1": {
            "ansible_host": "web1.example.test",
            "appliance_addresses": ["10.1.2.3"],
            "appliance_apps": {"shop": {"domains": ["shop.example.test"]}},
        }
    }
    made = plan(hosts, {"web1": ["gateway"]})
    assert made.names == {"web1": ["10.1.2.3"], "web1.example.test": ["10.1.2.3"], "shop.example.test": ["10.1.2.3"]}


def test_plan_survives_its_file():
    made = plan(one(), {"web1": ["gateway"]})
    assert inventory.Plan.from_dict(json.loads(json.dumps(made.as_dict()))) == made


def test_package_sources_are_hosts_and_ports():
    urls = ["http://mirror.example.test:8081/debian", "https://index.example.test/simple", "junk"]
    assert image.endpoints(urls) == [["mirror.example.test", 8081], ["index.example.test", 80], ["index.example.test", 443]]


def test_mirrors_of_the_inventory_are_sources_unless_they_are_hosts(tmp_path):
    (tmp_path / "sources.json").write_text('[["debian.example.test", 80]]')
    mirrors = {
        "base_apt_mirror": "http://mirror.example.test:8081/debian",
        "base_pip_index_url": "http://10.1.2.3/simple",
        "base_http_proxy": "http://10.200.0.1:3128",
    }
    made = plan(one(**mirrors))
    listeners, names = services.package_sources(made, tmp_path / "root")
    assert [listener[1:] for listener in listeners] == [
        [80, "debian.example.test", 80],
        [8081, "mirror.example.test", 8081],
        [3128, "10.200.0.1", 3128],
    ]
    assert names["10.200.0.1"] == "10.200.0.1", "an address answers at itself"


def test_behind_a_proxy_sources_answer_where_no_host_reaches(tmp_path):
    (tmp_path / "sources.json").write_text('[["debian.example.test", 80]]')
    _, names = services.package_sources(plan(one(), http_proxy=True), tmp_path / "root")
    assert names["debian.example.test"].startswith("127.")


def test_older_spellings_are_replaced_too():
    """Ansible prefers ansible_ssh_user to ansible_user, and so on."""
    made = plan(one(ansible_ssh_user="deploy", ansible_become_pass="production's", ansible_ssh_port=2222))  # noqa: S106
    assert made.hosts[0].aliases == ["ansible_ssh_port", "ansible_ssh_user", "ansible_become_pass"]
    assert made.hosts[0].ssh_port == 2222
    assert made.sudo_password


@pytest.mark.parametrize(
    ("words", "origin", "command"),
    [
        ("exec site ls -l", None, ["ls", "-l"]),
        ("exec site --from outsider curl --from x", "outsider", ["curl", "--from", "x"]),
        ("exec --from outsider site curl", "outsider", ["curl"]),
        ("exec site --from=web1 -- curl -s", "web1", ["curl", "-s"]),
    ],
)
def test_exec_takes_its_options_on_either_side_of_the_lab(words, origin, command):
    parsed = cli.parse(words.split())
    assert (parsed.lab, parsed.origin, parsed.command) == ("site", origin, command)


def test_name_is_the_folder_of_the_inventory(tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "hosts.yml").touch()
    assert inventory.locate(str(tmp_path / "shop"))[0] == "shop"
    assert inventory.locate(str(tmp_path / "shop" / "hosts.yml"))[0] == "shop"
    assert inventory.locate("monolith")[1] is not None
    with pytest.raises(LabError, match="there is no inventory inventories/none"):
        inventory.locate("inventories/none")
