"""Blocks of shell commands of README and docs: their syntax and their options; `test_pages.py` runs commands."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from alchemflows.cli.commands import app

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "launchers/README.md", "db_config/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def blocks() -> list[tuple[str, str]]:
    """Return the page and the text of each block of shell commands."""
    return [
        (str(page.relative_to(ROOT)), text)
        for page in PAGES
        for text in re.findall(r"^```(?:bash|sh)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    ]


def fences(text: str) -> list[tuple[str, str]]:
    """Return the language and the text of each fenced block of a page."""
    return re.findall(r"^ *```([^\n`]*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)


#: Languages of the blocks that tests read; others must contain neither commands of the package nor Python.
READ = ("bash", "sh", "console", "python", "yaml")
CODE = re.compile(
    r"^ *(\$ )?(\w+=\S+ )*(\.venv/bin/)?(alchemflows|python) \S"
    r"|^ *(from [\w.]+ import|import [\w.]+( as \w+)?$|def \w+\(|class \w+|@\w+$|[\w.]+ = \w[\w.]*\()",
    re.MULTILINE,
)


@pytest.mark.parametrize("page", [*PAGES, *sorted((ROOT / "docs" / "api").glob("*.md"))], ids=lambda page: page.name)
def test_commands_and_python_have_a_language(page):
    unread = [text for language, text in fences(page.read_text()) if language not in READ and CODE.search(text)]
    assert not unread


def test_a_console_shows_a_prompt():
    consoles = [text for page in PAGES for language, text in fences(page.read_text()) if language == "console"]
    assert len(consoles) >= 2 and all(text.startswith("$ ") for text in consoles)


@pytest.mark.parametrize(
    ("text", "is_code"),
    [
        ("alchemflows ti NaCl.cif Na:K\n", True),
        ("$ alchemflows ti NaCl.cif Na:K\n", True),
        ("PYTHONPATH=$PWD alchemflows correct ID\n", True),
        ("import torch\n", True),
        ("flow = maker.make(structure)\n", True),
        ("def static(encut: int) -> StaticMaker:\n", True),
        ("structure + substitution\n  └─ flows: ThermodynamicIntegrationMaker.make\n", False),
        ("import of samples\n", False),
    ],
)
def test_code_is_recognized(text, is_code):
    assert bool(CODE.search(text)) is is_code


def lines(text: str) -> list[str]:
    """Return the commands of a block, without comments; what a program reads from the block is left out."""
    text = re.sub(r"<<'EOF'\n.*?^EOF$|(python -c )'.*?'", r"\1", text, flags=re.DOTALL | re.MULTILINE)
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split = True
        words = list(lexer)
        command: list[str] = []
        for word in [*words, ";"]:
            if not set(word) <= set("&|;"):
                command.append(word)
            elif command:
                found.append(" ".join(command))
                command = []
    return [re.sub(r"^(\w+=\S+ )+", "", line) for line in found]


COMMANDS = typer.main.get_command(app)
LINES = list(dict.fromkeys(line for _, text in blocks() for line in lines(text)))
OWN = [line for line in LINES if re.match(r"(\.venv/bin/)?alchemflows ", line)]


def leaf(words: list[str]) -> tuple[object, list[str]]:
    """Return the command of the command line that words call, and its arguments."""
    command = COMMANDS
    rest = list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    return command, rest


@pytest.mark.parametrize(("page", "text"), blocks(), ids=[f"{page} {k}" for k, (page, _) in enumerate(blocks())])
def test_a_block_is_valid_for_bash(page, text):
    filled = re.sub(r"<[A-Z_]+>", "x", text)
    done = subprocess.run(["bash", "-n", "-c", filled], capture_output=True, text=True)
    assert done.returncode == 0, (page, done.stderr)


@pytest.mark.parametrize("line", OWN)
def test_each_option_of_a_command_exists(line):
    command, arguments = leaf(shlex.split(line.partition(" > ")[0])[1:])
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    given = {word.partition("=")[0] for word in arguments if re.match(r"--?[a-zA-Z]", word)}
    assert given <= known


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("python benchmarks/")])
def test_each_option_of_a_benchmark_exists(line):
    words = line.split()
    source = (ROOT / words[1]).read_text()
    assert all(f'"{word}"' in source for word in words if word.startswith("--"))
