"""Streaming PCA against numpy and scikit-learn; GANSpace on worlds whose answer is known."""

import weakref

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import IncrementalPCA
from torch import nn

from facenb import load_generator
from facenb.editors import Directions
from facenb.errors import SpaceError, UnknownNameError
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods import streaming_pca
from facenb.methods.ganspace import GANSpace, activations_of
from facenb.methods.ganspace_editors import component_editors
from facenb.methods.sefa import SeFa
from facenb.methods.streaming_pca import StreamingPCA
from facenb.sampling import ScoredSamples


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def data(n=500, d=12, seed=0):
    """Correlated rows with a mean far from zero and well-separated variances."""
    return normal(n, d, seed=seed) * 0.8 ** torch.arange(d) @ normal(d, d, seed=9) + 100


def stream(rows, sizes, n=None, targets=None):
    pca = StreamingPCA(n)
    parts = None if targets is None else targets.split(sizes)
    for i, part in enumerate(rows.split(sizes)):
        pca.update(part, None if parts is None else parts[i])
    return pca


def by_svd(rows, k):
    """Components with the entry of largest magnitude positive, and variances, by numpy."""
    centred = rows.numpy() - rows.numpy().mean(axis=0)
    _, sizes, vectors = np.linalg.svd(centred, full_matrices=False)
    largest = np.take_along_axis(vectors, abs(vectors).argmax(axis=1)[:, None], axis=1)
    return torch.from_numpy(vectors * np.sign(largest))[:k], torch.from_numpy(sizes**2)[:k] / (
        len(rows) - 1
    )


def angle(left, right):
    """Largest principal angle between the row spaces of two orthonormal sets, in radians."""
    outside = left - left @ right.T @ right
    return float(torch.linalg.matrix_norm(outside, 2).clamp(max=1).asin())


@pytest.mark.parametrize("n", [None, 500], ids=["covariance", "told n"])
@pytest.mark.parametrize("sizes", [[500], [1, 2, 7, 290, 200], [100] * 5], ids=str)
def test_it_equals_numpys_svd_in_any_batches(sizes, n):
    rows = data()
    found = stream(rows, sizes, n).solve(7)
    components, variance = by_svd(rows, 7)
    assert (found.mean - rows.mean(dim=0)).abs().max() < 1e-10
    assert (found.components - components).abs().max() < 1e-10
    assert (found.variance / variance - 1).abs().max() < 1e-10
    assert found.total == pytest.approx(float(rows.var(dim=0).sum()), rel=1e-12)
    assert torch.allclose(found.components @ found.components.T, torch.eye(7).double(), atol=1e-12)


def test_fewer_samples_than_dimensions_go_by_the_gram_matrix():
    rows = data(n=30, d=80)
    components, variance = by_svd(rows, 10)
    for told in (30, None):
        found = stream(rows, [11, 19], told).solve(10)
        assert (found.components - components).abs().max() < 1e-10
        assert (found.variance / variance - 1).abs().max() < 1e-10


def test_the_order_of_the_rows_does_not_matter():
    rows = data()
    shuffled = rows[torch.randperm(500, generator=torch.Generator().manual_seed(3))]
    first, second = (stream(r, [123, 77, 300]).solve(12) for r in (rows, shuffled))
    assert (first.components - second.components).abs().max() < 1e-10


def test_large_matrices_give_only_the_components_asked_for():
    rows = data(n=1500, d=1100).float().double()
    rows[:, :6] += 40 * normal(1500, 6, seed=4) * torch.arange(6, 0, -1)
    components, variance = by_svd(rows, 5)
    for told in (None, 1100):  # both ways beyond the size of dense decompositions
        found = stream(rows, [1000, 500], told).solve(5)
        assert (found.components - components).abs().max() < 1e-9
        assert (found.variance / variance - 1).abs().max() < 1e-10


def test_the_batches_are_not_kept():
    pca, batch = StreamingPCA(n=10_000), data()
    pca.update(batch)
    gone = weakref.ref(batch)
    del batch
    assert gone() is None


def test_the_subspace_of_scikit_learns_incremental_pca():
    rows = data(n=4000, d=30)
    rows[:, 5:] *= 1e-3
    ours = stream(rows, 700).solve(5).components
    theirs = torch.from_numpy(IncrementalPCA(5, batch_size=500).fit(rows.numpy()).components_)
    assert angle(ours, theirs) < 1e-3


def test_all_variances_together_are_the_total():
    found = stream(data(), 100).solve(12)
    assert float(found.variance.sum()) == pytest.approx(found.total, rel=1e-12)
    assert (found.variance.diff() <= 0).all()


def test_regression_equals_least_squares_on_the_coordinates():
    rows, targets = data(), normal(500, 4, seed=7) + 3
    targets = targets + 0.1 * rows[:, :4]
    pca = stream(rows, [150, 350], targets=targets)
    found = pca.solve(6)
    x = (rows - found.mean) @ found.components.T
    design = torch.cat([x, torch.ones(500, 1).double()], dim=1)
    expected = torch.linalg.lstsq(design, targets).solution[:6]
    assert (pca.regress(found) - expected).abs().max() < 1e-10
    mean, covariance = pca.target_moments()
    assert torch.allclose(mean, targets.mean(dim=0)) and torch.allclose(covariance, targets.T.cov())


class Toy(Generator):
    """z (N, 6) → w = 2z + 1 → affine layer of 10, whose last 4 are idle → tanh → a 1 × 1 image."""

    name, resolution, latent_dim, spaces, fingerprint = "toy", 1, 6, ("z", "w"), "toy"

    def __init__(self) -> None:
        super().__init__()
        self.affine, self.out = nn.Linear(6, 10), nn.Linear(10, 3)
        with torch.no_grad():
            sizes = torch.tensor([6.0, 5, 4, 3, 2, 1])
            self.affine.weight.zero_()[:6] = torch.diag(sizes) @ self.turn().float()
            self.affine.bias.fill_(0.5)
        self.unused = nn.Linear(1, 1)
        self.ran: list[str] = []
        self.out.register_forward_hook(lambda *_: self.ran.append("out"))
        self.freeze()

    @staticmethod
    def turn() -> torch.Tensor:
        return torch.linalg.qr(normal(6, 6, seed=5))[0]

    def layers(self) -> dict[str, nn.Module]:
        return {"affine": self.affine, "out": self.out, "unused": self.unused}

    def _map(self, latents: Latents, space: str) -> Latents:
        return Latents(2 * latents.values + 1, space)

    def _synthesize(self, latents: Latents) -> torch.Tensor:
        z = latents.values if latents.space == "z" else (latents.values - 1) / 2
        return self.out(self.affine(z).tanh()).tanh()[..., None, None]


def aligned(found, expected):
    """Cosine of each pair, sign aside."""
    return (found * expected).sum(dim=1).abs()


def test_an_affine_layer_gives_back_the_map_that_made_it():
    model = GANSpace(6, n=20_000, seed=1).fit(Toy())
    assert model.layer_ == "affine"  # the first layer, as the paper takes where z ~ N(0, I)
    assert (aligned(model.directions_, Toy.turn()) > 0.995).all()
    assert model.variance_.tolist() == pytest.approx([36, 25, 16, 9, 4, 1], rel=0.05)
    assert float(model.variance_ratio_.sum()) == pytest.approx(1)
    assert model.sigma_.tolist() == pytest.approx([1] * 6, abs=0.03)
    assert model.linear_share_.tolist() == pytest.approx([1] * 6, abs=1e-6)
    step = Toy().affine.weight.double() @ model.directions_.T  # a direction raises its component
    assert ((model.components_ @ step).diagonal() > 0).all()


def test_known_linear_map_from_tensors():
    z, maps = normal(400, 5), normal(20, 5, seed=2)
    model = GANSpace(5).fit(z, z @ maps.T + 7)
    # z = M⁺(y − 7): the least squares must carry component v_k to the direction of M⁺v_k
    expected = model.components_ @ torch.linalg.pinv(maps).T
    expected = expected / expected.norm(dim=1, keepdim=True)
    assert (model.directions_ - expected).abs().max() < 1e-10


def test_latents_of_z_are_degenerate_and_w_is_analysed_itself():
    z = load_generator("digiface-dcgan-64").sample(20_000).values
    spread = GANSpace(100).fit(z).variance_
    assert 0.8 < spread[-1] < spread[0] < 1.2  # nothing but the noise of sampling
    model = GANSpace(3, space="w", n=5000).fit(Toy())
    assert model.layer_ is None
    assert model.latent_mean_.tolist() == pytest.approx([1] * 6, abs=0.1)
    assert model.sigma_.tolist() == pytest.approx([2] * 3, abs=0.1)
    assert torch.equal(model.directions_, model.components_)


def test_the_samples_are_those_of_the_generator_whatever_the_batch():
    toy, layer = Toy(), "affine"
    codes = toy.sample(300, seed=4)
    whole = GANSpace(4).fit(codes.values, activations_of(toy, layer, codes))
    for batch in (300, 64, 7):
        model = GANSpace(4, layer, n=300, batch=batch, seed=4).fit(toy)
        assert (model.components_ - whole.components_).abs().max() < 1e-5
        assert (model.directions_ - whole.directions_).abs().max() < 1e-5


def test_hooks_are_removed_and_what_follows_the_layer_is_not_run():
    toy = Toy()
    GANSpace(2, "affine", n=64).fit(toy)
    assert toy.ran == []
    with pytest.raises(RuntimeError, match="'unused' takes no part"):
        activations_of(toy, "unused", toy.sample(2))
    hooks = {name: len(module._forward_hooks) for name, module in toy.layers().items()}
    assert hooks == {"affine": 0, "out": 1, "unused": 0}  # the one that this test put there
    toy.synthesize(toy.sample(1))
    assert toy.ran == ["out", "out"]


def test_activations_are_those_before_the_rectifier():
    generator = load_generator("digiface-dcgan-64")
    seen = activations_of(generator, "conv1", generator.sample(8))
    assert seen.shape == (8, 512 * 4 * 4) and seen.min() < 0
    assert not seen.requires_grad


def test_the_first_layer_of_the_dcgan_gives_sefa():
    generator = load_generator("digiface-dcgan-64")
    model, closed = GANSpace(4, n=2000).fit(generator), SeFa(4).fit(generator)
    assert (aligned(model.directions_, closed.directions_) > 0.9).all()
    assert (model.variance_ratio_ - closed.share_).abs().max() < 0.02


def test_edits_are_in_standard_deviations_and_in_ranges_of_layers():
    model = GANSpace(3, space="w", n=2000).fit(Toy())
    w = Toy().sample(5, space="w")
    moved = model.editor(1).edit(w, 1.5) - w
    expected = 1.5 * model.sigma_[1] * model.directions_[1]
    assert torch.allclose(moved.values, expected.float().expand(5, 6), atol=1e-5)
    plus = Latents(w.values[:, None].repeat(1, 8, 1), "w+")
    shift = (model.editor(1, layers=(2, 5)).edit(plus, 1.0) - plus).values
    assert shift[:, 2:5].abs().min() > 0 and shift[:, :2].abs().max() == 0 == shift[:, 5:].max()
    with pytest.raises(SpaceError):
        model.editor(0).edit(Toy().sample(1), 1.0)
    with pytest.raises(IndexError, match="from 0 to 2, given 3"):
        model.editor(3)


def test_directions_carry_their_provenance_and_count_from_the_mean(tmp_path):
    model = GANSpace(3, space="w", n=2000, seed=5).fit(Toy())
    directions = model.directions(profile="smoke")
    assert directions.names == ("PC1", "PC2", "PC3") and directions.space == "w"
    mean = Latents(model.latent_mean_.float()[None], "w")
    assert float(directions["PC1"].distance(mean)) == pytest.approx(0, abs=1e-5)
    directions.save(tmp_path / "pcs.safetensors")
    facts = Directions.load(tmp_path / "pcs.safetensors").provenance
    assert facts["method"] == "GANSpace" and facts["generator"] == "toy"
    assert (facts["seed"], facts["n"], facts["profile"]) == (5, 2000, "smoke")
    assert facts["sigma"] == pytest.approx(model.sigma_.tolist(), abs=1e-5)


def test_same_seed_same_components_and_sklearn_contract():
    model = GANSpace(3, n=200, seed=3)
    first, second = model.fit(Toy()).directions_, clone(model).fit(Toy()).directions_
    assert torch.equal(first, second)
    assert not torch.equal(first, GANSpace(3, n=200, seed=4).fit(Toy()).directions_)


def test_bad_input_says_what_was_given_and_what_is_allowed():
    with pytest.raises(UnknownNameError, match=r"unknown layer 'affin'\. Did you mean 'affine'"):
        GANSpace(2, layer="affin").fit(Toy())
    with pytest.raises(ValueError, match=r"1 to 12 \(12 dimensions, 500 samples\), given 13"):
        GANSpace(13).fit(data())
    with pytest.raises(ValueError, match=r"1 to 3 \(12 dimensions, 4 samples\), given 5"):
        GANSpace(5).fit(data(n=4))
    with pytest.raises(ValueError, match=r"rank 6, given 7\. Ask for 6 or fewer"):
        GANSpace(7, n=500).fit(Toy())
    with pytest.raises(ValueError, match="n ≥ 2 and batch ≥ 1, given 1 and 256"):
        GANSpace(1, n=1).fit(Toy())
    with pytest.raises(ValueError, match="NaN"):
        GANSpace(2).fit(data().index_fill(0, torch.tensor([3]), torch.nan))
    with pytest.raises(ValueError, match="as many activations as latents, given 5 and 4"):
        GANSpace(2).fit(data(n=4), data(n=5))
    with pytest.raises(ValueError, match=r"\(B, 12\) and \(B, 0\), given \(500, 11\)"):
        StreamingPCA().update(data()).update(data(d=11))
    with pytest.raises(ValueError, match=r"expected 1 to 0 \(0 dimensions, 0 samples\), given 1"):
        StreamingPCA().solve(1)
    with pytest.raises(ValueError, match=r"floating rows \(B, D\)"):
        StreamingPCA().update(torch.zeros(3, 4, 5))


def test_a_layer_beyond_memory_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(streaming_pca, "MAX_BYTES", 800)  # ten dimensions need 800 as a covariance
    GANSpace(2, n=50).fit(Toy())
    monkeypatch.setattr(streaming_pca, "MAX_BYTES", 799)
    with pytest.raises(ValueError, match=r"10 dimensions need .* Take 9 samples or fewer"):
        GANSpace(2, n=50).fit(Toy())
    GANSpace(2, n=9).fit(Toy())


def test_a_score_gets_the_component_that_it_follows_and_its_sign(tmp_path, monkeypatch):
    monkeypatch.setattr("facenb.storage.cache.cache_dir", lambda: tmp_path)
    generator = load_generator("digiface-dcgan-64")
    model = GANSpace(components=5, n=64, seed=3).fit(generator)
    codes, chosen = generator.sample(400, seed=1), model.directions_[[4, 1]]
    scores = (codes.values.double() @ chosen.T * torch.tensor([1.0, -2.0])).float()
    samples = ScoredSamples(codes, scores, ("fifth", "second, the other way"))
    editors = component_editors(generator, samples, n=64, components=5, seed=3)
    assert [editor.name for editor in editors.values()] == ["PC5", "PC2"]
    for i, editor in enumerate(editors.values()):
        signed = editor.direction.double() @ chosen[i] * (1, -1)[i]
        assert float(signed) == pytest.approx(1)  # strength raises the score

    def refuse(*_args):
        raise AssertionError("taken again")

    monkeypatch.setattr(GANSpace, "fit", refuse)
    again = component_editors(generator, samples, n=64, components=5, seed=3)
    assert torch.equal(again["fifth"].direction, editors["fifth"].direction)
    with pytest.raises(AssertionError, match="taken again"):
        component_editors(generator, samples, n=64, components=5, seed=4)
