"""Every reason of a verdict is in one list, is used, is recognised in stored verdicts, and is explained in the docs."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

import alchemflows
from alchemflows.schemas.reasons import Reason

PACKAGE = Path(alchemflows.__file__).parent
PAGE = PACKAGE.parent / "docs" / "verdicts.md"
#: Variables that hold reasons or warnings, which become reasons.
LISTS = {"reasons", "against", "found", "missed", "failed", "unstable", "thin", "short", "unsolved", "unknown"}


@pytest.fixture(scope="module")
def makers() -> dict[Path, ast.Module]:
    """Return the modules of the package that make reasons, parsed."""
    texts = {path: path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
    return {path: ast.parse(text) for path, text in texts.items() if "alchemflows.schemas.reasons" in text}


def example(reason: Reason) -> str:
    """Return the sentence of a reason with made-up numbers."""
    fields = [(name, spec) for _, name, spec, _ in Formatter().parse(reason.value) if name]
    return reason.because(**{name: 0.5 if spec else "Ab" for name, spec in fields})


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_recognised_in_a_stored_verdict(reason):
    for stored in (example(reason), f"perfect crystal: mean cell: {example(reason)}"):
        assert Reason.of(stored) is reason
    assert Reason.of("a sentence of an older release") is None


def test_every_reason_is_used(makers):
    used = {
        node.attr
        for tree in makers.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    }
    assert used - {"of"} == {reason.name for reason in Reason}


def test_the_page_explains_every_reason_once():
    keys = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(), re.M)
    assert sorted(keys) == sorted(reason.key for reason in Reason)


def literals(node: ast.AST) -> list[str]:
    """Return the sentences that a list of reasons contains as literals; a prefix before another reason is none."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        inner = [n for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)]
        prefixed = any(getattr(n, "id", getattr(n, "attr", "")) in ("reason", "failure") for n in inner)
        return [] if prefixed else [ast.unparse(node)]
    if isinstance(node, ast.List | ast.Tuple):
        return [text for each in node.elts for text in literals(each)]
    if isinstance(node, ast.ListComp):
        return literals(node.elt)
    if isinstance(node, ast.BinOp):
        return literals(node.left) + literals(node.right)
    if isinstance(node, ast.IfExp):
        return literals(node.body) + literals(node.orelse)
    return []


def test_no_reason_is_written_elsewhere(makers):
    """Lists of reasons, and lists that functions of the modules that make reasons return, hold no other sentences."""
    written = []
    for path, tree in makers.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                parts = [node.value] if any(isinstance(t, ast.Name) and t.id in LISTS for t in targets) else []
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = node.func.value
                mine = node.func.attr == "append" and isinstance(owner, ast.Name) and owner.id in LISTS
                parts = node.args if mine else []
            else:
                continue
            written += [(path.name, text) for part in parts for text in literals(part)]
    assert written == []


def test_literals_are_found():
    module = ast.parse('reasons = ["a"] + [f"{x} b" for x in y]\nreasons += [f"{name}: {reason}"]')
    assert [literals(statement.value) for statement in module.body] == [["a", "f'{x} b'"], []]
