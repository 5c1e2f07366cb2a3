"""One face under several methods: what is chosen is drawn, by the worker, and the table sorts."""

import threading

import pytest
import torch
from test_trials import Plain, measured, measurements, plain_faces

from facenb.editors import LinearEditor
from facenb.errors import UnknownNameError
from facenb.metrics.compare_table import Comparison
from facenb.widgets.side_by_side import SideBySide


class Gated(Plain):
    """Waits at each image while its gate is shut; `drawn` has the colours of what it drew."""

    def __init__(self):
        super().__init__()
        self.gate, self.begun, self.drawn = threading.Event(), threading.Event(), []
        self.gate.set()

    def _synthesize(self, latents):
        self.begun.set()
        self.gate.wait()
        self.drawn += latents.values.tolist()
        return super()._synthesize(latents)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    faces = plain_faces(Gated())
    editors = {
        ("slanted", "smile"): LinearEditor("smile", torch.tensor([1.0, 0.5, 0.0])),
        ("steep", "smile"): LinearEditor("smile", torch.tensor([1.0, 0.2, 0.0])),
        ("slanted", "age"): LinearEditor("age", torch.tensor([0.5, 1.0, 0.0])),
        ("steep", "age"): LinearEditor("age", torch.tensor([0.2, 1.0, 0.0])),
    }
    edits = {key: measured(faces, editor, key[1]) for key, editor in editors.items()}
    data = measurements(faces, edits, methods=("slanted", "steep"), targets=("smile", "age"))
    widget = SideBySide(faces, editors, [Comparison(data), Comparison(data, True)])
    yield widget, faces, data
    faces.generator.gate.set()
    widget.close()


def test_the_first_choice_is_drawn_with_its_scores(world):
    widget, _, data = world
    assert widget._status.value == "" and len(widget._drawn.children) == 3
    for method, columns in widget.columns.items():
        assert torch.allclose(columns, data.edits[method, "smile"].test[0], atol=1e-4)
    notes = [child.children[1].value for child in widget._drawn.children]
    assert notes[0].startswith("unedited") and "<b>slanted</b>" in notes[1]
    assert "side effects 0.40" in notes[1]


def test_each_control_changes_what_is_drawn(world):
    widget, faces, data = world
    widget._strength.value = 2.0
    widget._face.value = 7
    widget._methods.value = ("steep",)
    widget._target.value = "age"
    widget.wait()
    start = faces.latents("z").values[faces.test[7]]
    moved = float((widget.columns["steep"][1] - start[1]).abs())
    assert list(widget.columns) == ["steep"]
    assert moved == pytest.approx(2 * data.edits["steep", "age"].strength / 1.04**0.5, rel=1e-3)


def test_the_newest_choice_wins_and_what_nobody_waits_for_is_given_up(world):
    widget, faces, _ = world
    faces.generator.drawn.clear()
    faces.generator.begun.clear()
    faces.generator.gate.clear()
    widget._face.value = 1  # begins, and waits at the gate
    assert faces.generator.begun.wait(10)
    for face in (2, 3, 4):
        widget._face.value = face
    assert widget._status.value == "Drawing …"
    faces.generator.gate.set()
    widget.wait()
    first = {tuple(row) for row in faces.generator.drawn}
    starts = [tuple(faces.latents("z").values[faces.test[k]].tolist()) for k in range(5)]
    assert starts[1] in first and starts[4] in first
    assert starts[2] not in first and starts[3] not in first
    assert len(faces.generator.drawn) == 1 + 3  # of face 1 the original alone


def test_the_table_is_sorted_by_what_is_chosen(world):
    widget, _, _ = world

    def order():
        html = widget._table.value
        return [
            m for _, m in sorted((html.index(f"<td>{m}</td>"), m) for m in ("slanted", "steep"))
        ]

    assert order() == ["steep", "slanted"]  # at equal side effects it goes further
    widget._sort.value = "worst"
    assert ">worst</th>" in widget._table.value and 'fs-by">worst' in widget._table.value
    before = widget._table.value
    widget._scorers.value = 1
    assert widget._table.value != before
    widget._target.value = "age"  # of which there is no second scorer
    assert "—" in widget._table.value
    widget.wait()


def test_what_fails_is_said(world):
    widget, _, _ = world
    widget._editors["slanted", "smile"] = None
    widget._editors["steep", "smile"] = LinearEditor("smile", torch.ones(4))
    widget._face.value = 5
    widget.wait()
    assert 'role="alert"' in widget._status.value


def test_a_method_to_show_must_be_there(world):
    widget, faces, _ = world
    with pytest.raises(UnknownNameError, match="steep"):
        SideBySide(faces, widget._editors, widget._tables, ["stepe"])
