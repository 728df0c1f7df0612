"""The command `redraft`: one thin entry that loads a group's module only when it is called."""

import importlib
import sys
from collections.abc import Sequence

import click

COMMANDS = {
    "up": ("serve.commands.up:command", "API, page and scheduler together."),
    "retrain": ("retrain.commands:group", "Learn from feedback: now, schedule, status, resume."),
    "adapters": (
        "retrain.adapter_commands:group",
        "Registry: list, promote, canary, rollback, lineage.",
    ),
    "export": ("retrain.export:command", "Feedback as files that trainers read."),
    "user": ("serve.commands.people:user", "People: add, list, role, password."),
    "key": ("serve.commands.people:key", "API keys: new, list, revoke."),
    "db": ("serve.commands.db:group", "The record's schema: migrate, check."),
    "doctor": ("serve.commands.doctor:command", "What is missing on this machine, in one page."),
}
OURS = ("serve", "feedback", "retrain", "prompts")


class LazyGroup(click.Group):
    """Lists commands from a table, so that help answers at once, and imports one when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="redraft")
def redraft() -> None:
    """A chat server for a fine-tuned open model that learns from the people who use it.

    Settings are REDRAFT_* environment variables or redraft.toml in the working folder.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of ours is one sentence on standard error and exit code 1."""
    try:
        redraft(arguments, prog_name="redraft")
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in OURS:
            raise
        click.echo(f"redraft: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
