"""The container set-up as far as it can be checked without an engine for containers."""

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from conftest import ROOT

from serve.cli import redraft
from serve.settings import Settings, load_settings

DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return found


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    text = dockerfile.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def environment(service: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in (service.get("environment") or {}).items()}


def commands(compose: dict[str, Any]) -> list[list[str]]:
    composed = [service.get("command", []) for service in compose["services"].values()]
    made = [
        yaml.safe_load(rest)
        for path in DOCKERFILES
        for word, rest in instructions(path)
        if word == "CMD"
    ]
    readme = (DOCKER / "README.md").read_text()
    told = [
        shlex.split(found) for found in re.findall(r"redraft (?:user|key|retrain) [^`\n]+", readme)
    ]
    return [*composed, *made, *told]


def test_every_redraft_command_exists_with_its_options(compose: dict[str, Any]) -> None:
    ours = [command for command in commands(compose) if command[:1] == ["redraft"]]
    assert len(ours) >= 8
    for _, *words in ours:
        context, group = click.Context(redraft), redraft
        command: click.Command | None = group
        while isinstance(command, click.Group):
            command = command.get_command(context, words.pop(0))
        assert command is not None
        command.make_parser(context).parse_args(args=list(words))


def test_the_pages_command_is_one_it_takes(compose: dict[str, Any]) -> None:
    composed, built = [command for command in commands(compose) if command[:1] == ["python"]]
    assert composed[: len(built)] == built, "compose adds options to the image's command"
    _, _, module, *options = composed
    help = subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    named = {option.partition("=")[0] for option in options if option.startswith("--")}
    assert all(option in help for option in named)


def test_every_setting_is_one(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        given = {k: v for k, v in environment(service).items() if k.startswith("REDRAFT_")}
        plain = {k.removeprefix("REDRAFT_").lower(): v for k, v in given.items() if "$" not in v}
        assert {k.removeprefix("REDRAFT_").lower() for k in given} <= set(Settings.model_fields)
        assert load_settings(**plain), name


def test_the_api_asks_for_a_login_and_believes_the_proxies_network_alone(
    compose: dict[str, Any],
) -> None:
    given = environment(compose["services"]["api"])
    settings = load_settings(
        host=given["REDRAFT_HOST"], trusted_proxies=given["REDRAFT_TRUSTED_PROXIES"]
    )
    assert settings.asks_for_login
    [network] = compose["networks"]["default"]["ipam"]["config"]
    assert network["subnet"] == settings.trusted_proxies
    runs = load_settings(host=environment(compose["services"]["retrain"])["REDRAFT_HOST"])
    assert runs.api_url == "http://api:8000"


def test_only_the_proxy_is_reached_from_outside(compose: dict[str, Any]) -> None:
    open_to_all = [name for name, found in compose["services"].items() if "ports" in found]
    assert open_to_all == ["proxy"]


def test_no_secret_has_a_default(compose: dict[str, Any]) -> None:
    text = (DOCKER / "compose.yaml").read_text()
    secrets = re.findall(r"\$\{(\w*(?:PASSWORD|API_KEY))(.*?)\}", text)
    assert len(secrets) >= 4
    for name, rest in secrets:
        # Without the key of an admin only the takeover of a new champion waits.
        assert rest.startswith(":?") or (name, rest) == ("REDRAFT_API_KEY", ":-")


def test_everything_that_is_named_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", [])) <= set(services), name
        assert ("image" in service) != ("build" in service)
        if "build" in service:
            assert (ROOT / service["build"]["dockerfile"]).exists()
        else:
            assert re.search(r":v?\d", service["image"]), "an image without a version"
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (DOCKER / source).exists()


def test_vllm_is_started_as_redraft_up_starts_it(compose: dict[str, Any]) -> None:
    ours = (ROOT / "serve" / "local_vllm.py").read_text()
    for option in compose["services"]["vllm"]["command"]:
        assert f'"{option.partition("=")[0]}"' in ours, option
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" in ours
    version = re.search(r"vllm==([\d.]+)", (ROOT / "Makefile").read_text())
    assert version and compose["services"]["vllm"]["image"].endswith(f":v{version[1]}")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_copies_what_exists_and_runs_as_nobody_special(dockerfile: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    found = instructions(dockerfile)
    assert found[0][0] == "FROM" and re.search(r":\d", found[0][1])
    for word, rest in found:
        if word == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source.partition('/')[0]}" in ignored
    assert [rest for word, rest in found if word == "USER"] == ["1000"]
    assert [word for word, _ in found][-1] == "CMD"


def test_the_images_of_the_package_copy_all_of_it() -> None:
    packages = {"prompts", "feedback", "serve", "retrain"}
    for name in ("api", "retrain"):
        copied = [r for w, r in instructions(DOCKER / f"{name}.Dockerfile") if w == "COPY"]
        assert packages <= {rest.split()[0] for rest in copied}


def test_the_image_of_the_page_has_what_it_imports() -> None:
    installed = dict(instructions(DOCKER / "page.Dockerfile"))["RUN"]
    package = {"jinja2": "jinja2", "markdown_it": "markdown-it-py", "pygments": "pygments"}
    package |= {"gradio": "gradio", "httpx": "httpx"}
    package |= {"latex2mathml": "latex2mathml", "mdit_py_plugins": "mdit-py-plugins"}
    theirs = {"starlette": "gradio", "markupsafe": "jinja2"}  # they bring it
    for path in (ROOT / "serve" / "page").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in {name.partition(".")[0] for name in names} - {"serve"}:
                known = name in sys.stdlib_module_names
                assert known or (package | theirs)[name] in installed, (path, name)
