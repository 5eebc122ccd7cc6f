"""Imports between the rooms of the package go one way."""

from __future__ import annotations

import ast
from pathlib import Path

import alchemflows

#: From the ground up; a room imports only from those before it, rooms of one floor do not import one another.
FLOORS = (
    ("errors",),
    ("choices", "yaml_file"),
    ("arguments", "declarations", "descriptions", "identity", "output_file", "settings", "silence"),
    ("schemas",),
    ("structures", "free_energy", "plotting"),
    ("alchemy",),
    ("sampling", "optimize"),
    ("analysis",),
    ("jobs",),
    ("flows", "storage"),
    ("execution", "results", "reproduce"),
    ("campaign",),
    ("report",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
PACKAGE = Path(alchemflows.__file__).parent


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms that a file imports, wherever in it the import stands."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("alchemflows."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            rooms |= {name.name.split(".")[1] for name in node.names if name.name.startswith("alchemflows.")}
    return rooms


def test_every_room_has_its_floor() -> None:
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__", "__main__"} == set(LEVEL)


def test_imports_go_down() -> None:
    upward = []
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        upward += [
            f"{path.relative_to(PACKAGE)} imports {other}"
            for other in rooms_imported(path)
            if other != room and LEVEL[other] >= LEVEL.get(room, len(FLOORS))
        ]
    assert upward == []
