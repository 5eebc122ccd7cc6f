"""The examples that ship with the package: which files each has, and how it is run."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from alchemflows.errors import InvalidInputError
from alchemflows.output_file import make_folder

FOLDER = Path(str(files("alchemflows") / "data" / "examples"))

#: Structures that each script reads.
_SCRIPTS: dict[str, tuple[str, ...]] = {
    "ti": ("CsPbI3",),
    "switching": ("CsPbI3",),
    "frenkel_ladd": ("NaCl",),
    "vacancy": ("Fe",),
    "phases": ("CsPbI3", "CsPbI3_delta"),
    "sweep": ("CeO2",),
    "optimization": ("NaCl",),
    "ordering": ("Na0.5K0.5Cl",),
    "order_disorder": ("Na0.5K0.5Cl",),
    "calculator": ("NaCl",),
}


@dataclass(frozen=True)
class Example:
    """Files that are written together.

    Attributes
    ----------
    name
        Name on the command line.
    summary
        One sentence.
    command
        Command that uses the files, in their folder.
    sources
        The files in the package; a script with cells (``# %%``) is also written as a notebook.
    """

    name: str
    summary: str
    command: str
    sources: tuple[Path, ...]

    def contents(self) -> dict[str, str]:
        """Return the text of each file to write, by its name."""
        made = {source.name: source.read_text(encoding="utf-8") for source in self.sources}
        for name, text in list(made.items()):
            if name.endswith(".py") and "\n# %%" in text:
                made[f"{name.removesuffix('.py')}.ipynb"] = notebook(text)
        return made

    def write(self, folder: Path) -> list[Path]:
        """Write the files into a folder, which is created if needed, and return their paths.

        Raises
        ------
        InvalidInputError
            If one of the files exists, before any is written; if the folder cannot be created or written.
        """
        contents = {folder / name: text for name, text in self.contents().items()}
        there = [str(path) for path in contents if path.exists()]
        if there:
            raise InvalidInputError(
                f"these files exist already: {', '.join(there)}; remove them or name another folder"
            )
        make_folder(folder)
        for path, text in contents.items():
            path.write_text(text, encoding="utf-8")
        return list(contents)


def examples() -> dict[str, Example]:
    """Return all examples by name."""
    structures = tuple(sorted((FOLDER / "structures").glob("*.cif")))
    found = [
        Example(
            "structures",
            "Structure files (CIF): all crystals of the examples and of the documentation.",
            "alchemflows ti CsPbI3.cif Pb:Sn --supercell 2 2 2 -T 400 --potential mace-demo",
            structures,
        ),
        Example(
            "campaign",
            "Run many calculations from one YAML file.",
            "alchemflows campaign check salts.yaml && alchemflows campaign submit salts.yaml",
            (FOLDER / "campaigns" / "salts.yaml", _structure("NaCl")),
        ),
    ]
    kinds = FOLDER / "campaigns"
    used = ("NaCl", "KCl", "Na0.5K0.5Cl", "CsPbI3", "CsPbI3_delta", "Fe")
    found.append(
        Example(
            "campaign-kinds",
            "Campaign files of other methods: sweeps, optimizations, orderings, phases, a maker of your own, and more.",
            "PYTHONPATH=. alchemflows campaign check volumes.yaml",
            (*sorted(kinds.glob("*.yaml")), kinds / "volumes.py", *map(_structure, used)),
        )
    )
    for stem, names in _SCRIPTS.items():
        script = FOLDER / "scripts" / f"{stem}.py"
        summary = (ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        sources = (script, *map(_structure, names))
        found.append(Example(stem.replace("_", "-"), summary, f"python {script.name}", sources))
    return {example.name: example for example in found}


def find_example(name: str) -> Example:
    """Return the example of a name.

    Raises
    ------
    InvalidInputError
        If there is none; the message lists the names.
    """
    known = examples()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise InvalidInputError(f"no example {name!r}; {meant}examples: {', '.join(known)}")
    return known[name]


def describe(cif: str) -> str:
    """Return what the first line of a structure file of the examples says."""
    return cif.partition("\n")[0].removeprefix("#").strip()


def notebook(script: str) -> str:
    """Return a Jupyter notebook (JSON, nbformat 4.5) of a script with a docstring and cells that begin with ``# %%``.

    The docstring, and the titles behind ``# %%``, become cells of text.
    """
    docstring = ast.get_docstring(ast.parse(script)) or ""
    title, _, rest = docstring.partition("\n")
    cells = [_cell("markdown", f"# {title}\n{rest}")]
    for part in re.split(r"^# %%", script, flags=re.MULTILINE)[1:]:
        heading, _, code = part.partition("\n")
        if heading.strip():
            cells.append(_cell("markdown", f"## {heading.strip()}"))
        cells.append(_cell("code", code.strip()))
    for k, cell in enumerate(cells):
        cell["id"] = f"cell-{k}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cell(kind: str, text: str) -> dict[str, object]:
    cell: dict[str, object] = {"cell_type": kind, "metadata": {}, "source": text.strip().splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _structure(name: str) -> Path:
    return FOLDER / "structures" / f"{name}.cif"
