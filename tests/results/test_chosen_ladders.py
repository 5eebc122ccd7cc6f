"""Which stored ladders can be corrected to a new potential."""

from __future__ import annotations

import pytest
from stored import DOCUMENTS, MODEL, store_examples

from alchemflows.errors import InvalidInputError, NoResultError
from alchemflows.results.reanalysis import ladders_to_correct
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialSpec

SPRINGS = CalculatorSpec(path="calculators:Springs")


@pytest.fixture(scope="module")
def ladder(shared_database):
    """Return a database with the ladder of the examples (mace-demo, NaCl → KCl), and its identifier."""
    kinds = ("FreeEnergyDocument", "RelaxDocument", "WindowsDocument")
    store_examples(shared_database, [DOCUMENTS / f"{kind}-1.json" for kind in kinds])
    frames = {"blob_uuid": "0" * 32, "store": "data"}  # the windows of the example have none
    windows = {"output.@class": "WindowsDocument"}
    shared_database.outputs().update_many(windows, {"$set": {"output.windows.$[].frames": frames}})
    (uuid,) = shared_database.outputs().distinct("uuid", {"output.@class": "FreeEnergyDocument"})
    return shared_database, uuid


def test_a_ladder_with_frames(ladder):
    database, uuid = ladder
    for ids, campaign in (([uuid[:8]], None), ((), "examples")):
        chosen = ladders_to_correct(database, ids, campaign, SPRINGS)
        assert chosen.ladders == [uuid] and chosen.elements == {11, 17, 19} and not chosen.refused and not chosen.same


def test_a_ladder_of_the_same_potential(ladder):
    database, uuid = ladder
    chosen = ladders_to_correct(database, [uuid], None, PotentialSpec(name="mace-demo", dtype="float64"))
    assert chosen.same == [uuid] and not chosen.ladders


def test_a_potential_that_lacks_an_element(ladder):
    database, uuid = ladder
    chosen = ladders_to_correct(database, [uuid], None, PotentialSpec(name=str(MODEL)))
    assert not chosen.ladders and "Na" in chosen.refused[uuid]


def test_ladders_without_frames_or_with_mixed_ends(ladder):
    database, uuid = ladder
    before = database.outputs().find_one({"uuid": uuid})
    try:
        database.outputs().update_one({"uuid": uuid}, {"$set": {"output.window_jobs": ["none"]}})
        assert "frames" in ladders_to_correct(database, [uuid], None, SPRINGS).refused[uuid]
        database.outputs().update_one({"uuid": uuid}, {"$set": {"output.final_weights": [0.5, 0.5]}})
        assert "mixed" in ladders_to_correct(database, [uuid], None, SPRINGS).refused[uuid]
    finally:
        database.outputs().replace_one({"_id": before["_id"]}, before)


def test_other_results_are_refused(ladder):
    database, uuid = ladder
    (other,) = database.outputs().distinct("uuid", {"output.@class": "RelaxDocument"})
    for ids, campaign, words in (
        ([other], None, "relaxation"),
        ([uuid, uuid[:8]], None, "twice"),
        ((), "nothing", "nothing"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            ladders_to_correct(database, ids, campaign, SPRINGS)
    with pytest.raises(NoResultError):
        ladders_to_correct(database, ["00000000"], None, SPRINGS)
