"""The command `redraft`: one thin entry that loads a group's module only when it is called."""

import importlib
import os
import re
import sys
import warnings
from collections.abc import Sequence

import click

COMMANDS = {
    "up": ("serve.commands.up:command", "API, page and scheduler together."),
    "retrain": ("retrain.commands:group", "Learn from feedback: now, schedule, status, resume."),
    "adapters": (
        "retrain.adapter_commands:group",
        "Registry: list, promote, canary, rollback, lineage.",
    ),
    "corpus": ("retrain.corpus.commands:group", "Documents to a domain dataset."),
    "prompts": ("serve.commands.prompts:group", "Prompt files: check what one lacks."),
    "export": ("retrain.export:command", "Feedback as files that trainers read."),
    "import": ("retrain.importing:command", "Feedback from such files, and from Open WebUI."),
    "user": ("serve.commands.people:user", "People: add, list, role, password, consent, forget."),
    "key": ("serve.commands.people:key", "API keys: new, list, revoke."),
    "db": ("serve.commands.db:group", "The record: migrate, check, prune."),
    "doctor": ("serve.commands.doctor:command", "What is missing on this machine, in one page."),
}
WARNS = "transformers.modeling_utils"
# Commands of a group that are made elsewhere: what they do reaches into the files of runs.
WITHIN = {
    "user": {"forget": "retrain.forgetting:forget"},
    "db": {"prune": "retrain.forgetting:prune"},
}
# How long torch's threads (GNU OpenMP) spin where they wait for work: by default for milliseconds,
# in which a training keeps the processor from what it waits for. It has two teams of threads, one
# forward and one backward, and the idle one spun beside the other: 1.4 times the seconds of a step
# (`bench/crowded.py`).
SPIN = {"GOMP_SPINCOUNT": "5000"}
OURS = ("serve", "feedback", "retrain", "prompts")


class LazyGroup(click.Group):
    """Lists commands from a table, so that help answers at once, and imports one when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = _load(COMMANDS[cmd_name][0])
        for name, path in WITHIN.get(cmd_name, {}).items():
            if isinstance(command, click.Group):
                command.add_command(_load(path), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _load(path: str) -> click.Command:
    module, _, name = path.partition(":")
    command: click.Command = getattr(importlib.import_module(module), name)
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="redraft")
def redraft() -> None:
    """A chat server for a fine-tuned open model that learns from the people who use it.

    Settings are REDRAFT_* environment variables or redraft.toml in the working folder.
    """


def share_processor() -> None:
    """Let this process and its children spin briefly; to be called before torch is imported.

    A wait policy or spin count of the user's own stays.
    """
    if not {"OMP_WAIT_POLICY", *SPIN} & os.environ.keys():
        os.environ.update(SPIN)


def quiet_libraries() -> None:
    """Keep from the screen what libraries say to programmers; slow steps have lines of ours.

    2026-11-30: peft 0.21.2 reads an attribute that transformers 5.23 renamed and 6.0 drops; that
    warning ends with the next release of peft. What the user set stays.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("PYTHONWARNINGS", f"ignore::FutureWarning:{WARNS}")  # of the children
    warnings.filterwarnings("ignore", category=FutureWarning, module=re.escape(WARNS))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error of ours is one sentence on standard error and exit code 1."""
    share_processor()
    quiet_libraries()
    try:
        redraft(arguments, prog_name="redraft")
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in OURS:
            raise
        click.echo(f"redraft: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
