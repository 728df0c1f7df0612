"""Imports point one way: the syntax trees prove it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("prompts", "feedback", "serve", "retrain")
# The longest prefix of a module decides; `serve.settings` is a leaf that everybody may be given.
ALLOWED = {
    "prompts": ("prompts",),
    "feedback": ("feedback",),
    "serve": ("prompts", "feedback", "serve"),
    "serve.settings": (),
    "serve.engines": ("serve.engines",),
    "serve.page": ("serve.page",),
    "retrain": ("prompts", "feedback", "serve.engines", "serve.settings", "retrain"),
}


def modules() -> list[Path]:
    return sorted(path for folder in OURS for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, folder: str) -> bool:
    return module == folder or module.startswith(f"{folder}.")


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    owner = max((f for f in ALLOWED if within(name_of(path), f)), key=len)
    for module in imports(path):
        if module.partition(".")[0] in OURS:
            allowed = any(within(module, folder) for folder in ALLOWED[owner])
            assert allowed, f"{name_of(path)} may not import {module}"


def test_serve_stays_an_empty_package() -> None:
    assert (ROOT / "serve" / "__init__.py").read_text() == ""
    for folder in ("tests", "docs", "bench"):
        assert not (ROOT / folder / "__init__.py").exists()
