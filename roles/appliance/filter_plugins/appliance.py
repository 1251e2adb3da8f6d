"""The drawing, read: hosts' addresses, arrows as rules, apps with their defaults.

An inventory is a drawing: groups are its boxes, ``appliance_flows`` its arrows. These filters
turn it into what single roles need, so that no role has to know a group's name.
Every error is an ``AnsibleFilterError`` that names the variable and says what to type.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import ipaddress
import re
from pathlib import Path
from urllib.parse import quote, urlencode

from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from packaging.specifiers import SpecifierSet

#: The control node's copy of the project: roles/appliance/filter_plugins/appliance.py -> root.
ROOT = Path(__file__).resolve().parents[3]

APP_NAME = re.compile(r"^[a-z][a-z0-9_]{0,30}$")
DOMAIN = re.compile(r"^(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}$")

#: Accounts and units that Debian or the appliance itself uses; an app of that name would collide.
# fmt: off
RESERVED_NAMES = frozenset(
    {"root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy", "backup", "list",
     "irc", "nobody", "www_data", "adm", "tty", "disk", "sudo", "audio", "video", "staff", "users", "input",
     "render", "kvm", "shadow", "utmp", "plugdev", "operator", "src", "sasl", "crontab", "cron", "dbus",
     "messagebus", "polkitd", "sshd", "ssh", "ntp", "chrony", "nginx", "postgres", "postgresql", "redis",
     "memcached", "rsyslog", "systemd", "network", "gunicorn", "uwsgi", "ansible", "admin", "appliance", "docker",
     "podman", "certbot", "acme", "world", "all", "gateway", "pages"}
)
# fmt: on

#: The longest name that with "memcached-" before it is still a group's.
MEMCACHED_NAME = 21

#: Where pages lie in the store that gateways share: the prefix of their keys in Redis, the instance of Memcached.
PAGES = "pages"
#: What may be that store, and its port.
STORES = {"redis": 6379, "memcached": 11211}

#: Where the appliance's own services listen, on one host or another.
USED_PORTS = (22, 80, 443, 5432, 6379, 6380, 8443, 11211)

#: Certificates of services that have no name in any DNS are good for <service>.<this> besides their address.
INTERNAL = "appliance.internal"


def appliance_secrets_dir(name):
    """The control node's folder with the secrets of the inventory called `name`."""
    return str(ROOT / ".secrets" / name)


def _address(value):
    try:
        return ipaddress.ip_address(str(value))
    except ValueError:
        return None


def appliance_addresses(host, hostvars):
    """A host's own addresses, from the inventory alone (facts are absent under ``--limit``).

    Returns a list of strings, the preferred one first.
    """
    variables = hostvars[host]
    declared = variables.get("appliance_addresses")
    if declared:
        if isinstance(declared, str):
            raise AnsibleFilterError(f'appliance_addresses of host {host} is a text; type a list: appliance_addresses: ["{declared}"]')
        wrong = [str(one) for one in declared if _address(one) is None]
        if wrong:
            raise AnsibleFilterError(f"appliance_addresses of host {host}: {', '.join(wrong)} is no IP address; type addresses only")
        return [str(_address(one)) for one in declared]
    for candidate in (variables.get("ansible_host"), host):
        if candidate and _address(candidate):
            return [str(_address(candidate))]
    raise AnsibleFilterError(
        f"host {host} has no address: its ansible_host is a name, and the firewall needs addresses that do not"
        f' depend on DNS. Add to host {host} in the inventory: appliance_addresses: ["192.0.2.10"]'
    )


def _as_list(value):
    if value is None:
        return []
    return [value] if isinstance(value, (str, int)) else list(value)


def _network(text, where):
    try:
        return str(ipaddress.ip_network(str(text), strict=False))
    except ValueError:
        raise AnsibleFilterError(f"{where}: {text} is no network; type an address or a range such as 10.0.0.0/8") from None


def _end(name, groups, networks, where):
    """Hosts and networks that one end of an arrow stands for: (hosts, networks, is_world)."""
    if name == "world":
        return [], [], True
    if name in networks:
        return [], [_network(one, f"appliance_networks.{name}") for one in _as_list(networks[name])], False
    if name in groups:
        return list(groups[name]), [], False
    known = sorted({"world", *networks, *(one for one in groups if one != "ungrouped")})
    close = difflib.get_close_matches(str(name), known, n=1)
    raise AnsibleFilterError(
        f"{where}: {name} is neither a group of the inventory, nor a name in appliance_networks, nor world."
        + (f" Did you mean {close[0]}?" if close else "")
        + f" Known: {', '.join(known)}"
    )


def appliance_flows(flows, groups, networks):
    """Check and normalise the arrows.

    Returns ``[{name, protocol, ports, from_hosts, from_networks, from_world, to_hosts}]``.
    """
    arrows = []
    for index, flow in enumerate(_as_list(flows)):
        where = f"appliance_flows[{index}]"
        unknown = sorted(set(flow) - {"from", "to", "ports", "protocol", "name"})
        if unknown:
            raise AnsibleFilterError(f"{where}: unknown key {', '.join(unknown)}; keys are from, to, ports, protocol, name")
        missing = [key for key in ("from", "to", "ports") if not flow.get(key)]
        if missing:
            raise AnsibleFilterError(f"{where}: {', '.join(missing)} is missing; type e.g. {{from: app, to: db, ports: [5432]}}")
        protocol = flow.get("protocol", "tcp")
        if protocol not in ("tcp", "udp"):
            raise AnsibleFilterError(f"{where}.protocol: {protocol} is neither tcp nor udp")
        ports = _as_list(flow["ports"])
        for port in ports:
            if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
                raise AnsibleFilterError(f"{where}.ports: {port} is no port; type numbers from 1 to 65535")
        arrow = {
            "protocol": protocol,
            "ports": sorted(ports),
            "from_hosts": [],
            "from_networks": [],
            "from_world": False,
            "to_hosts": [],
        }
        for end in _as_list(flow["from"]):
            hosts, ranges, world = _end(end, groups, networks, f"{where}.from")
            arrow["from_hosts"] += hosts
            arrow["from_networks"] += ranges
            arrow["from_world"] |= world
        for end in _as_list(flow["to"]):
            hosts, ranges, world = _end(end, groups, networks, f"{where}.to")
            if ranges or world:
                raise AnsibleFilterError(f"{where}.to: {end} is no box; an arrow ends at a group of the inventory")
            arrow["to_hosts"] += hosts
        arrow["name"] = (
            flow.get("name") or f"{' and '.join(map(str, _as_list(flow['from'])))} to {' and '.join(map(str, _as_list(flow['to'])))}"
        )
        arrows.append(arrow)
    return arrows


def appliance_rules(flows, host, groups, hostvars, networks):
    """The arrows that end at `host`, as firewall rules.

    Returns ``[{name, protocol, ports, sources}]``, sources being CIDR strings or ``["world"]``.
    An arrow from the host to itself opens nothing.
    """
    rules = []
    for arrow in appliance_flows(flows, groups, networks):
        if host not in arrow["to_hosts"]:
            continue
        if arrow["from_world"]:
            sources = ["world"]
        else:
            sources = list(arrow["from_networks"])
            for peer in arrow["from_hosts"]:
                if peer != host:
                    sources += [_network(one, peer) for one in appliance_addresses(peer, hostvars)]
        if sources:
            rules.append({key: arrow[key] for key in ("name", "protocol", "ports")} | {"sources": sorted(set(sources))})
    return rules


def appliance_clients(flows, port, host, groups, hostvars, networks, itself=True):
    """Who may speak to `port` of `host`: CIDR strings; with `itself`, the host's own addresses too if an arrow starts there."""
    clients = set()
    for arrow in appliance_flows(flows, groups, networks):
        if host not in arrow["to_hosts"] or port not in arrow["ports"]:
            continue
        if arrow["from_world"]:
            clients |= {"0.0.0.0/0", "::/0"}
        clients |= set(arrow["from_networks"])
        for peer in arrow["from_hosts"]:
            if itself or peer != host:
                clients |= {_network(one, peer) for one in appliance_addresses(peer, hostvars)}
    return sorted(clients)


def appliance_apps_resolved(apps, defaults):
    """Every app that is to be there, with the contract's defaults beneath it.

    A section (``static``, ``limits``, …) is merged key by key, anything else is replaced whole. Values of ``env``
    and ``secrets`` are not even looked at: they may be templates that need the very app that is being resolved.
    What an app under a path did not say of its URLs lies under that path, too.
    """
    resolved = {}
    for name, app in (apps or {}).items():
        if not isinstance(app, dict):
            raise AnsibleFilterError(f"appliance_apps.{name}: must be a dictionary of the app contract's keys")
        if app.get("state") == "absent":
            continue
        merged = dict(defaults)
        for key, value in app.items():
            beneath = defaults.get(key)
            sections = bool(beneath) and isinstance(beneath, dict) and isinstance(value, dict)
            merged[key] = {**beneath, **value} if sections else value
        path = str(merged.get("path") or "/")
        for section, key, url in (("static", "url", "static/"), ("media", "url", "media/"), ("cache", "paths", None)):
            if path != "/" and isinstance(merged.get(section), dict) and key not in (app.get(section) or {}):
                merged[section] = {**merged[section], key: f"{path}{url}" if url else [path]}
        resolved[name] = merged
    return resolved


def appliance_apps_absent(apps):
    """Names of the apps that are to be removed."""
    return [name for name, app in (apps or {}).items() if isinstance(app, dict) and app.get("state") == "absent"]


def _name_problems(name):
    where = f"appliance_apps.{name}"
    if not APP_NAME.match(name):
        return [
            f"{where}: the name becomes a user, a unit and a database; type lower-case letters, digits and _ only,"
            " a letter first, at most 31"
        ]
    if name in RESERVED_NAMES:
        return [f"{where}: {name} is the name of a system account or unit; choose another one"]
    return []


def _path(app):
    return app.get("path") or "/"


def _share_domains(app, other):
    """Whether two apps may have the same host names: all of them, and a path each."""
    return other is not None and app is not other and sorted(app["domains"]) == sorted(other["domains"]) and _path(app) != _path(other)


def _owner_of_domains(name, apps):
    """The app whose certificate is shown: that at the domain's root, or the first."""
    sharing = [one for one, app in apps.items() if sorted(app["domains"]) == sorted(apps[name]["domains"])]
    return next((one for one in sharing if _path(apps[one]) == "/"), sharing[0])


def _keeps_uploads(app):
    media = app.get("media") or {}
    return bool(media.get("root")) and media.get("served_by") != "none"


def appliance_app_problems(apps, groups, absent=()):
    """What a schema cannot say about the apps: a list of sentences, each naming a variable and the remedy.

    apps: resolved apps. groups: the inventory's groups. absent: names of apps to be removed.
    """
    problems = [problem for name in absent for problem in _name_problems(name)]
    hosts_of_apps = len(groups.get("app") or [])
    owner_of_domain, owner_of_port = {}, dict.fromkeys(USED_PORTS, "the appliance")
    for name, app in apps.items():
        where = f"appliance_apps.{name}"
        problems += _name_problems(name)
        domains = app.get("domains") or []
        if not domains:
            problems.append(f"{where}.domains: missing; type e.g. domains: [shop.example.org]")
        for key in ("domains", "redirects"):
            for domain in app.get(key) or []:
                if not DOMAIN.match(str(domain)):
                    problems.append(f"{where}.{key}: {domain} is no host name; type it in lower case, without scheme and port")
                elif domain in owner_of_domain and not (key == "domains" and _share_domains(app, apps.get(owner_of_domain[domain][1]))):
                    problems.append(
                        f"{where}.{key}: {domain} is also named by {owner_of_domain[domain][0]}; a name belongs to one app, once,"
                        " or to apps with the same domains and a path each"
                    )
                else:
                    owner_of_domain.setdefault(domain, (f"{where}.{key}", name if key == "domains" else None))
        for worker, how in (app.get("workers") or {}).items():
            port = ((how or {}).get("listen") or {}).get("port")
            if port in owner_of_port:
                problems.append(f"{where}.workers.{worker}.listen.port: {port} is used by {owner_of_port[port]}; type another one")
            elif port:
                owner_of_port[port] = f"{where}.workers.{worker}"
        source = app.get("source") or {}
        kinds = [kind for kind in ("path", "git", "archive", "wheel") if source.get(kind)]
        if len(kinds) != 1:
            problems.append(
                f"{where}.source: must have exactly one of path, git, archive, wheel; type e.g. source: {{path: ../../django_app}}"
            )
        elif kinds == ["git"] and not source.get("version"):
            problems.append(f"{where}.source.version: missing; type a tag, a branch or a commit of {source['git']}")
        redis, memcached = app.get("redis") or {}, app.get("memcached") or {}
        if (redis.get("cache") or redis.get("queue")) and not groups.get("cache"):
            problems.append(
                f"{where}.redis: the app asks for Redis, but group cache has no host; add one, or set redis: {{cache: false, queue: false}}"
            )
        if memcached.get("cache"):
            elsewhere = [host for host in groups.get("app") or [] if host not in (groups.get("cache") or [])]
            if redis.get("cache"):
                problems.append(f"{where}: redis.cache and memcached.cache both give the app its CACHE_URL; set one of them to false")
            if elsewhere:
                problems.append(
                    f"{where}.memcached: {', '.join(elsewhere)} is not in group cache, and from another host Memcached cannot tell one app"
                    " from another; use redis: {cache: true}, or put group cache on the app's host"
                )
            if len(name) > MEMCACHED_NAME:
                problems.append(f"{where}.memcached: the name is too long for a group of its own; at most {MEMCACHED_NAME} letters")
        if not (app.get("database") or {}).get("external") and not groups.get("db"):
            problems.append(
                f"{where}.database: group db has no host; add one, or name an existing server in database: {{external: {{host: …}}}}"
            )
        if hosts_of_apps > 1 and _keeps_uploads(app):
            problems.append(
                f"{where}.media: {hosts_of_apps} hosts in group app would each keep uploads of their own."
                " Use one app host, or set media: {served_by: none} for an app without uploads"
            )
    return problems


def _chosen(chosen):
    names = chosen.replace(",", " ").split() if isinstance(chosen, str) else list(chosen or [])
    return [str(name) for name in names]


def appliance_chosen(apps, chosen):
    """Names of the apps that were chosen, in the inventory's order; nothing chosen means all."""
    names = _chosen(chosen)
    return [name for name in apps if not names or name in names]


def appliance_chosen_problems(apps, chosen):
    """Chosen names that are no app's: a list of sentences."""
    return [f"appliance_deploy: there is no app {name!r}; known: {', '.join(sorted(apps))}" for name in _chosen(chosen) if name not in apps]


def appliance_page_cache(apps, backend):
    """Where gateways share pages: ``redis`` or ``memcached``, or ``none`` as well when no app has pages to be kept."""
    kept = any((app.get("cache") or {}).get("mode", "off") != "off" for app in apps.values())
    return backend if kept and backend in STORES else "none"


def appliance_page_cache_problems(apps, backend, groups):
    """What is wrong with the store that gateways share: a list of sentences, each naming a variable and the remedy."""
    if backend not in (*STORES, "none"):
        return [f"gateway_cache_backend: {backend} is not known; type redis, memcached or none"]
    problems = []
    if backend != "none" and not groups.get("cache"):
        problems.append(f"gateway_cache_backend: group cache has no host to run {backend}; add one, or set gateway_cache_backend: none")
    for name, app in apps.items() if backend == "redis" else ():
        for pattern in map(str, app["redis"].get("key_patterns") or []):
            prefix = pattern.removesuffix("*")
            if prefix.startswith(f"{PAGES}:") or (pattern.endswith("*") and f"{PAGES}:".startswith(prefix)):
                problems.append(f"appliance_apps.{name}.redis.key_patterns: {pattern} covers the gateways' pages; type another prefix")
    return problems


def appliance_secret_names(apps, with_redis, page_cache="none"):
    """Names of all secrets the drawing needs, with how each is made: ``[{name, kind, length, provided}]``."""
    names = [{"name": "ca_private_key", "kind": "ec_private_key"}]
    if with_redis:
        names.append({"name": "redis_admin_password"})
    if page_cache != "none":
        names.append({"name": "gateway_cache_password"})
    for app_name, app in apps.items():
        names.append({"name": f"{app_name}_secret_key"})
        external = (app.get("database") or {}).get("external")
        names.append({"name": f"{app_name}_database_password", "provided": bool(external)})
        redis = app.get("redis") or {}
        if redis.get("cache") or redis.get("queue"):
            names.append({"name": f"{app_name}_redis_password"})
        if app.get("superuser"):
            names.append({"name": f"{app_name}_superuser_password"})
        for key, how in (app.get("secrets") or {}).items():
            if "value" not in (how or {}):
                names.append({"name": f"{app_name}_{key.lower()}", "length": int((how or {}).get("generate", 64))})
    return [{"kind": "password", "length": 64, "provided": False, **one} for one in names]


def appliance_database_url(database):
    """``postgres://user:password@host:port/name?option=value`` for a dict with those keys and ``options``."""
    host = f"[{database['host']}]" if ":" in str(database["host"]) else database["host"]
    credentials = f"{quote(str(database['user']), safe='')}:{quote(str(database['password']), safe='')}"
    options = urlencode({key: value for key, value in database["options"].items() if value not in (None, "")}, quote_via=quote, safe="/")
    return f"postgres://{credentials}@{host}:{database['port']}/{quote(str(database['name']), safe='')}?{options}"


def appliance_redis_url(redis):
    """A URL that redis-py understands: by unix socket (``socket``) or by TLS (``host``, ``port``, ``ca``)."""
    credentials = f"{quote(redis['username'], safe='')}:{quote(str(redis['password']), safe='')}"
    if redis.get("socket"):
        return f"unix://{credentials}@{redis['socket']}?db=0"
    host = f"[{redis['host']}]" if ":" in str(redis["host"]) else redis["host"]
    return f"rediss://{credentials}@{host}:{redis['port']}/0?ssl_ca_certs={quote(redis['ca'], safe='/')}"


def appliance_endpoint(address, port):
    """``address:port``, with the brackets that IPv6 wants."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def appliance_certificate_items(host, groups, apps, addresses, provided, cache_tls):
    """Key pairs that `host` needs for the boxes it is in: ``[{name, domains, addresses, provided}]``.

    provided: certificate name to files that somebody else issued. cache_tls: software of the cache box that has clients on other hosts.
    """
    boxes = {box for box in ("gateway", "app", "cache", "db") if host in (groups.get(box) or [])}
    here = {"domains": [], "addresses": list(addresses)}
    items = []
    if "db" in boxes:
        items.append({"name": "postgresql", **here})
    # By name too: nginx, as a client, compares no address with a certificate.
    if "cache" in boxes:
        items += [{"name": one, **here, "domains": [f"{one}.{INTERNAL}"]} for one in cache_tls]
    if "app" in boxes and "gateway" not in boxes:
        items.append({"name": "origin", **here, "domains": [domain for app in apps.values() for domain in app["domains"]]})
    if "gateway" in boxes:
        for name, app in apps.items():
            if _owner_of_domains(name, apps) == name:
                items.append({"name": name, "domains": [*app["domains"], *(app.get("redirects") or [])], "addresses": []})
    return [{**item, **({"provided": provided[item["name"]]} if item["name"] in provided else {})} for item in items]


def appliance_databases(apps, secrets):
    """Databases of the drawing's own server: ``[{name, owner, password, extensions}]``; apps with an external one have none."""
    return [
        {
            "name": name,
            "owner": name,
            "password": secrets[f"{name}_database_password"],
            "extensions": list(app["database"].get("extensions") or []),
        }
        for name, app in apps.items()
        if not app["database"].get("external")
    ]


def _redis_uses(app):
    return [use for use in ("cache", "queue") if app["redis"].get(use)]


def appliance_redis_instances(apps, memory_mb, listen, ports, page_cache="none"):
    """The Redis instances that some app or the page cache asks for: ``[{name, port, memory_mb, listen}]``.

    memory_mb: of each, ``{cache, queue}``. listen: addresses, empty for the socket only.
    """
    used = {use for app in apps.values() for use in _redis_uses(app)} | ({"cache"} if page_cache == "redis" else set())
    return [
        {"name": use, "port": ports[use], "memory_mb": memory_mb[use], "listen": list(listen)} for use in ("cache", "queue") if use in used
    ]


def appliance_redis_users(apps, secrets, page_cache="none"):
    """One Redis user per app that uses it, bound to its keys, and the gateways': ``[{name, password, key_patterns, …}]``."""
    users = [
        {
            "name": name,
            "password": secrets[f"{name}_redis_password"],
            "key_patterns": list(app["redis"].get("key_patterns") or [f"{name}:*"]),
            "instances": _redis_uses(app),
        }
        for name, app in apps.items()
        if _redis_uses(app)
    ]
    if page_cache == "redis":
        users.append(
            {
                "name": "gateway",
                "password": secrets["gateway_cache_password"],
                "key_patterns": [f"{PAGES}:*"],
                "instances": ["cache"],
                "commands": ["get", "set"],
            }
        )
    return users


def appliance_memcached_instances(apps, memory_mb, remote, page_cache="none"):
    """An instance of Memcached for each app that asks for one, and the gateways': ``[{name, memory_mb, …}]``.

    Memcached knows no keys of one's own, so nobody shares one. memory_mb: of each.
    remote: how gateways on other hosts find theirs, ``{listen, port, username, password}``; empty for the socket.
    """
    names = [name for name, app in apps.items() if app["memcached"].get("cache")]
    names += [PAGES] if page_cache == "memcached" else []
    return [{"name": name, "memory_mb": memory_mb, **(remote if name == PAGES else {})} for name in names]


def appliance_app_secrets(app, app_name, secrets):
    """An app's secrets by the name of the variable that carries them."""
    found = {"SECRET_KEY": secrets.get(f"{app_name}_secret_key", "")}
    for name, how in (app.get("secrets") or {}).items():
        how = how or {}
        found[name] = how["value"] if "value" in how else secrets[f"{app_name}_{name.lower()}"]
    return found


def appliance_sites(apps, local, origins, tls_dir="/etc/appliance/tls"):
    """The sites nginx serves, from the resolved apps.

    local: True where the apps run on this very host (unix socket, files from disk).
    origins: ``address:port`` of each app host, used when not local.
    """
    sites = []
    for name, app in apps.items():
        static, media = app.get("static") or {}, app.get("media") or {}
        site = {
            "name": name,
            "domains": list(apps[_owner_of_domains(name, apps)]["domains"]),
            "redirects": list(app.get("redirects") or []),
            "path": _path(app),
            "certificate": _owner_of_domains(name, apps),
            "limits": dict(app["limits"]),
            "upstream": {"socket": f"/run/{name}/{name}.sock"} if local else {"addresses": origins, "ca": f"{tls_dir}/ca.pem"},
        }
        if app["cache"]["mode"] != "off":
            site["cache"] = dict(app["cache"])
            site["feed"] = {"socket": f"/run/{name}/feed.sock"} if local else {}
        if static.get("root"):
            site["static"] = {"url": static["url"], **({"directory": f"/srv/{name}/public/static"} if local else {})}
        if _keeps_uploads(app):
            site["media"] = {
                "url": media["url"],
                "served_by": media.get("served_by", "gateway"),
                "deny": list(media.get("deny") or []),
                **({"directory": f"/srv/{name}/media"} if local else {}),
            }
        site["pages"] = [
            {"url": page["url"], **({"directory": f"/srv/{name}/public/pages/{number}"} if local else {})}
            for number, page in enumerate(app.get("pages") or [])
        ]
        sites.append(site)
    return sites


def appliance_fingerprints(values, host):
    """Tell secrets apart without telling them: name to the first 16 digits of a SHA-256 salted with the host's name."""
    return {name: hashlib.sha256(f"{host}\0{name}\0{value}".encode()).hexdigest()[:16] for name, value in sorted(values.items())}


def appliance_secrets_lost(known, needed, overrides, folder):
    """Names of secrets that a host knows and the drawing needs, but that this control node has not got.

    known: the host's fingerprints by name. needed: result of ``appliance_secret_names``.
    """
    return sorted(
        one["name"] for one in needed if one["name"] in known and one["name"] not in overrides and not Path(folder, one["name"]).exists()
    )


def _unknown_keys(value, options, where):
    for key, inner in value.items():
        if key not in options:
            close = difflib.get_close_matches(str(key), options, n=1)
            yield (
                f"{where}.{key}: unknown key." + (f" Did you mean {close[0]}?" if close else "") + f" Known: {', '.join(sorted(options))}"
            )
        elif options[key].get("options") and isinstance(inner, dict):
            yield from _unknown_keys(inner, options[key]["options"], f"{where}.{key}")
        elif options[key].get("options") and isinstance(inner, list):
            for number, one in enumerate(inner):
                if isinstance(one, dict):
                    yield from _unknown_keys(one, options[key]["options"], f"{where}.{key}[{number}]")


def appliance_contract_problems(apps, spec):
    """Where the apps break the contract's schema: a list of sentences.

    apps: resolved apps. spec: the django_app role's ``argument_specs``, parsed.
    """
    options = spec["argument_specs"]["main"]["options"]["django_app"]["options"]
    problems = []
    for name, app in apps.items():
        unknown = list(_unknown_keys(app, options, f"appliance_apps.{name}"))
        problems += unknown
        if not unknown:
            errors = ArgumentSpecValidator(options).validate(copy.deepcopy(_plain(app))).error_messages
            problems += [f"appliance_apps.{name}: {error}" for error in errors]
    return problems


def _plain(value):
    """Built-in containers in place of Ansible's lazily templated ones."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


def appliance_drawing_problems(flows, groups, hostvars, networks):
    """What is wrong with hosts' addresses and with the arrows: a list of sentences."""
    problems = []
    for host in groups["all"]:
        try:
            appliance_addresses(host, hostvars)
        except AnsibleFilterError as error:
            problems.append(str(error))
    for box in ("db", "cache"):
        if len(groups.get(box) or []) > 1:
            problems.append(
                f"group {box} has {len(groups[box])} hosts ({', '.join(groups[box])}); this drawing takes one, so leave one in it"
            )
    try:
        appliance_flows(flows, groups, networks)
    except AnsibleFilterError as error:
        problems.append(str(error))
    return problems


def appliance_missing_arrows(flows, apps, groups, networks, origin_port, page_cache="none"):
    """Arrows without which the drawing cannot work: a list of sentences, each with the arrow to add."""
    try:
        arrows = appliance_flows(flows, groups, networks)
    except AnsibleFilterError:
        return []  # told by appliance_drawing_problems
    needs = [("gateway", "app", origin_port, False)]
    if any(not app["database"].get("external") for app in apps.values()):
        needs.append(("app", "db", 5432, True))  # on one host too: PostgreSQL admits whom an arrow names
    needs += [
        ("app", "cache", port, False)
        for use, port in (("cache", 6379), ("queue", 6380))
        if any(app["redis"].get(use) for app in apps.values())
    ]
    if page_cache != "none":
        needs.append(("gateway", "cache", STORES[page_cache], False))
    problems = []
    for origin, target, port, within_host in needs:
        drawn = {
            (start, end)
            for arrow in arrows
            if port in arrow["ports"]
            for start in (groups["all"] if arrow["from_world"] else arrow["from_hosts"])
            for end in arrow["to_hosts"]
        }
        pairs = {(start, end) for start in groups.get(origin) or [] for end in groups.get(target) or [] if within_host or start != end}
        if pairs - drawn:
            problems.append(
                f"appliance_flows: no arrow from {origin} to {target}, port {port}; add {{from: {origin}, to: {target}, ports: [{port}]}}"
            )
    return problems


def appliance_unknown_secrets(overrides, needed):
    """Names in ``appliance_secrets`` that nothing asks for; a misspelt one would be ignored and generated instead."""
    names = [one["name"] for one in needed]
    problems = []
    for name in overrides:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            problems.append(
                f"appliance_secrets.{name}: nothing asks for this secret."
                + (f" Did you mean {close[0]}?" if close else "")
                + f" Known: {', '.join(names)}"
            )
    return problems


def appliance_unknown_certificates(provided, apps):
    """Names in ``appliance_certificates`` that are no app's: a list of sentences.

    What stands inside (database, Redis, origin) is verified by the appliance's own authority, so that nothing else would do there.
    """
    problems = []
    for name in provided:
        if name in apps and _owner_of_domains(name, apps) != name:
            problems.append(
                f"appliance_certificates.{name}: {', '.join(apps[name]['domains'])} is served with the certificate of"
                f" {_owner_of_domains(name, apps)}; name it there"
            )
        if name not in apps:
            close = difflib.get_close_matches(name, apps, n=1)
            problems.append(
                f"appliance_certificates.{name}: no app has this name, and only an app's certificate can be provided."
                + (f" Did you mean {close[0]}?" if close else "")
                + f" Known: {', '.join(apps)}"
            )
    return problems


def appliance_secrets_changed(known, current, replaced):
    """Names of secrets whose fingerprint differs from what a host knows, but for those ``replaced`` on purpose."""
    return sorted(name for name, fingerprint in current.items() if known.get(name, fingerprint) != fingerprint and name not in replaced)


def appliance_host_problems(facts, disks, distributions, memory_mb, disk_mb):
    """What makes a host unfit: a list of sentences.

    facts: ``ansible_facts``. disks: what ``df --output=avail,target --block-size=1M`` said. distributions: name to the list of
    major versions. memory_mb, disk_mb: the least accepted.
    """
    problems = []
    name, version = facts["distribution"], str(facts["distribution_major_version"])
    if version not in distributions.get(name, []):
        wanted = ", ".join(f"{one} {' or '.join(versions)}" for one, versions in distributions.items())
        problems.append(f"{name} {version} is not supported; reinstall the host with {wanted}")
    if facts["memtotal_mb"] < memory_mb:
        problems.append(
            f"the host has {facts['memtotal_mb']} MB of memory and needs {memory_mb}; give it more, or lower appliance_minimum_memory_mb"
        )
    for free, mount in {tuple(line.split(maxsplit=1)) for line in disks.splitlines()[1:]}:
        if int(free) < disk_mb:
            problems.append(f"{mount} has {free} MB free and needs {disk_mb}; free some, or lower appliance_minimum_disk_mb")
    return problems


def appliance_account_problems(accounts, apps):
    """Apps that would take over somebody's account, and apps that the inventory forgot: a list of sentences.

    accounts: what ``getent passwd`` said of the apps' names, and a line for each app of the host. An app's own
    account lives in ``/var/lib/<app>``. apps: names of all apps of the inventory, absent ones too.
    """
    problems = []
    for line in accounts.splitlines():
        if ":" not in line:
            if line not in apps:
                problems.append(
                    f"appliance_apps.{line}: the host runs this app, and the inventory does not name it; put it back, or type"
                    f" {line}: {{state: absent}} to have it removed after a last dump"
                )
            continue
        name, home = line.split(":")[0], line.split(":")[5]
        if home != f"/var/lib/{name}":
            problems.append(f"appliance_apps.{name}: the host has an account {name} with the home {home}; choose another name for the app")
    return problems


def appliance_python_problems(sources, version):
    """Apps that refuse the host's Python: a list of sentences.

    sources: app name to ``{requires_python, …}``. version: the host's Python, such as 3.13.5.
    """
    return [
        f"appliance_apps.{name}: the project requires Python {source['requires_python']}, the host has {version};"
        " use a release of the project that fits, or a host with another Debian"
        for name, source in sources.items()
        if source.get("requires_python") and not SpecifierSet(source["requires_python"]).contains(version)
    ]


def appliance_import_problems(asked, apps, folder):
    """What is wrong with `appliance_import`: a list of sentences. folder: what its paths are relative to."""
    example = "type appliance_import: {app: shop, dump: ../shop.dump, media: ../media}"
    unknown = sorted(set(asked) - {"app", "dump", "media", "overwrite"})
    if unknown:
        return [f"appliance_import.{unknown[0]}: unknown key; {example}"]
    if asked.get("app") not in apps:
        return [f"appliance_import.app: {asked.get('app') or 'missing'} is no app of the inventory; there are {', '.join(apps)}; {example}"]
    if not (asked.get("dump") or asked.get("media")):
        return [f"appliance_import: neither a dump nor media; {example}"]
    problems = []
    if asked.get("dump") and not Path(folder, asked["dump"]).is_file():
        problems.append(f"appliance_import.dump: there is no file {Path(folder, asked['dump'])}; type a path relative to the inventory")
    if asked.get("media") and not Path(folder, asked["media"]).is_dir():
        problems.append(f"appliance_import.media: there is no folder {Path(folder, asked['media'])}; type a path relative to the inventory")
    return problems


def appliance_builds_for(hosts, hostvars):
    """What a program that is built for these hosts must be built on: host to ``{distribution, release, machine, python}``."""
    found = {}
    for host in hosts:
        facts = hostvars[host]["ansible_facts"]
        found[host] = {
            "distribution": facts["distribution"],
            "release": str(facts["distribution_major_version"]),
            "machine": facts["architecture"],
            "python": ".".join(facts["python_version"].split(".")[:2]),
        }
    return found


class FilterModule:
    """Filters of the drawing."""

    def filters(self):
        """Name to function, for Ansible."""
        return {
            name: globals()[name]
            for name in (
                "appliance_account_problems",
                "appliance_addresses",
                "appliance_app_secrets",
                "appliance_app_problems",
                "appliance_apps_absent",
                "appliance_apps_resolved",
                "appliance_builds_for",
                "appliance_import_problems",
                "appliance_certificate_items",
                "appliance_clients",
                "appliance_chosen",
                "appliance_chosen_problems",
                "appliance_contract_problems",
                "appliance_database_url",
                "appliance_databases",
                "appliance_drawing_problems",
                "appliance_endpoint",
                "appliance_fingerprints",
                "appliance_flows",
                "appliance_host_problems",
                "appliance_missing_arrows",
                "appliance_memcached_instances",
                "appliance_page_cache",
                "appliance_page_cache_problems",
                "appliance_python_problems",
                "appliance_redis_instances",
                "appliance_redis_url",
                "appliance_redis_users",
                "appliance_rules",
                "appliance_secret_names",
                "appliance_secrets_changed",
                "appliance_secrets_dir",
                "appliance_secrets_lost",
                "appliance_sites",
                "appliance_unknown_certificates",
                "appliance_unknown_secrets",
            )
        }
