"""What the deployment files promise, as far as a machine without a container engine can check it."""

from __future__ import annotations

import fnmatch
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tradewind import errors
from tradewind.live.redaction import is_secret_variable
from tradewind.server import metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TOOLS = os.pathsep.join([str(ROOT / ".bench" / "deploy" / "bin"), os.environ.get("PATH", "")])
FILLED = {
    "TRADEWIND_READ_TOKEN": "r" * 32,
    "TRADEWIND_TRADE_TOKEN": "t" * 32,
    "TRADEWIND_ADMIN_TOKEN": "a" * 32,
}


# -- the Dockerfile -------------------------------------------------------------------------------------------


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, continued lines joined."""
    joined, said = "", []
    for line in text.splitlines():
        if line.lstrip().startswith("#") or (not line.strip() and not joined):
            continue
        joined += line.removesuffix("\\") + " "
        if not line.endswith("\\"):
            word, _, rest = joined.strip().partition(" ")
            said.append((word.upper(), " ".join(rest.split())))
            joined = ""
    return said


DOCKERFILE = (DEPLOY / "Dockerfile").read_text("utf-8")
SAID = instructions(DOCKERFILE)


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = [[]]
    for one in SAID:
        if one[0] == "FROM":
            found.append([])
        found[-1].append(one)
    return found[1:]


def test_every_base_is_pinned_to_a_full_version() -> None:
    given = dict(rest.split("=", 1) for word, rest in SAID if word == "ARG" and "=" in rest)
    bases = [rest.split()[0] for word, rest in SAID if word == "FROM"]
    assert len(bases) == 3
    for base in bases:
        image = re.sub(r"\$\{(\w+)\}", lambda match: given[match[1]], base)
        assert re.search(r":\d+\.\d+\.\d+[\w.-]*$|@sha256:[0-9a-f]{64}$", image), image


def test_the_runtime_stage_runs_as_a_fixed_user_without_rights_and_brings_nothing_of_the_context() -> None:
    *_, last = stages()
    users = [rest for word, rest in last if word == "USER"]
    assert users == ["10001:10001"]
    after = last[next(place for place, one in enumerate(last) if one[0] == "USER") :]
    assert not [one for one in after if one[0] in ("RUN", "COPY", "ADD")]
    copies = [rest for word, rest in last if word == "COPY"]
    assert copies and all(rest.startswith("--from=") for rest in copies)
    assert "useradd --system --uid 10001" in DOCKERFILE and "nologin" in DOCKERFILE


def test_nothing_is_fetched_by_address_and_no_secret_can_end_in_a_layer() -> None:
    assert "ADD" not in {word for word, _ in SAID}
    assert not re.search(r"curl |wget |\| *(ba)?sh\b|sudo ", DOCKERFILE)
    named = [re.split(r"[= ]", part)[0] for word, rest in SAID if word in ("ARG", "ENV") for part in rest.split()]
    assert not [name for name in named if is_secret_variable(name)]
    assert not re.search(r"COPY (--\S+ )*\.env|COPY (--\S+ )*\. ", DOCKERFILE)


def test_what_is_installed_is_what_the_lock_files_say() -> None:
    installs = [
        part for word, rest in SAID if word == "RUN" for part in re.split(r"&&|;", rest) if "pip install" in part
    ]
    assert len(installs) == 2 and all("--constraint requirements.lock" in part for part in installs)
    assert "npm ci" in DOCKERFILE and "npm install" not in DOCKERFILE
    apt = [rest for word, rest in SAID if word == "RUN" and "apt-get install" in rest]
    assert apt and all("--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists" in rest for rest in apt)
    pinned = (ROOT / "requirements.lock").read_text("utf-8")
    assert re.search(r"^torch==", pinned, re.M) and "download.pytorch.org/whl/cpu" in DOCKERFILE


def test_what_is_copied_from_the_checkout_is_there_and_let_through() -> None:
    for word, rest in SAID:
        if word == "COPY" and "--from=" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert is_sent(source.rstrip("/")), f"{source} is kept out by the ignore file"


IGNORED = [
    line.strip()
    for line in (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def is_sent(path: str) -> bool:
    """Return whether a path is part of the build context: the last pattern that fits it, or a folder of it, decides."""
    sent = True
    ways = ["/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 2)]
    for pattern in IGNORED:
        bare = pattern.lstrip("!")
        shapes = [bare, bare.removeprefix("**/")]
        if any(fnmatch.fnmatch(way, shape) or way.endswith(f"/{shape}") for way in ways for shape in shapes):
            sent = pattern.startswith("!")
    return sent


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "deploy/.env",
        "src/.env",
        "deploy/playbook.env",
        "src/tradewind/playbook.env",
        "src/tradewind/.env.local",
        "web/.env.production",
        ".git/config",
        ".venv/bin/python",
        ".tradewind/records.sqlite",
        "src/.tradewind/records.sqlite",
        "web/node_modules/x/index.js",
        "src/tradewind/__pycache__/x.pyc",
        "tests/live/test_live_logs.py",
        "src/tradewind/server/page/index.html",
    ],
)
def test_nothing_private_or_useless_is_sent_to_the_builder(path: str) -> None:
    assert not is_sent(path)


@pytest.mark.parametrize(
    "path", ["pyproject.toml", "src/tradewind/cli/main.py", "web/src/main.tsx", "web/package.json"]
)
def test_what_is_built_from_is_sent(path: str) -> None:
    assert is_sent(path)


def health_command(rest: str) -> list[str]:
    command: list[str] = json.loads(rest[rest.index("[") :])
    return command


@contextmanager
def answering(status: int) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_the_health_check_says_what_readyz_says(status: int | None, healthy: bool) -> None:
    (check,) = [rest for word, rest in SAID if word == "HEALTHCHECK"]
    python, option, code = health_command(check)
    assert (python, option) == ("python", "-c") and "/readyz" in code
    with answering(status or 200) as port:
        target = code.replace("8321", str(port if status else 1))
        found = subprocess.run([sys.executable, option, target], capture_output=True, timeout=60, check=False)
    assert (found.returncode == 0) is healthy


def test_commands_are_lists_so_that_signals_reach_the_process() -> None:
    for word, rest in SAID:
        if word in ("CMD", "ENTRYPOINT"):
            assert isinstance(json.loads(rest), list)


def test_hadolint_has_no_complaints() -> None:
    tool = shutil.which("hadolint", path=TOOLS)
    if tool is None:
        pytest.skip("hadolint is not on this machine: make deploy-tools")
    found = subprocess.run([tool, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


# -- compose --------------------------------------------------------------------------------------------------


_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<sign>:-|:\?)(?P<rest>[^}]*))?\}")


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """Fill in variables as the Compose specification says; raise ``KeyError`` with the message of ``:?``."""

    def fill(match: re.Match[str]) -> str:
        value = environ.get(match["name"], "")
        if value or match["sign"] is None:
            return value
        if match["sign"] == ":?":
            raise KeyError(f"{match['name']}: {match['rest']}")
        return str(match["rest"])

    return "\n".join(_VARIABLE.sub(fill, line) for line in text.splitlines() if not line.lstrip().startswith("#"))


COMPOSE = (DEPLOY / "compose.yaml").read_text("utf-8")


def composed(environ: Mapping[str, str] = FILLED) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(interpolated(COMPOSE, environ))
    return found


@pytest.mark.parametrize("name", sorted(FILLED))
def test_a_token_that_is_not_set_stops_the_start_with_what_to_do(name: str) -> None:
    with pytest.raises(KeyError, match=rf"{name}: set it in deploy/\.env"):
        composed({key: value for key, value in FILLED.items() if key != name})
    with pytest.raises(KeyError, match=name):
        composed({**FILLED, name: ""})


def test_every_variable_stands_in_the_example_and_no_secret_has_a_value_there() -> None:
    example = (DEPLOY / ".env.example").read_text("utf-8")
    named = dict(line.lstrip("#").split("=", 1) for line in example.splitlines() if re.match(r"#?[A-Z_]+=", line))
    wanted = {match["name"] for match in _VARIABLE.finditer(interpolated_away(COMPOSE))}
    optional = {"TRADEWIND_TAG", "TRADEWIND_CPUS", "TRADEWIND_MEMORY", "PROMETHEUS_PORT"}
    assert wanted - optional <= set(named)
    assert set(named) - wanted == {"COMPOSE_PROFILES"}
    assert not re.search(r"^[A-Z]", (DEPLOY / "playbook.env.example").read_text("utf-8"), re.M), "all commented out"
    assert not {name: value for name, value in named.items() if is_secret_variable(name) and value}


def interpolated_away(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def test_no_secret_stands_in_any_deployment_file() -> None:
    for path in DEPLOY.iterdir():
        text = path.read_text("utf-8")
        assert not re.search(r"(?i)(password|token|secret|key)\s*[:=]\s*[\"']?[A-Za-z0-9+/]{16,}", text), path
    for name, service in composed().get("services", {}).items():
        for variable, value in service.get("environment", {}).items():
            if is_secret_variable(variable):
                assert value in ("", None, *FILLED.values()), (name, variable)


def test_by_default_one_service_runs_and_profiles_add_the_others() -> None:
    services = composed()["services"]
    assert {name: service.get("profiles", []) for name, service in services.items()} == {
        "tradewind": [],
        "postgres": ["postgres"],
        "prometheus": ["prometheus"],
    }


@pytest.mark.parametrize("name", ["tradewind", "postgres", "prometheus"])
def test_every_service_is_confined_checked_limited_and_started_again(name: str) -> None:
    service = composed()["services"][name]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service
    assert {"test", "interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert service["restart"] == "unless-stopped"
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    assert re.search(r":v?\d+\.\d+(\.\d+)?[\w.-]*$", service["image"])
    assert not [mount for mount in service.get("volumes", []) if "docker.sock" in mount or mount.startswith("/:")]


def test_ports_are_bound_to_this_machine_unless_said_otherwise() -> None:
    ports = [port for service in composed()["services"].values() for port in service.get("ports", [])]
    assert sorted(ports) == ["127.0.0.1:8321:8321", "127.0.0.1:9090:9090"]
    opened = composed({**FILLED, "TRADEWIND_ADDRESS": "10.0.0.5", "TRADEWIND_PORT": "80"})
    assert opened["services"]["tradewind"]["ports"] == ["10.0.0.5:80:8321"]


def test_the_order_of_the_start_rests_on_checks_that_exist_and_has_no_circle() -> None:
    services = composed()["services"]
    waits = {name: service.get("depends_on", {}) for name, service in services.items()}
    assert waits["tradewind"]["postgres"] == {"condition": "service_healthy", "required": False}
    for needs in waits.values():
        for needed, how in needs.items():
            assert how["condition"] in ("service_started", "service_healthy", "service_completed_successfully")
            assert "healthcheck" in services[needed]
    order: list[str] = []
    while len(order) < len(services):
        ready = [name for name in services if name not in order and set(waits[name]) <= set(order)]
        assert ready, "a circle"
        order += ready
    assert order.index("postgres") < order.index("tradewind") < order.index("prometheus")


def test_every_network_volume_and_secret_that_is_used_is_declared_and_the_other_way_round() -> None:
    found = composed()
    used: dict[str, set[str]] = {"networks": set(), "volumes": set(), "secrets": set()}
    for service in found["services"].values():
        used["networks"] |= set(service.get("networks", []))
        used["secrets"] |= set(service.get("secrets", []))
        mounts = [mount.split(":")[0] for mount in service.get("volumes", [])]
        used["volumes"] |= {mount for mount in mounts if "/" not in mount}
        for mount in mounts:
            assert "/" not in mount or (DEPLOY / mount).is_file(), mount
    assert {kind: set(found[kind]) for kind in used} == used
    assert found["services"]["postgres"]["networks"] == ["inside"] and found["networks"]["inside"]["internal"]


def test_compose_and_the_image_ask_the_same_question() -> None:
    (check,) = [rest for word, rest in SAID if word == "HEALTHCHECK"]
    assert composed()["services"]["tradewind"]["healthcheck"]["test"][1:] == health_command(check)
    assert composed()["services"]["tradewind"]["user"] == "10001:10001"
    built = composed()["services"]["tradewind"]["build"]
    assert (DEPLOY / built["context"] / built["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def compose(*words: str, environ: Mapping[str, str] = FILLED) -> subprocess.CompletedProcess[str]:
    """Let compose itself read the file, which needs no engine."""
    tool = shutil.which("docker-compose", path=TOOLS)
    if tool is None:
        pytest.skip("compose is not on this machine: make deploy-tools")
    command = [tool, "--file", str(DEPLOY / "compose.yaml"), "--profile", "*", *words]
    return subprocess.run(
        command, env={**environ, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )


def test_composes_own_reading_has_no_complaints_and_is_ours() -> None:
    found = compose("config", "--format", "json")
    assert (found.returncode, found.stderr) == (0, "")
    read, ours = json.loads(found.stdout)["services"], composed()["services"]
    assert read.keys() == ours.keys()
    for name, service in ours.items():
        for key in ("image", "user", "read_only", "cap_drop", "security_opt", "restart"):
            assert read[name].get(key) == service.get(key), (name, key)
    (port,) = read["tradewind"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8321", 8321)


@pytest.mark.parametrize("name", sorted(FILLED))
def test_compose_itself_starts_nothing_without_a_token(name: str) -> None:
    found = compose("config", "--quiet", environ={**FILLED, name: ""})
    assert found.returncode != 0 and name in found.stderr and "set it in deploy/.env" in found.stderr


# -- prometheus and systemd -----------------------------------------------------------------------------------


def test_prometheus_asks_the_service_with_the_token_of_a_reader_and_knows_the_metrics_it_watches() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["tradewind:8321"]}] and job["metrics_path"] == "/metrics"
    secret = Path(job["authorization"]["credentials_file"]).name
    assert secret in composed()["services"]["prometheus"]["secrets"]
    assert composed()["secrets"][secret] == {"environment": "TRADEWIND_READ_TOKEN"}
    (group,) = yaml.safe_load((DEPLOY / "prometheus-rules.yml").read_text("utf-8"))["groups"]
    source = Path(str(metrics.__file__)).read_text("utf-8")
    for rule in group["rules"]:
        for name in re.findall(r"\btradewind_\w+", rule["expr"]):
            assert f'"{name}"' in source, name


UNIT = (DEPLOY / "tradewind.service").read_text("utf-8")


def unit(section: str) -> list[tuple[str, str]]:
    part = UNIT.split(f"[{section}]\n")[1].split("\n[")[0]
    return [tuple(line.split("=", 1)) for line in part.splitlines() if "=" in line and not line.startswith("#")]  # type: ignore[misc]


def test_the_unit_starts_again_what_failed_but_not_what_needs_a_person() -> None:
    service = dict(unit("Service"))
    assert service["Restart"] == "on-failure"
    people = {kind.exit_code for kind in (errors.InputError, errors.DataError, errors.SafetyStop)}
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == people
    assert not {errors.RetryError.exit_code, errors.BugError.exit_code} & people


def test_the_unit_runs_as_nobody_in_particular_and_writes_its_own_folders_only() -> None:
    service = dict(unit("Service"))
    wanted = {"DynamicUser": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "NoNewPrivileges": "yes"}
    assert wanted.items() <= service.items()
    assert service["CapabilityBoundingSet"] == "" and service["StateDirectory"] == "tradewind"
    assert ("Environment", "TRADEWIND_HOME=%S/tradewind") in unit("Service")
    assert service["EnvironmentFile"] == "-/etc/tradewind/environment"


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not on this machine")
    copy = tmp_path / "tradewind.service"
    copy.write_text(UNIT.replace("/opt/tradewind/bin/tradewind", shutil.which("true") or "/bin/true"), "utf-8")
    found = subprocess.run([tool, "verify", str(copy)], capture_output=True, text=True, check=False)
    mine = [line for line in found.stderr.splitlines() if "tradewind.service" in line]
    assert found.returncode == 0 and not mine, found.stderr


def test_systemd_finds_little_that_the_unit_leaves_open() -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not on this machine")
    command = [tool, "security", "--offline=true", "--no-pager", str(DEPLOY / "tradewind.service")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    exposure = re.search(r"exposure level for tradewind\.service: ([\d.]+)", found.stdout)
    if exposure is None:
        pytest.skip(f"this systemd cannot judge a unit that is not installed: {found.stderr.strip()[:80]}")
    assert float(exposure[1]) < 2.0


def test_the_verb_that_all_of_them_start_exists() -> None:
    pytest.importorskip("tradewind.cli.live", reason="the verb `live` is not there yet")
    from typer.testing import CliRunner

    from tradewind.cli.main import app

    started = [json.loads(rest)[0] for word, rest in SAID if word == "CMD"]
    started.append(composed()["services"]["tradewind"]["command"][0])
    started.append(dict(unit("Service"))["ExecStart"].split()[1])
    assert set(started) == {"live"}
    assert CliRunner().invoke(app, ["live", "--help"]).exit_code == 0
