"""SeFa's closed form on matrices whose answer is known, and on the embedded generator."""

import pytest
import torch
from sklearn.base import clone
from tiny import small_stylegan2
from torch import nn

from benchmarks import plain_dcgan
from facenb import load_generator
from facenb.editors import Editors
from facenb.generators import Generator
from facenb.methods.ganspace import activations_of
from facenb.methods.sefa import SeFa, first_weights


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_diagonal_matrix_has_the_axes_by_size():
    model = SeFa(4).fit_weights(torch.diag(torch.tensor([1.0, -5.0, 3.0, 0.5])))
    assert torch.equal(model.directions_, torch.eye(4).double()[[1, 2, 0, 3]])
    assert model.eigenvalues_.tolist() == pytest.approx([25, 9, 1, 0.25])
    assert float(model.share_.sum()) == pytest.approx(1)


def test_rank_one_has_one_direction_that_matters():
    out, direction = normal(30), normal(7, seed=1)
    model = SeFa(7).fit_weights(torch.outer(out, direction))
    expected = direction / direction.norm()
    assert abs(float(model.directions_[0] @ expected)) == pytest.approx(1, abs=1e-12)
    assert float(model.eigenvalues_[0]) == pytest.approx(float(out @ out * (direction @ direction)))
    assert model.share_[1:].max() < 1e-14


def test_sorted_orthonormal_and_eigenvectors():
    weight = normal(200, 24)
    model = SeFa(24).fit_weights(weight)
    assert (model.eigenvalues_.diff() <= 0).all()
    assert torch.allclose(model.directions_ @ model.directions_.T, torch.eye(24).double())
    applied = model.directions_ @ (weight.T @ weight)
    assert torch.allclose(applied, model.eigenvalues_[:, None] * model.directions_)
    assert (model.directions_.gather(1, model.directions_.abs().argmax(1)[:, None]) > 0).all()


def test_several_weights_are_one_matrix_on_top_of_another():
    first, second = normal(20, 6), normal(30, 6, seed=1)
    stacked = SeFa(6).fit_weights({"style 0": first, "style 1": second})
    assert stacked.layers_ == ("style 0", "style 1")
    expected = SeFa(6).fit_weights(torch.cat([first, second])).directions_
    assert torch.equal(stacked.directions_, expected)


def test_normalising_gives_every_output_the_same_say():
    weight = normal(40, 6)
    plain = SeFa(6, normalise=True).fit_weights(weight)
    scaled = SeFa(6, normalise=True).fit_weights(weight * torch.linspace(0.1, 50, 40)[:, None])
    assert torch.allclose(plain.directions_, scaled.directions_)
    idle = torch.cat([weight, torch.zeros(3, 6).double()])  # the published code divides 0 by 0
    assert torch.allclose(SeFa(6, normalise=True).fit_weights(idle).directions_, plain.directions_)


def test_the_top_direction_changes_the_first_layer_most():
    generator = load_generator("digiface-dcgan-64")
    model = SeFa(100).fit(generator)
    z = generator.sample(1)
    base = activations_of(generator, "conv1", z)

    def change(steps: torch.Tensor) -> torch.Tensor:
        moved = activations_of(generator, "conv1", z.with_values(z.values + steps.float()))
        return (moved - base).double().norm(dim=1)

    random = nn.functional.normalize(normal(500, 100))
    along = change(model.directions_)
    assert change(random).max() < along[0]
    assert change(random).min() > along[-1]
    assert (along.square() / model.eigenvalues_ - 1).abs().max() < 1e-3  # λ is that change, squared


def test_folded_batch_normalisation_rescales_outputs_and_normalising_undoes_it():
    folded, raw = load_generator("digiface-dcgan-64"), plain_dcgan()[0].weight.flatten(1).T
    assert first_weights(folded)["conv1"].shape == raw.shape == (512 * 4 * 4, 100)
    ours = SeFa(5, normalise=True).fit(folded).directions_
    theirs = SeFa(5, normalise=True).fit_weights(raw).directions_
    assert (ours - theirs).abs().max() < 1e-5
    ours, theirs = SeFa(5).fit(folded).directions_, SeFa(5).fit_weights(raw).directions_
    assert 0.9 < (ours * theirs).sum(dim=1).abs().min() < 0.99


def test_directions_carry_their_provenance(tmp_path):
    model = SeFa(3).fit(load_generator("digiface-dcgan-64"))
    directions = model.editors().with_provenance(profile="smoke")
    assert directions.names == ("SeFa1", "SeFa2", "SeFa3") and directions.space == "z"
    directions.save(tmp_path / "sefa.safetensors")
    facts = Editors.load(tmp_path / "sefa.safetensors").provenance
    assert facts["method"] == "SeFa" and facts["generator"] == "digiface-dcgan-64"
    assert facts["weights"] == ["conv1"] and facts["profile"] == "smoke"
    assert facts["share"][0] == pytest.approx(0.156, abs=1e-3)


def test_layers_give_their_weights_and_are_edited_alone():
    generator = small_stylegan2()
    model = SeFa(2, layers=(1, 3)).fit(generator)
    closed = SeFa(2).fit_weights(generator.style_weights((1, 3)))
    assert torch.equal(model.directions_, closed.directions_)
    editor = model.editors()["SeFa2"]
    assert (editor.space, editor.layers) == ("w+", (1, 3))
    assert SeFa(2).fit(generator).editors().space == "w"
    assert closed.editors()["SeFa1"].layers is None and closed.editors().space == "z"
    with pytest.raises(ValueError, match=r"has no space 'w\+', given layers \(1, 3\)"):
        SeFa(2, layers=(1, 3)).fit(load_generator("digiface-dcgan-64"))


def test_sklearn_contract():
    model = SeFa(3, normalise=True)
    assert torch.equal(
        model.fit_weights(normal(9, 5)).directions_,
        clone(model).fit_weights(normal(9, 5)).directions_,
    )


class Convolutional(Generator):
    name = "convolutional"

    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.Conv2d(3, 3, 1)

    def layers(self) -> dict[str, nn.Module]:
        return {"constant": self.constant}


def test_bad_input_says_what_was_given_and_what_is_allowed():
    with pytest.raises(ValueError, match="expected 1 to 5 components, given 6"):
        SeFa(6).fit_weights(normal(9, 5))
    with pytest.raises(ValueError, match=r"\(outputs, d\) of one d, given .*\(9, 5\).*\(9, 4\)"):
        SeFa(2).fit_weights({"a": normal(9, 5), "b": normal(9, 4)})
    with pytest.raises(ValueError, match=r"given \{\}"):
        SeFa(2).fit_weights({})
    with pytest.raises(ValueError, match=r"weights of 'a'.* NaN"):
        SeFa(2).fit_weights({"a": torch.full((4, 3), torch.nan)})
    with pytest.raises(TypeError, match="convolutional begins with Conv2d, expected a linear"):
        SeFa(2).fit(Convolutional())
