"""All methods on the same faces: rows with reasons, layers, trainings, directions of one's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_trials import NAMES, Plain, Walks, plain_faces

from facenb.editors import LinearEditor
from facenb.methods.all_methods import YOURS
from facenb.methods.compare_all import (
    LEVEL,
    TARGETS,
    Population,
    Sizes,
    best_layers,
    compare_all,
    editors_of,
    with_method,
)
from facenb.methods.entry import Entry, own_directions
from facenb.metrics.compare_table import Comparison
from facenb.metrics.measurements import MeasurementsError
from facenb.metrics.ranking import ranked
from scripts.compare_methods import directions

KNOWN = Population(torch.zeros(1), torch.ones(1), 0.5)


def line(name, *vector):
    return LinearEditor(name, torch.tensor(vector))


class Few:
    """Made-up methods."""

    targets = ("smile", "age")

    def entries(self):
        slanted = {"smile": line("smile", 1.0, 0.5, 0.0), "age": line("age", 0.5, 1.0, 0.0)}
        again = [slanted, {"smile": line("smile", 1.0, 0.0, 0.1), "age": slanted["age"]}]
        made = {
            "slanted": Entry(slanted, 100, 1.0, 2.5, trainings=lambda: again),
            "smiles": Entry({"smile": slanted["smile"]}, 0, 1.0, reasons={"age": "knows none"}),
            "walker": Entry({"smile": Walks(), "age": Walks()}, 0, 1.0, iterative=True),
        }
        return {name: lambda entry=entry: entry for name, entry in made.items()}


@pytest.fixture
def faces(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    return plain_faces()


@pytest.fixture
def data(faces):
    return compare_all(faces, Few(), KNOWN, Sizes(40, 5, 10))


def test_every_method_and_target_has_edits_or_a_reason(data):
    assert data.methods == ("slanted", "smiles", "walker") and data.most == 40
    assert len(data.edits["walker", "smile"].test) == 5
    assert data.edits["smiles", "age"].reason == "knows none"
    assert data.names == (*NAMES, "independent smile", "person")
    assert data.facts["slanted"] == {
        "labels": 100, "seconds": 2.5, "training_time": "", "iterative": False,
        "editors": {"smile": "smile", "age": "age"},
    }  # fmt: skip
    effect = Comparison(data).values("side effects", "slanted", "smile")[0]
    assert float(effect) == pytest.approx(LEVEL, abs=1e-4)


def test_other_trainings_edit_the_first_faces_at_the_strength_of_this_one(data):
    own, other = data.again["slanted", "smile"]
    edits = data.edits["slanted", "smile"]
    assert torch.equal(own, edits.test[:10]) and other.shape == own.shape
    moved = (other - data.before[4:14])[:, 0].abs()
    assert torch.allclose(moved, torch.full((10,), edits.strength / 1.01**0.5), atol=1e-3)
    assert ("walker", "smile") not in data.again


def test_a_run_without_walks_says_so(faces):
    found = compare_all(faces, Few(), KNOWN, Sizes(8, 0, 0), ["walker"])
    assert found.edits["walker", "smile"].reason == "iterative: left out of this run"


def test_editors_are_those_that_were_judged(data):
    editors = editors_of(Few(), data)
    assert set(editors) == {("slanted", "smile"), ("slanted", "age"), ("smiles", "smile")}
    data.facts["slanted"]["editors"]["smile"] = "PC3, layers 0 to 6"
    with pytest.raises(MeasurementsError, match="slanted, smile: the edits that ship are of 'PC3"):
        editors_of(Few(), data)


def test_a_range_of_layers_is_chosen_on_the_calibration_faces(faces):
    steep, flat = line("steep", 1.0, 0.1, 0.0), line("flat", 0.6, 1.0, 0.0)
    entry = Entry({"smile": flat}, 0, 1.0, layers={"smile": {"coarse": steep}})
    assert best_layers(faces, entry, "smile") is steep
    swapped = replace(entry, editors={"smile": steep}, layers={"smile": {"coarse": flat}})
    assert best_layers(faces, swapped, "smile") is steep


def test_directions_of_ones_own_become_a_row(faces, data):
    entry = Entry({"smile": line("mine", 1.0, 0.2, 0.0)}, 0, 2.0, None, "elsewhere",
                  {"age": "no file was given"})  # fmt: skip
    found = with_method(data, faces, YOURS, entry, Sizes(40))
    assert found.methods == (*data.methods, YOURS)
    assert found.edits[YOURS, "age"].reason == "no file was given"
    assert ranked(Comparison(found), "smile")[0] == YOURS  # five smiles for one of age
    again = with_method(found, faces, YOURS, entry, Sizes(10))
    assert again.methods == found.methods and len(again.edits[YOURS, "smile"].test) == 10


def test_files_of_directions_are_named_by_target(tmp_path):
    np.save(tmp_path / "mine.npy", np.array([0.0, 3.0, 4.0], dtype=np.float32))
    found = own_directions(directions([f"age={tmp_path / 'mine.npy'}"]), Plain(), TARGETS)
    assert torch.allclose(found["age"].direction, torch.tensor([0.0, 0.6, 0.8]))
    for wrong in ("mine.npy", "age=", "=x"):
        with pytest.raises(ValueError, match="expected TARGET=FILE"):
            directions([wrong])
    with pytest.raises(ValueError, match=r"targets among smile.*given 'hats'"):
        own_directions({"hats": tmp_path / "mine.npy"}, Plain(), TARGETS)
    np.save(tmp_path / "two.npy", np.eye(3, dtype=np.float32)[:2])
    with pytest.raises(ValueError, match="expected one direction, given"):
        own_directions({"age": tmp_path / "two.npy"}, Plain(), TARGETS)
