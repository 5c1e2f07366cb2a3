"""Editors, conditioning, composition and directions, on cases that can be done by hand."""

import itertools
import json

import pytest
import torch

from facenb.editors import (
    Directions,
    Editor,
    HeldEditor,
    LayerEditor,
    LinearEditor,
    apply,
    compose,
    condition,
    hold,
    strip,
)
from facenb.errors import FacenbError, SpaceError, UnknownNameError
from facenb.latents import Latents

X, Y, Z = torch.eye(3)


def codes(*rows):
    return Latents(torch.tensor(rows, dtype=torch.float32), "z")


class Quadratic:
    """A non-linear editor: z + s·(z ⊙ z)."""

    name, space = "quadratic", "z"

    def edit(self, latents, strength):
        return latents + strength * latents.values**2


def test_a_linear_editor_moves_by_its_strength_in_units_of_the_space():
    editor = LinearEditor("x", 5 * X)
    assert isinstance(editor, Editor)
    assert editor.edit(codes([1, 2, 3]), 2.0).values.tolist() == [[3, 2, 3]]
    both = editor.edit(codes([0, 0, 0], [0, 0, 0]), torch.tensor([1.0, -1.0]))
    assert both.values[:, 0].tolist() == [1, -1]


def test_distance_and_move_to_count_the_intercept():
    editor = LinearEditor("x", X, intercept=-1.0)
    assert editor.distance(codes([1, 0, 0], [3, 9, 9])).tolist() == [0, 2]
    moved = editor.move_to(codes([1, 5, 0], [3, 9, 9]), 4.0)
    assert moved.values.tolist() == [[5, 5, 0], [5, 9, 9]]


def test_an_editor_of_w_limited_to_layers_moves_those_alone():
    w = Latents(torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(1)), "w+")
    bend = Bend()
    found = LayerEditor(bend, (1, 3)).edit(w, torch.tensor([1.0, 2.0, 3.0])).values
    assert torch.equal(found[:, [0, 3, 4]], w.values[:, [0, 3, 4]])
    for layer in (1, 2):
        alone = bend.edit(Latents(w.values[:, layer], "w"), torch.tensor([1.0, 2.0, 3.0]))
        assert torch.equal(found[:, layer], alone.values)
    line = LinearEditor("x", X, "w")
    expected = LinearEditor("x", X, "w+", layers=(0, 2)).edit(w, 2.0)
    torch.testing.assert_close(LayerEditor(line, (0, 2)).edit(w, 2.0).values, expected.values)
    with pytest.raises(ValueError, match="space 'w' to limit to layers, given one of 'z'"):
        LayerEditor(LinearEditor("x", X), (0, 1))


class Bend:
    """A non-linear edit of w."""

    name, space = "bend", "w"

    def edit(self, latents, strength):
        return latents + strength[:, None] * latents.values.sin()


def test_layer_range_moves_those_layers_of_w_plus_alone():
    w = Latents(torch.zeros(1, 4, 3), "w+")
    moved = LinearEditor("x", X, "w+", layers=(1, 3)).edit(w, 2.0)
    assert moved.values[0, :, 0].tolist() == [0, 2, 2, 0]
    with pytest.raises(ValueError, match="layers need space 'w\\+'"):
        LinearEditor("x", X, "z", layers=(0, 1))


def test_editing_in_the_wrong_space_names_both():
    with pytest.raises(SpaceError, match=r"'w'.*'z'"):
        LinearEditor("x", X, "w").edit(codes([0, 0, 0]), 1.0)


def test_condition_on_one_is_the_papers_formula():
    n1, n2 = torch.tensor([0.6, 0.8, 0.0]), X
    expected = n1 - (n1 @ n2) * n2
    assert torch.allclose(condition(n1, n2[None]), expected / expected.norm())


def test_condition_on_many_is_orthogonal_to_each_even_when_they_depend_on_each_other():
    random = torch.Generator().manual_seed(0)
    normal = torch.randn(20, generator=random, dtype=torch.float64)
    on = torch.randn(5, 20, generator=random, dtype=torch.float64)
    on = torch.cat([on, on[:1] + on[1:2]])  # a sixth that adds nothing
    found = condition(normal, on)
    assert found.norm() == pytest.approx(1)
    assert (on @ found).abs().max() < 1e-12
    for order in itertools.islice(itertools.permutations(range(6)), 0, 720, 100):
        assert torch.allclose(condition(normal, on[list(order)]), found, atol=1e-12)


def test_condition_that_leaves_nothing_is_an_error():
    with pytest.raises(ValueError, match="nothing of it is left"):
        condition(X + Y, torch.stack([X, Y]))
    with pytest.raises(ValueError, match=r"given \(3,\) and \(2, 4\)"):
        condition(X, torch.zeros(2, 4))


def test_holding_keeps_distances_for_linear_and_for_other_editors():
    z = codes([1, 2, 3], [-1, 0.5, 2])
    for editor in (LinearEditor("d", torch.tensor([1.0, 1.0, 1.0])), Quadratic()):
        held = hold(editor, X[None])
        moved = held.edit(z, 2.0)
        assert torch.allclose(moved.values @ X, z.values @ X)
        assert not torch.allclose(moved.values @ Y, z.values @ Y)
    assert isinstance(hold(Quadratic(), X[None]), HeldEditor)
    assert hold(editor, torch.empty(0, 3)) is editor


def test_strip_runs_code_by_code_through_all_strengths():
    found = strip(LinearEditor("x", X), codes([0, 1, 0], [10, 2, 0]), [-1.0, 0.0, 1.0])
    assert found.values[:, 0].tolist() == [-1, 0, 1, 9, 10, 11]
    assert found.values[:, 1].tolist() == [1, 1, 1, 2, 2, 2]


def test_composition_applies_in_order_and_scales():
    editor = compose([(LinearEditor("x", X), 1.0), (Quadratic(), 1.0)])
    assert editor.edit(codes([0, 0, 0]), 1.0).values.tolist() == [[2, 0, 0]]  # 1 + 1²
    assert editor.name == "x +1 + quadratic +1"
    found = apply({"x": LinearEditor("x", X), "y": LinearEditor("y", Y)}, codes([0, 0, 0]),
                  {"x": 2.0, "y": -1.0})  # fmt: skip
    assert found.values.tolist() == [[2, -1, 0]]
    with pytest.raises(ValueError, match="one space, given w, z"):
        compose([(LinearEditor("x", X), 1.0), (LinearEditor("y", Y, "w"), 1.0)])
    with pytest.raises(ValueError, match="at least one"):
        compose([])


def test_bad_strengths_and_directions_are_refused():
    editor = LinearEditor("x", X)
    with pytest.raises(ValueError, match="strength: expected finite"):
        editor.edit(codes([0, 0, 0]), float("nan"))
    with pytest.raises(ValueError, match=r"a number or shape \(1,\), given \(2,\)"):
        editor.edit(codes([0, 0, 0]), torch.zeros(2))
    with pytest.raises(ValueError, match="dimension 3, given shape"):
        editor.edit(Latents(torch.zeros(1, 4), "z"), 1.0)
    with pytest.raises(ValueError, match="length > 0"):
        LinearEditor("nothing", torch.zeros(3))


def directions():
    vectors = torch.tensor([[3.0, 0, 0], [1, 1, 0], [0, 0, 2]])
    return Directions(("x", "xy", "z"), vectors, intercepts=torch.tensor([0.5, 0, 0]),
                      provenance={"method": "by hand", "seed": 0})  # fmt: skip


def test_directions_are_named_unit_vectors():
    found = directions()
    assert torch.allclose(found.vectors.norm(dim=1), torch.ones(3))
    assert found["x"].intercept == 0.5
    assert found.cosines()[0, 1] == pytest.approx(0.5**0.5)
    assert found.condition("xy", on=["x"]).direction.tolist() == pytest.approx([0, 1, 0])
    with pytest.raises(UnknownNameError, match=r"unknown direction 'smile'. Known: x, xy, z"):
        found["smile"]


def test_orthogonalise_is_symmetric():
    found = directions().orthogonalise()
    assert torch.allclose(found.cosines(), torch.eye(3), atol=1e-6)
    # x and x+y give way by the same angle: 22.5° each
    before = directions()
    assert float(found.vectors[0] @ before.vectors[0]) == pytest.approx(
        float(found.vectors[1] @ before.vectors[1]), abs=1e-6
    )
    with pytest.raises(ValueError, match="at most 2 directions"):
        Directions(("a", "b", "c"), torch.eye(3)[:, :2] + 1).orthogonalise()


def test_saved_directions_load_back_with_their_provenance(tmp_path):
    directions().save(tmp_path / "d.safetensors")
    found = Directions.load(tmp_path / "d.safetensors")
    assert found.names == ("x", "xy", "z") and found.space == "z"
    assert torch.equal(found.vectors, directions().vectors)
    assert torch.equal(found.intercepts, directions().intercepts)
    assert found.provenance == {"method": "by hand", "seed": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["d.safetensors"]


def test_a_file_that_is_no_set_of_directions_is_refused(tmp_path):
    path = tmp_path / "d.safetensors"
    path.write_text(json.dumps({"smile": [1, 2]}))
    with pytest.raises(FacenbError, match="expected safetensors of directions"):
        Directions.load(path)
    directions().save(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FacenbError, match="expected safetensors of directions"):
        Directions.load(path)


def test_bad_directions_are_refused():
    with pytest.raises(ValueError, match="2 names"):
        Directions(("a", "b"), torch.eye(3))
    with pytest.raises(ValueError, match="'b' is zero"):
        Directions(("a", "b"), torch.tensor([[1.0, 0], [0, 0]]))
