"""All methods on one bench: rows with reasons, layers, trainings, directions of one's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_bench import NAMES, Plain, PlainPanel

from facenb.editors import LinearEditor
from facenb.methods.compared import (
    Population,
    Sizes,
    best_layers,
    compare_all,
    editors_of,
    with_method,
)
from facenb.methods.entry import Entry
from facenb.methods.lineup import YOURS
from facenb.metrics.bench import LEVEL, Bench
from facenb.metrics.judged import JudgedError
from facenb.metrics.judged_table import Opinion
from scripts.compare_methods import directions

KNOWN = Population(torch.zeros(1), torch.ones(1), 0.5)


def line(name, *vector):
    return LinearEditor(name, torch.tensor(vector))


class Walker:
    name, space = "smile", "z"

    def edit(self, latents, strength):
        return latents + torch.stack([strength, 0 * strength, 0 * strength], 1)


class Few:
    """A line-up of made-up methods."""

    targets = ("smile", "age")

    def entries(self):
        slanted = {"smile": line("smile", 1.0, 0.5, 0.0), "age": line("age", 0.5, 1.0, 0.0)}
        again = [slanted, {"smile": line("smile", 1.0, 0.0, 0.1), "age": slanted["age"]}]
        made = {
            "slanted": Entry(slanted, 100, 1.0, 2.5, trainings=lambda: again),
            "smiles": Entry({"smile": slanted["smile"]}, 0, 1.0, reasons={"age": "knows none"}),
            "walker": Entry({"smile": Walker(), "age": Walker()}, 0, 1.0, walks=True),
        }
        return {name: lambda entry=entry: entry for name, entry in made.items()}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    generator = Plain()
    return Bench.of(generator, PlainPanel(), generator.sample(44, seed=3), torch.zeros(3),
                    torch.ones(3), ["smile", "age"], 4)  # fmt: skip


@pytest.fixture
def judged(bench):
    return compare_all(bench, Few(), KNOWN, Sizes(40, 5, 10))


def test_every_method_and_target_has_a_cell_or_a_reason(judged):
    assert judged.methods == ("slanted", "smiles", "walker") and judged.faces == 40
    assert len(judged.cells["walker", "smile"].judged) == 5
    assert judged.cells["smiles", "age"].reason == "knows none"
    assert judged.names == (*NAMES, "independent smile", "person")
    assert judged.facts["slanted"] == {
        "labels": 100, "seconds": 2.5, "told": "", "editors": {"smile": "smile", "age": "age"},
    }  # fmt: skip
    effect = Opinion(judged).value("side effects", "slanted", "smile")[0]
    assert float(effect) == pytest.approx(LEVEL, abs=1e-4)


def test_other_trainings_edit_the_first_faces_at_the_strength_of_this_one(judged):
    own, other = judged.again["slanted", "smile"]
    cell = judged.cells["slanted", "smile"]
    assert torch.equal(own, cell.judged[:10]) and other.shape == own.shape
    moved = (other - judged.before[4:14])[:, 0].abs()
    assert torch.allclose(moved, torch.full((10,), cell.strength / 1.01**0.5), atol=1e-3)
    assert ("walker", "smile") not in judged.again


def test_a_run_without_walks_says_so(bench):
    found = compare_all(bench, Few(), KNOWN, Sizes(8, 0, 0), ["walker"])
    assert found.cells["walker", "smile"].reason == "walks through images: left out of this run"


def test_editors_are_those_that_were_judged(judged):
    editors = editors_of(Few(), judged)
    assert set(editors) == {("slanted", "smile"), ("slanted", "age"), ("smiles", "smile")}
    judged.facts["slanted"]["editors"]["smile"] = "PC3, layers 0 to 6"
    with pytest.raises(JudgedError, match="slanted, smile: the edits that ship are of 'PC3, layer"):
        editors_of(Few(), judged)


def test_a_range_of_layers_is_chosen_on_the_calibration_faces(bench):
    steep, flat = line("steep", 1.0, 0.1, 0.0), line("flat", 0.6, 1.0, 0.0)
    entry = Entry({"smile": flat}, 0, 1.0, layers={"smile": {"coarse": steep}})
    assert best_layers(bench, entry, "smile") is steep
    swapped = replace(entry, editors={"smile": steep}, layers={"smile": {"coarse": flat}})
    assert best_layers(bench, swapped, "smile") is steep


def test_directions_of_ones_own_become_a_row(bench, judged):
    entry = Entry({"smile": line("mine", 1.0, 0.2, 0.0)}, 0, 2.0, None, "elsewhere",
                  {"age": "no file was given"})  # fmt: skip
    found = with_method(judged, bench, YOURS, entry, Sizes(40))
    assert found.methods == (*judged.methods, YOURS)
    assert found.cells[YOURS, "age"].reason == "no file was given"
    opinion = Opinion(found)
    assert opinion.ranked("smile")[0] == YOURS  # five smiles for one of age
    again = with_method(found, bench, YOURS, entry, Sizes(10))
    assert again.methods == found.methods and len(again.cells[YOURS, "smile"].judged) == 10


def test_files_of_directions_are_named_by_target(tmp_path):
    np.save(tmp_path / "mine.npy", np.array([0.0, 3.0, 4.0], dtype=np.float32))
    found = directions([f"age={tmp_path / 'mine.npy'}"], Plain())
    assert torch.allclose(found["age"].direction, torch.tensor([0.0, 0.6, 0.8]))
    for wrong in ("mine.npy", "hats=mine.npy", "age="):
        with pytest.raises(ValueError, match="expected TARGET=FILE"):
            directions([wrong], Plain())
