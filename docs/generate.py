"""Writes the tables of the README that the code knows better: signals, settings, commands, HTTP.

`python docs/generate.py` writes them, `--check` fails when they are stale.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from flask import Flask

README = Path(__file__).parents[1] / "README.md"


def settings_table() -> str:
    from serve.settings import settings_fields

    rows = [f"| `{name}` | `{default}` | {text} |" for name, default, text in settings_fields()]
    return "\n".join(["| Variable | Default | What |", "| --- | --- | --- |", *rows]).replace(
        "`` |", " |"
    )


def commands_table() -> str:
    from serve.cli import redraft

    rows = [f"| `redraft {usage}` | {text} |" for usage, text in _commands(redraft, "")]
    return "\n".join(["| Command | What |", "| --- | --- |", *rows])


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, str]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
        elif command is not None:
            arguments = " ".join(_arguments(command))
            yield f"{prefix}{name} {arguments}".strip(), command.get_short_help_str(200)


def _arguments(command: click.Command) -> Iterator[str]:
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            yield (parameter.name or "").upper()
        elif isinstance(parameter, click.Option):
            both = "/".join([parameter.opts[0], *parameter.secondary_opts])
            name = both if parameter.is_flag else f"{parameter.opts[0]} …"
            yield name if parameter.required else f"[{name}]"


def endpoints_table() -> str:
    from serve.api.openapi import document

    rows = [
        f"| `{method.upper()} {path}` | {operation['summary']} |"
        for path, item in document(_app())["paths"].items()
        for method, operation in item.items()
    ]
    return "\n".join(["| Endpoint | What |", "| --- | --- |", *rows])


def _app() -> Flask:
    from serve.api import FEATURES

    app = Flask(__name__)
    for feature in FEATURES:
        app.register_blueprint(__import__(f"serve.api.{feature}", fromlist=["x"]).blueprint)
    return app


def signals_table() -> str:
    from signals import table

    return table()


TABLES = {
    "signals": signals_table,
    "settings": settings_table,
    "commands": commands_table,
    "endpoints": endpoints_table,
}


def generated(text: str) -> str:
    """The README with every generated block written anew."""
    for name, table in TABLES.items():
        block = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        found = block.search(text)
        if found is None:
            raise SystemExit(f"README.md has no block <!-- generated: {name} --> … <!-- end -->")
        text = f"{text[: found.start()]}{found[1]}{table()}\n{found[2]}{text[found.end() :]}"
    return text


def main() -> None:
    text = README.read_text()
    made = generated(text)
    if "--check" in sys.argv and made != text:
        raise SystemExit("README.md is stale: run `make docs` and commit it.")
    README.write_text(made)


if __name__ == "__main__":
    main()
