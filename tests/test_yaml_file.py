"""YAML as it is written: keys given twice, and texts that YAML 1.1 takes for something else."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemflows.errors import InvalidInputError
from alchemflows.yaml_file import read_yaml

WORDS = st.text("abcdefgh", min_size=1, max_size=4)
TREES = st.recursive(
    WORDS | st.integers(-5, 5) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("yaml") / "file.yaml"

    def write(text):
        path.write_text(text, encoding="utf-8")
        return path

    return write


@settings(deadline=None)
@given(tree=TREES, flow=st.booleans())
def test_a_written_tree_is_read_unchanged(file, tree, flow):
    assert read_yaml(file(yaml.safe_dump(tree, default_flow_style=flow))).content == tree


@settings(deadline=None)
@given(
    above=st.lists(WORDS | st.just(0), max_size=4),
    others=st.lists(WORDS, max_size=4, unique=True),
    key=st.sampled_from(["Na", "No", "1", "true", "null", "1e3", "'quoted'", "24:00:00"]),
    values=st.tuples(WORDS, WORDS),
    flow=st.booleans(),
)
def test_a_key_twice_is_refused_at_any_level_with_its_line(file, above, others, key, values, flow):
    entries = [(key, values[0]), *((f"x{other}", "1") for other in others), (key, values[1])]
    each = [f"{k}: {v}" for k, v in entries]
    lines = ["{" + ", ".join(each) + "}"] if flow else each
    before = []
    for depth, name in enumerate(above):
        before.append("  " * depth + ("-" if name == 0 else f"{name}:"))
    text = "\n".join([*before, *("  " * len(above) + line for line in lines)])
    last = len(text.splitlines())
    with pytest.raises(InvalidInputError) as error:
        read_yaml(file(text))
    message = str(error.value)
    assert f"file.yaml, line {last}: " in message and key.strip("'") in message and "\n" not in message


@pytest.mark.parametrize(
    "text", ["1: a\n1.0: b", "a: 1\n'a': 2", "1: a\n0x1: b", "<<: {a: 1}\n<<: {b: 2}", "~: 1\nnull: 2"]
)
def test_keys_that_mean_the_same_are_refused(file, text):
    with pytest.raises(InvalidInputError, match="line 2"):
        read_yaml(file(text))


def test_a_merged_key_is_no_second_one(file):
    text = "base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\nagain: *base"
    assert read_yaml(file(text)).content["use"] == {"a": 1, "b": 3}


@settings(deadline=None)
@given(hours=st.integers(0, 99), minutes=st.integers(0, 59), seconds=st.none() | st.integers(0, 59))
def test_times_are_texts(file, hours, minutes, seconds):
    time = f"{hours}:{minutes:02}" + ("" if seconds is None else f":{seconds:02}")
    assert read_yaml(file(f"walltime: {time}")).content == {"walltime": time}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        *((word, word) for word in ("No", "no", "NO", "Yes", "yes", "on", "Off", "y", "N")),
        *((word, word) for word in ("010", "007", "1_000", "2026-01-01", "1:30", "1:30.5", "0b11", "=", "e3", "1.2.3")),
        ("true", True), ("False", False), ("~", None), ("null", None), ("", None),
        ("1e3", 1000.0), ("1E-3", 1e-3), (".5", 0.5), ("-1.", -1.0), ("+7", 7), ("0o17", 15), ("0x1F", 31),
        (".inf", math.inf), ("-.inf", -math.inf), ("'300'", "300"),
    ],
)  # fmt: skip
def test_traps_of_yaml_1_1(file, written, read):
    found = read_yaml(file(f"value: {written}")).content["value"]
    assert found == read and type(found) is type(read)
    assert math.isnan(read_yaml(file("value: .nan")).content["value"])


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: b: c", "a: *there", "a: !!python/object:os.system x", "a: !!int x", "a: 1\n---\nb: 2", "\ta: 1",
     "a: \x07", "? [a]\n: 1", "a: &a [*a]", "[" * 2000],
)  # fmt: skip
def test_invalid_yaml_is_refused_in_one_line_and_secret_files_are_not_quoted(file, text):
    for secret in (False, True):
        with pytest.raises(InvalidInputError) as error:
            read_yaml(file(text), secret=secret)
        assert "\n" not in str(error.value) and "file.yaml" in str(error.value)
    assert "there" not in str(error.value).replace(str(file(text)), "")


def test_values_have_the_line_of_their_key(file):
    read = read_yaml(file("a:\n  b: 1\n  c:\n    - x\n    - d: 2\n"))
    assert [read.lines[place] for place in (("a",), ("a", "b"), ("a", "c", 0), ("a", "c", 1, "d"))] == [1, 2, 4, 5]
    assert read.where(("a", "c", 1, "d", "deeper")).endswith("line 5")
