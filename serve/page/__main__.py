"""`python -m serve.page --api http://127.0.0.1:8000`: the page alone."""

from __future__ import annotations

import argparse
import sys

from serve.page.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m serve.page", description=__doc__)
    parser.add_argument("--api", default="http://127.0.0.1:8000", help="address of the API")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on")
    parser.add_argument(
        "--offer-drafts", type=float, default=0, help="share of questions answered with two drafts"
    )
    parser.add_argument("--examples", default="", help="questions of an empty chat, between ;")
    given = parser.parse_args()
    examples = [question.strip() for question in given.examples.split(";") if question.strip()]
    try:
        run(given.api, given.host, given.port, examples, given.offer_drafts)
    except OSError as error:
        print(f"redraft page: port {given.port} cannot be used. {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
