"""Pages out of this folder's templates: one HTML file each, all texts escaped, plots as SVG."""

from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


@lru_cache
def page(name: str) -> Template:
    """The template of that file name."""
    folder = FileSystemLoader(Path(__file__).parent)
    pages = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    pages.filters["signed"] = lambda value: f"{value:+.3f}"
    pages.filters["share"] = lambda value: "–" if value is None else f"{value:.0%}"
    pages.filters["count"] = lambda value: f"{value:,}"
    return pages.get_template(name)
