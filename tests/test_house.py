"""Rules of the house that hold for all files: one class per name, and one file for each private part of a library."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from multiprocessing import forkserver
from pathlib import Path

import pytest

import alchemflows

PACKAGE = Path(alchemflows.__file__).parent
SOURCES = {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}

#: FireWorks' private names: fields of its documents, its lock and its heartbeat, and its collections.
FIREWORKS = (
    r"(?<![A-Za-z])_tasks\b|\b_exception\b|_stacktrace|\bWFLock\b|[\"']locked[\"']|\bping_launch\b|\bdo_ping\b"
    r"|archived_launches|launch_dir\b|\bspec\.(_tasks|campaign)|\.spec\[|fw_id_assigner|fw_gridfs"
    r"|launchpad\.(fireworks|workflows|launches|offline_runs|db|connection)\b"
)
#: Private parts of libraries, and the one file that uses each.
PARTS = {
    FIREWORKS: "storage/fireworks.py",
    r"[\"']launchpad[\"']": "storage/fireworks.py",
    r"getLogger\([\"']pymbar": "free_energy/__init__.py",
    r"\bconv_fusion\b|\bconv_tp\b|\bconv_tp_weights\b": "alchemy/backends/mace_internals.py",
    r"(from|import) sevenn\b": "alchemy/backends/sevennet.py",
    r"\btorch\._C\b": "alchemy/backends/loading.py",
    r"[\w\]]\._version\b": "alchemy/potential.py",
    r"\.make\.original\b|\.set_uuid\(|CURRENT_JOB\.reset\b": "jobs/jobflow_parts.py",
    r"\._collection\b": "storage/database.py",
    r"task_document_kwargs": "jobs/relax.py",
    r"@version": "schemas/base.py",
}


def test_no_class_name_is_used_twice():
    places = defaultdict(list)
    for path, text in SOURCES.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


@pytest.mark.parametrize(("pattern", "place"), PARTS.items(), ids=[f"{v} {k}" for k, v in PARTS.items()])
def test_private_parts_of_a_library_are_used_in_one_file(pattern, place):
    found = {path for path, text in SOURCES.items() if re.search(pattern, text)}
    assert found == {place}


def test_private_parts_of_python_are_used_by_one_file_of_the_tests():
    """If a new release of Python has no such names, tests/command_line.py must start processes in another way."""
    found = {
        path.name
        for path in Path(__file__).parent.rglob("*.py")
        if path != Path(__file__) and "forkserver._forkserver" in path.read_text()
    }
    assert found == {"command_line.py"}
    server = getattr(forkserver, "_forkserver", None)
    assert server is not None, "multiprocessing.forkserver no longer has the server _forkserver, as in Python 3.11"
    assert hasattr(server, "_forkserver_address"), "the fork server of Python has no _forkserver_address, as in 3.11"
    assert callable(server.ensure_running)


def test_functions_of_jobs_have_one_verb_for_one_thing():
    """Jobs are run, cancelled, retried and returned to the queue; no other verb says the same."""
    others = re.compile(r"(^|_)(give|mend|settle|work_off|take_up|revive|abandon|abort)(_|$)")
    found = [
        f"{path}: {node.name}"
        for path, text in SOURCES.items()
        if path.startswith(("execution/", "campaign/", "cli/"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and others.search(node.name)
    ]
    assert found == []


def test_files_of_tests_have_different_names():
    """Pytest imports them by their names, so two of one name cannot be collected together; tests import benchmarks."""
    places, tests = defaultdict(list), Path(__file__).parent
    for path in {*tests.rglob("test_*.py"), *tests.glob("*.py"), *tests.with_name("benchmarks").glob("*.py")}:
        places[path.name].append(str(path.parent.name))
    assert {name: folders for name, folders in places.items() if len(folders) > 1} == {}
