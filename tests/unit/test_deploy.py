"""Compose files, Dockerfile, hooks and the two guides against the real commands, extras and files.

No container engine runs here: what can be known without one is checked.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from fc7.cli import main
from fc7.cli.settings import NAMES
from fc7.errors import InvalidArgument
from fc7_service.settings import Settings
from fc7_service.tokens import read_tokens

TOP = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
GROUPS = PYPROJECT["dependency-groups"]
MAKEFILE = (TOP / "Makefile").read_text()
COMPOSE = yaml.safe_load((TOP / "docker-compose.yml").read_text())
TLS = yaml.safe_load((TOP / "deploy" / "tls.yml").read_text())
METRICS = yaml.safe_load((TOP / "deploy" / "metrics.yml").read_text())
GUIDES = ("docs/guides/serve.md", "docs/guides/backup.md", "CONTRIBUTING.md")


def parse(words: list[str]) -> dict[str, Any]:
    """Parse a command line without its first word `fc7`; return the values of its innermost command."""
    context = click.Context(main, info_name="fc7")
    command: click.Command = main
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None, name
        command = found
    return command.make_context(command.name, words).params


def instructions() -> list[tuple[str, str]]:
    """Dockerfile instructions as (word, rest), continuation lines joined."""
    text = (TOP / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, beginning with its base."""
    found: dict[str, list[tuple[str, str]]] = {}
    for word, rest in instructions():
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = [("FROM", base)]
        else:
            found[list(found)[-1]].append((word, rest))
    return found


def shell_lines(guide: str) -> list[str]:
    """The lines of a guide's shell blocks."""
    text = (TOP / guide).read_text(encoding="utf-8")
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines() if line]


# Compose


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_a_service_runs_a_command_that_exists(name, tmp_path):
    service = COMPOSE["services"][name]
    values = parse(service["command"])
    assert service["command"][0] == "serve"
    port = values["listen"].rpartition(":")[2]
    assert service["ports"] == [f"${{FC7_PUBLISH:-127.0.0.1:{port}}}:{port}"]
    assert service["volumes"] == [f"data:{values['data']}"]
    assert [f"/run/secrets/{secret}" for secret in service["secrets"]] == [str(values["token_file"])]
    assert COMPOSE["secrets"].keys() == set(service["secrets"])

    kind, *words = service["healthcheck"]["test"]
    assert (kind, *words[:2]) == ("CMD", "fc7", "health")
    assert parse(words[1:])["server"] == f"localhost:{port}"


@pytest.mark.parametrize("name", ["cpu", "gpu", "scale"])
def test_a_service_runs_with_least_rights(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["user"].split(":")[0] != "0"
    assert service["cap_drop"] == ["ALL"]
    assert "/tmp" in service["tmpfs"]
    assert int(service["stop_grace_period"].rstrip("s")) > Settings(data=TOP).drain_s


def test_the_profiles_build_their_targets_and_the_gpu_is_reserved():
    services = COMPOSE["services"]
    assert {name: service["profiles"] for name, service in services.items()} == {
        n: [n] for n in ("cpu", "gpu", "scale")
    }
    for name, service in services.items():
        assert service["profiles"] == [name]
        assert (TOP / service["build"]["dockerfile"]).is_file()
        assert service["build"]["target"] == {"scale": "cpu"}.get(name, name)
        assert service["build"]["target"] in stages()
    (device,) = services["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert device["capabilities"] == ["gpu"]
    assert services["gpu"]["environment"]["FC7_DEVICE"] == "cuda"
    assert "deploy" not in services["cpu"]


def test_the_servers_of_the_scale_profile_share_nothing():
    service = COMPOSE["services"]["scale"]
    values = parse(service["command"])
    assert service["deploy"]["replicas"] >= 2
    assert service["ports"] == service["volumes"] == []  # neither a port of the machine nor a data folder
    assert any(mount.startswith(f"{values['data']}:uid=10001") for mount in service["tmpfs"])
    guide = (TOP / "docs" / "guides" / "scale.md").read_text(encoding="utf-8")
    assert f"dns:///scale:{values['listen'].rpartition(':')[2]}" in guide


@pytest.mark.parametrize("file", [COMPOSE, TLS, METRICS], ids=["compose", "tls", "metrics"])
@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_variables_are_settings(file, name, monkeypatch):
    environment = file["services"][name]["environment"]
    assert {variable.removeprefix("FC7_").lower() for variable in environment} <= set(NAMES)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    values = parse(COMPOSE["services"][name]["command"])
    assert values["insecure"] is (file is not TLS)


@pytest.mark.parametrize("has_tls", [False, True])
def test_the_settings_of_a_container_are_accepted(has_tls, tmp_path, monkeypatch):
    environment = dict(COMPOSE["services"]["cpu"]["environment"])
    if has_tls:
        environment |= TLS["services"]["cpu"]["environment"]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    values = parse(COMPOSE["services"]["cpu"]["command"])
    secrets = COMPOSE["secrets"] | (TLS["secrets"] if has_tls else {})

    def mounted(path: Path | None) -> Path | None:
        if path is None:
            return None
        assert path.parent == Path("/run/secrets")
        assert path.name in secrets
        (tmp_path / path.name).write_text("admin token")
        return tmp_path / path.name

    files = {name: mounted(values[name]) for name in ("token_file", "tls_cert", "tls_key")}
    settings = Settings(data=tmp_path, listen=values["listen"], is_insecure=values["insecure"], **files)
    settings.check()
    if not has_tls:
        assert files["tls_cert"] is None
        with pytest.raises(InvalidArgument, match="--insecure"):
            Settings(data=tmp_path, listen=values["listen"], **files).check()


def test_tls_is_laid_over_services_and_secrets_that_exist():
    assert TLS["services"].keys() == {"cpu", "gpu"}  # what publishes a port
    for service in TLS["services"].values():
        assert set(service["secrets"]) == TLS["secrets"].keys()
        paths = [value for variable, value in service["environment"].items() if variable.startswith("FC7_TLS")]
        assert {Path(path).name for path in paths} == TLS["secrets"].keys()


def test_metrics_of_a_container_are_published_on_loopback(monkeypatch, tmp_path):
    assert METRICS["services"].keys() == {"cpu", "gpu"}
    for service in METRICS["services"].values():
        environment = COMPOSE["services"]["cpu"]["environment"] | service["environment"]
        assert environment.keys() - COMPOSE["services"]["cpu"]["environment"].keys() == {"FC7_METRICS"}
        _, _, port = environment["FC7_METRICS"].rpartition(":")
        assert service["ports"] == [f"127.0.0.1:{port}:{port}"]
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        values = parse(["serve"])
        Settings(tmp_path, metrics=values["metrics"], is_insecure=values["insecure"]).check()


def test_secrets_are_kept_out_of_history_and_image():
    ignored = (TOP / "deploy" / ".gitignore").read_text().split()
    for secret in (COMPOSE["secrets"] | TLS["secrets"]).values():
        assert Path(secret["file"]).parent == Path("deploy/secrets")
    assert "/secrets/" in ignored
    assert (TOP / ".dockerignore").read_text().split("\n")[1] == "*"


# Dockerfile


def test_stages_stand_on_stages_or_one_slim_python():
    known: set[str] = set()
    for name, ((_, base), *_) in stages().items():
        assert base in known or re.fullmatch(r"python:3\.11-slim-\w+", base), base
        known.add(name)
    assert f">={stages()['build'][0][1].removeprefix('python:').partition('-')[0]}" == PROJECT["requires-python"]


def test_what_is_copied_exists_and_is_sent_to_the_builder():
    allowed = {line[1:] for line in (TOP / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied: set[str] = set()
    for word, rest in instructions():
        if word != "COPY":
            continue
        *sources, _ = rest.split()
        if sources[0].startswith("--from="):
            assert sources[0].removeprefix("--from=") in stages()
            assert sources[1:] == ["/opt/fc7"]
        else:
            copied.update(sources)
    assert copied == allowed
    for source in copied:
        assert (TOP / source).exists(), source


def test_all_that_the_wheel_is_built_from_is_copied():
    copied = (TOP / ".dockerignore").read_text()
    build = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    for path in [*build["packages"], PROJECT["readme"], *PROJECT["license-files"]]:
        assert f"!{path.partition('/')[0]}\n" in copied


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_an_image_installs_its_extra_and_no_torch(name):
    dependencies, project = [rest for word, rest in stages()[f"build-{name}"] if word == "RUN"]
    assert re.findall(r'"\.\[(.+?)\]"', dependencies) == [name]
    assert "--only-deps" in dependencies
    assert "-c constraints.txt" in dependencies
    assert project.endswith(" --no-deps .")
    assert ("COPY", f"--from=build-{name} /opt/fc7 /opt/fc7") in stages()[name]
    assert not any(requirement.startswith("torch") for requirement in [*PROJECT["dependencies"], *extra(name)])


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_a_change_of_the_source_keeps_the_layer_of_the_dependencies(name):
    copied = ""
    for word, rest in [*stages()["build"], *stages()[f"build-{name}"]]:
        if "--only-deps" in rest:
            break
        copied += rest if word == "COPY" else ""
    assert copied == "pyproject.toml constraints.txt ./"


def extra(name: str) -> list[str]:
    """The requirements of an extra, with those of the extras that it includes."""
    own = [requirement for requirement in EXTRAS[name] if not requirement.startswith("fc7[")]
    included = [requirement[4:-1] for requirement in EXTRAS[name] if requirement.startswith("fc7[")]
    return own + [requirement for other in included for requirement in extra(other)]


# Packaging


def test_cpu_and_gpu_share_the_server():
    shared = set(extra("cpu")) & set(extra("gpu"))
    assert shared == set(extra("server"))
    assert len(extra("cpu")) == len(extra("gpu")) == len(shared) + 2


def test_what_is_for_development_is_not_published():
    assert "dev" not in EXTRAS
    included = [entry["include-group"] for entry in GROUPS["dev"]]
    assert set(included) | {"dev"} == GROUPS.keys()
    assert "--group dev" in MAKEFILE


def test_every_requirement_is_pinned():
    pins = {canonical(line) for line in (TOP / "constraints.txt").read_text().splitlines() if "==" in line}
    of_groups = [entry for entries in GROUPS.values() for entry in entries if isinstance(entry, str)]
    of_extras = [requirement for name in EXTRAS for requirement in extra(name)]
    wanted = set(map(canonical, [*PROJECT["dependencies"], *of_extras, *of_groups]))
    assert len(wanted) > 40
    assert wanted <= pins


def canonical(requirement: str) -> str:
    """The name that a requirement or a pin begins with, as package indexes compare it."""
    return re.sub("[-_.]+", "-", re.split(r"[\[<>=]", requirement)[0]).lower()


def test_the_versions_of_python_are_those_that_are_tested():
    classifiers = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if " :: Python :: 3." in line]
    assert re.findall(r"^VERSIONS := (.+)", MAKEFILE, re.MULTILINE) == [" ".join(classifiers)]
    assert PROJECT["requires-python"] == f">={classifiers[0]}"


@pytest.mark.parametrize("present", [["3.12"], ["3.11", "3.13"], []])
def test_the_suite_runs_with_each_python_that_is_present(present, tmp_path):
    for name in [f"python{version}" for version in present]:
        (tmp_path / name).write_text("#!/bin/sh")
        (tmp_path / name).chmod(0o755)
    command = [shutil.which("make"), "-s", "test-versions", "MAKE=echo", f"SHELL={shutil.which('sh')}"]
    done = subprocess.run(command, cwd=TOP, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    *suites, summary = done.stdout.splitlines()
    assert suites == [f"test PYTHON=python{version} VENV=.venv-{version}" for version in present]
    tested, _, skipped = summary.partition("Skipped")
    assert re.findall(r"3\.\d+", tested) == present
    assert len(re.findall(r"3\.\d+", skipped)) == 3 - len(present)
    assert (done.returncode == 0) == bool(present)


def test_the_image_runs_the_command_as_another_user():
    runtime = dict(stages()["runtime"])
    variables = dict(pair.split("=", 1) for word, rest in stages()["runtime"] if word == "ENV" for pair in rest.split())
    assert variables["PATH"].startswith("/opt/fc7/bin:")
    assert variables["FC7_DATA"] == runtime["VOLUME"], "commands in the container find the running server"
    assert variables["ORT_DISABLE_TELEMETRY"] == "1"
    assert runtime["ENTRYPOINT"] == '["fc7"]'
    assert "fc7" in PROJECT["scripts"]
    user = runtime["USER"].partition(":")[0]
    assert f"--uid {user} " in runtime["RUN"]
    service = COMPOSE["services"]["cpu"]
    assert service["user"].partition(":")[0] == user
    assert runtime["EXPOSE"] == service["command"][2].rpartition(":")[2]
    assert runtime["VOLUME"] == service["volumes"][0].partition(":")[2]
    assert runtime["VOLUME"] in runtime["RUN"], "made in the image, for that user"


# Guides and hooks


@pytest.mark.parametrize("guide", GUIDES)
def test_commands_in_a_guide_exist(guide):
    lines = shell_lines(guide)
    assert len(lines) >= 3
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    for line in lines:
        words = shlex.split(line, comments=True)
        if not words:
            continue  # a comment
        while re.match(r"\w+=", words[0]):
            words = words[1:]
        if words[0] == "fc7":
            parse(words[1:])
        elif words[0] == "make":
            assert set(words[1:]) <= targets
        elif words[:2] == ["docker", "compose"]:
            check_compose(words[2:])
        elif words[:2] == ["pip", "install"]:
            assert set(re.findall(r"\[(.+)\]", words[2])) <= EXTRAS.keys()


def check_compose(words: list[str]) -> None:
    for option, value in itertools.pairwise(words):
        if option == "-f":
            assert (TOP / value).is_file()
        if option == "--profile":
            assert value in COMPOSE["services"]


@pytest.mark.parametrize("guide", [*GUIDES, "docs/reference/configuration.md"])
def test_files_that_a_guide_names_exist(guide):
    text = re.sub(r"```.*?```", "", (TOP / guide).read_text(encoding="utf-8"), flags=re.DOTALL)
    paths = re.findall(r"`((?:client|service|models|proto|tests|docs|deploy|\.ci)/[\w./-]+)`", text)
    paths = [path for path in paths if not path.startswith("deploy/secrets/") and "NAME" not in path]
    links = [(TOP / guide).parent / link.partition("#")[0] for link in re.findall(r"\]\(([^:)]+)\)", text)]
    for path in [*(TOP / path for path in paths), *links]:
        assert path.exists(), path


def test_variables_and_volume_of_the_guide_are_real():
    text = "".join((TOP / "docs" / "guides" / f"{name}.md").read_text("utf-8") for name in ("serve", "gpu", "backup"))
    assert set(re.findall(r"FC7_\w+", text)) <= {f"FC7_{name.upper()}" for name in NAMES} | {"FC7_PUBLISH"}
    assert f"--volume {COMPOSE['volumes']['data']['name']}:" in text


def test_the_token_file_of_the_guide_is_read(tmp_path):
    text = (TOP / "docs" / "guides" / "serve.md").read_text(encoding="utf-8")
    example = text.partition("```text\n")[2].partition("```")[0]
    (tmp_path / "tokens").write_text(example)
    tokens = read_tokens(tmp_path / "tokens").values()
    assert sorted(token.scope for token in tokens) == ["admin", "read", "write"]


def test_hooks_are_local_and_their_tools_are_installed_by_make_test():
    config = yaml.safe_load((TOP / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    lint = {canonical(requirement) for requirement in GROUPS["lint"]}
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert Path(hook["entry"].split()[0]).parent == Path(".venv/bin")
        assert Path(hook["entry"].split()[0]).name in lint
    subprocess.run(
        [sys.executable, "-m", "pre_commit", "validate-config", str(TOP / ".pre-commit-config.yaml")], check=True
    )


def test_the_check_of_every_change_is_a_script_that_runs_both_commands():
    script = TOP / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert re.findall(r"^make (\w+)$", script.read_text(), re.MULTILINE) == ["demo", "test"]
