"""What the README says is generated is what the code says."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_generated_tables_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_file_the_readme_shows_exists() -> None:
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / path).exists(), path


def test_every_chapter_the_readme_points_to_exists() -> None:
    readme = (ROOT / "README.md").read_text()
    headings = re.findall(r"^##+ (.+)$", readme, re.M)
    chapters = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
    pointed_to = set(re.findall(r"\]\(#([^)]+)\)", readme))
    assert pointed_to and pointed_to <= chapters, pointed_to - chapters


def test_make_help_lists_the_two_commands() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True)
    assert {"chat", "test", "test-quick", "check"} <= {
        line.split()[0] for line in done.stdout.splitlines()
    }
