"""Editors, conditioning, composition and directions, on cases that can be done by hand."""

import itertools
import json
import re
from dataclasses import dataclass

import pytest
import torch
from safetensors import safe_open
from tiny import DIM, TinyGenerator, small_stylegan2

from facenb.editors import (
    ConditionedEditor,
    Editor,
    Editors,
    LayerEditor,
    LayerwiseEditor,
    LinearEditor,
    ScaledEditor,
    compose,
    condition,
    condition_on,
    load_editors,
    reverse,
    savable,
    traversal,
    unscaled,
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


def test_conditioning_keeps_distances_for_linear_and_for_other_editors():
    z = codes([1, 2, 3], [-1, 0.5, 2])
    for editor in (LinearEditor("d", torch.tensor([1.0, 1.0, 1.0])), Quadratic()):
        conditioned = condition_on(editor, X[None], ["x"])
        assert conditioned.name == f"{editor.name} | x"
        moved = conditioned.edit(z, 2.0)
        assert torch.allclose(moved.values @ X, z.values @ X)
        assert not torch.allclose(moved.values @ Y, z.values @ Y)
    assert isinstance(condition_on(Quadratic(), X[None]), ConditionedEditor)
    assert condition_on(editor, torch.empty(0, 3)) is editor


def test_conditioning_keeps_layers_intercept_and_unit():
    line = LinearEditor("d", torch.tensor([0.6, 0.8, 0.0]), intercept=-4.0)
    found = condition_on(ScaledEditor(line, 3.0), X[None])
    assert found.unit == 3.0
    assert found.editor.direction.tolist() == pytest.approx([0, 1, 0])
    # 0.6 x + 0.8 y − 4 = 0 meets x = 0 at y = 5
    assert found.editor.intercept == pytest.approx(-5)
    assert found.edit(codes([7, 0, 0]), 2.0).values.tolist() == [[7, pytest.approx(6), 0]]
    limited = LinearEditor("d", torch.tensor([0.6, 0.8, 0.0]), "w+", (1, 3))
    assert condition_on(limited, X[None]).layers == (1, 3)
    inside = condition_on(LayerEditor(Bend(), (1, 3)), X[None])
    assert inside.layers == (1, 3) and isinstance(inside.editor, ConditionedEditor)


def test_scaled_reversed_and_back():
    line = LinearEditor("x", X, intercept=-1.0)
    turned = reverse(ScaledEditor(line, 3.0))
    assert turned.edit(codes([0, 0, 0]), 2.0).values.tolist() == [[-6, 0, 0]]
    assert turned.editor.distance(codes([4, 0, 0])).tolist() == [-3]
    assert unscaled(ScaledEditor(ScaledEditor(line, 2.0), 3.0)) is line
    squared = reverse(Quadratic())
    assert squared.edit(codes([2, 0, 0]), 1.0).values.tolist() == [[-2, 0, 0]]


def test_a_traversal_runs_code_by_code_through_all_strengths():
    found = traversal(LinearEditor("x", X), codes([0, 1, 0], [10, 2, 0]), [-1.0, 0.0, 1.0])
    assert found.values[:, 0].tolist() == [-1, 0, 1, 9, 10, 11]
    assert found.values[:, 1].tolist() == [1, 1, 1, 2, 2, 2]


def test_composition_applies_in_order_and_scales():
    editor = compose([(LinearEditor("x", X), 1.0), (Quadratic(), 1.0)])
    assert editor.edit(codes([0, 0, 0]), 1.0).values.tolist() == [[2, 0, 0]]  # 1 + 1²
    assert editor.name == "x +1 + quadratic +1"
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


def three(**facts):
    vectors = torch.tensor([[3.0, 0, 0], [1, 1, 0], [0, 0, 2]])
    facts = {"method": "by hand", "seed": 0, "fingerprint": "f", **facts}
    return Editors.from_vectors(("x", "xy", "z"), vectors, "w", torch.tensor([0.5, 0, 0]), facts)


def test_editors_are_a_mapping_of_one_space():
    found = three()
    assert dict(found) == {name: found[name] for name in ("x", "xy", "z")} and len(found) == 3
    assert (found.names, found.space, found.dim) == (("x", "xy", "z"), "w", 3)
    assert found.fingerprint == "f"
    assert torch.allclose(found.vectors.norm(dim=1), torch.ones(3))
    assert found["x"].intercept == 0.5
    assert found.cosines()[0, 1] == pytest.approx(0.5**0.5)
    assert found.select(["z", "x"]).names == ("z", "x")
    with pytest.raises(UnknownNameError, match=r"unknown editor 'smile'. Known: x, xy, z"):
        found["smile"]
    with pytest.raises(ValueError, match="one latent space, given of 'w', 'z'"):
        Editors({"x": LinearEditor("x", X), "y": LinearEditor("y", Y, "w")})
    with pytest.raises(ValueError, match="one latent space, given none"):
        Editors({})
    with pytest.raises(ValueError, match=r"one dimension, given (2, 3|3, 2)"):
        Editors({"x": LinearEditor("x", X), "y": LinearEditor("y", Y[:2])})
    with pytest.raises(ValueError, match="linear editors, q are not"):
        _ = Editors({"x": LinearEditor("x", X), "q": Quadratic()}).vectors


def test_what_is_done_to_editors_keeps_what_they_know():
    scaled = three().scaled({"xy": 3.0})
    assert scaled["x"] is not scaled["xy"] and scaled["xy"].unit == 3.0
    together = scaled.condition(["x", "xy"], on=["x", "xy", "z"]).in_layers(1, 3)
    assert together.provenance == three().provenance and together.space == "w+"
    assert together.names == ("x", "xy") and together.dim == 3
    assert (together["xy"].unit, together["xy"].editor.layers) == (3.0, (1, 3))
    assert together["xy"].name == "xy | x, z" and together["x"].name == "x | xy, z"
    assert together["xy"].editor.direction.tolist() == pytest.approx([0, 1, 0])
    assert torch.equal(scaled.unscaled().vectors, three().vectors)
    assert scaled.with_provenance(profile="smoke").provenance["profile"] == "smoke"
    w = Latents(torch.zeros(1, 4, 3), "w+")
    moved = together["xy"].edit(w, 1.0).values
    assert moved[0, :, 1].tolist() == pytest.approx([0, 3, 3, 0])
    with pytest.raises(ValueError, match="0 ≤ first < last, given 2, 2"):
        three().in_layers(2, 2)
    with pytest.raises(ValueError, match="'w' to limit to layers, given one of 'z'"):
        Editors({"x": LinearEditor("x", X)}).in_layers(0, 1)
    with pytest.raises(ValueError, match="unit other than 0, given 0"):
        three().scaled(0.0)
    with pytest.raises(UnknownNameError, match="unknown editor 'y'"):
        three().scaled({"y": 1.0})


def test_editors_are_conditioned_on_those_of_another_set():
    lines = Editors.from_vectors(["x"], X[None], "z")
    found = Editors({"quadratic": Quadratic()}).condition("quadratic", on=lines)
    z = codes([1, 2, 3])
    moved = found["quadratic"].edit(z, 1.0).values
    assert moved.tolist() == [[1, 6, 12]]
    with pytest.raises(ValueError, match="editors of one space, given w, z"):
        lines.condition("x", on=three())


def test_orthogonalise_is_symmetric():
    found, before = three().orthogonalise(), three()
    assert torch.allclose(found.cosines(), torch.eye(3), atol=1e-6)
    # x and x+y give way by the same angle: 22.5° each
    assert float(found.vectors[0] @ before.vectors[0]) == pytest.approx(
        float(found.vectors[1] @ before.vectors[1]), abs=1e-6
    )
    with pytest.raises(ValueError, match="at most 2 directions"):
        Editors.from_vectors(("a", "b", "c"), torch.eye(3)[:, :2] + 1).orthogonalise()


@savable("quadratic of the tests")
@dataclass(frozen=True)
class SavedQuadratic(Quadratic):
    curvature: torch.Tensor

    def edit(self, latents, strength):
        return latents + strength * self.curvature * latents.values**2


def test_every_editor_of_the_room_is_saved_with_its_provenance(tmp_path):
    path, line = tmp_path / "e.safetensors", LinearEditor("x", X + 2 * Y, "w+", (0, 2), 0.25)
    rows = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    plain = LinearEditor("y", Y - Z, "w", intercept=1 / 3)
    editors = Editors(
        {
            "linear": line,
            "scaled": ScaledEditor(line, -1 / 3),
            "rows": LayerwiseEditor("rows", rows),
            "conditioned": ConditionedEditor(LayerwiseEditor("r", rows), X[None], ("x",)),
            "layers": LayerEditor(ScaledEditor(plain, 2.0), (1, 4)),
            "both": compose([(line, 0.5), (LayerwiseEditor("rows", rows), -2.0)]),
        },
        {"method": "by hand", "config": {"steps": [1, 2], "seed": None}},
    )
    editors.save(path)
    found = Editors.load(path)
    assert found.names == editors.names and found.provenance == editors.provenance
    w = Latents(torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(3)), "w+")
    for name, editor in editors.items():
        assert type(found[name]) is type(editor) and found[name].name == editor.name
        assert torch.equal(found[name].edit(w, 1.7).values, editor.edit(w, 1.7).values), name
    assert found["linear"].intercept == line.intercept
    assert found["scaled"].editor is found["linear"]  # what is shared is shared again
    assert [each.name for each in tmp_path.iterdir()] == ["e.safetensors"]
    with safe_open(path, "pt") as stored:
        assert len([key for key in stored.keys() if stored.get_tensor(key).shape == (4, 3)]) == 3


def test_a_class_of_ones_own_is_saved_when_it_is_registered(tmp_path, monkeypatch):
    path, z = tmp_path / "q.safetensors", codes([1, 2, 3])
    Editors({"q": SavedQuadratic(torch.arange(3.0))}).save(path)
    assert Editors.load(path)["q"].edit(z, 1.0).values.tolist() == [[1, 6, 21]]
    with pytest.raises(FacenbError, match=r"q: a Quadratic cannot be saved.*savable"):
        Editors({"q": Quadratic()}).save(path)
    monkeypatch.setattr("facenb.editors.storage._CLASSES", {})
    with pytest.raises(UnknownNameError, match=r"unknown kind of editor .*'quadratic of"):
        Editors.load(path)


def test_a_file_that_is_no_set_of_editors_is_refused(tmp_path):
    path = tmp_path / "d.safetensors"
    path.write_text(json.dumps({"smile": [1, 2]}))
    with pytest.raises(FacenbError, match="expected safetensors of editors"):
        Editors.load(path)
    three().save(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(FacenbError, match="expected safetensors of editors"):
        Editors.load(path)


def test_the_formats_that_ship_are_read():
    for method, names in (("interfacegan", 13), ("sdd", 32), ("transformers", 10)):
        found = load_editors(method, "digiface-dcgan-64")
        assert (len(found), found.space, found.dim) == (names, "z", 100)
        assert found.provenance["generator"] == "digiface-dcgan-64"


def test_editors_of_another_generator_are_refused(tmp_path):
    tiny, other = TinyGenerator(), TinyGenerator()
    other.fingerprint = "another-file-of-the-same-name"
    known = {"generator": "tiny", "fingerprint": "f1"}
    editors = Editors.from_vectors(["a"], torch.eye(DIM)[:1], "z", None, known)
    editors.save(tmp_path / "e.safetensors")
    assert Editors.load(tmp_path / "e.safetensors", tiny).names == ("a",)
    with pytest.raises(FacenbError, match=r"here is tiny \(weights f1 and another-file\)"):
        Editors.load(tmp_path / "e.safetensors", other)
    with pytest.raises(SpaceError, match="space 'w' and dimension 6, tiny has 'z' of 6"):
        Editors.from_vectors(["a"], torch.eye(DIM)[:1], "w").check(tiny)
    with pytest.raises(SpaceError, match="space 'z' and dimension 4, tiny has 'z' of 6"):
        Editors.from_vectors(["a"], torch.eye(4)[:1]).check(tiny)
    with pytest.raises(FacenbError, match="made for styled"):  # a file that knows the name alone
        Editors(dict(editors), {"generator": "styled"}).check(tiny)


def test_a_variant_of_a_generator_has_its_latent_spaces():
    generator = small_stylegan2()
    facts = {"generator": generator.name, "fingerprint": generator.space_fingerprint}
    editors = Editors.from_vectors(["a"], torch.eye(generator.dim("w"))[:1], "w", None, facts)
    editors.check(generator.variant(truncation=0.7))


def test_bad_directions_are_refused():
    with pytest.raises(ValueError, match="2 names"):
        Editors.from_vectors(("a", "b"), torch.eye(3))
    with pytest.raises(ValueError, match="b: expected a direction of length > 0"):
        Editors.from_vectors(("a", "b"), torch.tensor([[1.0, 0], [0, 0]]))


def test_every_set_that_an_error_names_can_be_loaded():
    with pytest.raises(UnknownNameError) as error:
        load_editors("nope")
    named = re.findall(r"([\w-]+) \(([\w-]+)\)", str(error.value).partition("Known: ")[2])
    assert ("interfacegan", "mobilestylegan-ffhq-1024") in named
    for method, generator in named:
        assert len(load_editors(method, generator)), (method, generator)


def test_the_same_editors_give_the_same_bytes(tmp_path):
    editors = Editors.from_vectors(["a", "b"], torch.eye(3)[:2])
    files = [tmp_path / f"{k}.safetensors" for k in range(6)]
    for file in files:
        editors.save(file)
    assert len({file.read_bytes() for file in files}) == 1
    assert Editors.load(files[0]).names == ("a", "b")
