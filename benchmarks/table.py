"""Turn reports (`--json`) into Markdown tables.

``python benchmarks/table.py REPORT.json [REPORT.json ...]`` prints the tables for the docs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from measure import describe, tables


def markdown(document: dict[str, Any]) -> str:
    """Return the tables of a report and the origin of its numbers."""
    blocks = []
    for heading, rows in tables(document):
        lines = [f"**{heading}**", "", _row(rows[0]), _row(["---"] * len(rows[0])), *map(_row, rows[1:])]
        blocks.append("\n".join(lines))
    blocks.append("\n".join(f"- {_escape(line)}" for line in describe(document).splitlines()))
    return "\n\n".join(blocks)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(map(_escape, cells))} |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Print the tables of all given reports."""
    parser = argparse.ArgumentParser(description="Print benchmark reports as Markdown tables.")
    parser.add_argument("reports", nargs="+", type=Path, help="files written with --json")
    print("\n\n".join(markdown(json.loads(file.read_text())) for file in parser.parse_args().reports))


if __name__ == "__main__":
    main()
