"""Principal components against numpy; GANSpace on worlds whose answer is known."""

import weakref

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import IncrementalPCA
from torch import nn

from facenb import load_generator
from facenb.editors import Editors
from facenb.errors import SpaceError, UnknownNameError
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods import principal_components as pca
from facenb.methods.by_attribute import by_attribute
from facenb.methods.ganspace import GANSpace, activations_of, fit_ganspace
from facenb.methods.principal_components import principal_components
from facenb.methods.sefa import SeFa
from facenb.sampling import ScoredSamples


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def data(n=500, d=12, seed=0):
    """Correlated rows with a mean far from zero and well-separated variances."""
    return normal(n, d, seed=seed) * 0.8 ** torch.arange(d) @ normal(d, d, seed=9) + 100


def analysed(rows, k, sizes=None):
    return principal_components(lambda: rows.split(sizes or len(rows)), len(rows), k)


def by_svd(rows, k):
    """Components with the entry of largest magnitude positive, and variances, by numpy."""
    centred = rows.numpy() - rows.numpy().mean(axis=0)
    _, sizes, vectors = np.linalg.svd(centred, full_matrices=False)
    largest = np.take_along_axis(vectors, abs(vectors).argmax(axis=1)[:, None], axis=1)
    return torch.from_numpy(vectors * np.sign(largest))[:k], torch.from_numpy(sizes**2)[:k] / (
        len(rows) - 1
    )


def check(found, rows, k, tolerance=1e-10):
    """`found` is what numpy's SVD of all rows gives."""
    components, variance = by_svd(rows, k)
    assert (found.mean - rows.mean(dim=0)).abs().max() < 1e-10
    assert (found.components - components).abs().max() < tolerance
    assert (found.variance / variance - 1).abs().max() < 1e-10
    assert (found.ratio * rows.var(dim=0).sum() / variance - 1).abs().max() < 1e-10
    coordinates = (rows - rows.mean(dim=0)) @ components.T
    assert (found.coordinates - coordinates).abs().max() < tolerance * coordinates.abs().max()


@pytest.mark.parametrize("sizes", [[500], [1, 2, 7, 290, 200], [100] * 5], ids=str)
def test_it_equals_numpys_svd_in_any_batches(sizes):
    rows = data()
    found = analysed(rows, 7, sizes)
    check(found, rows, 7)
    assert torch.allclose(found.components @ found.components.T, torch.eye(7).double(), atol=1e-12)
    assert {t.dtype for t in vars(found).values()} == {torch.float64}


def test_fewer_samples_than_dimensions():
    rows = data(n=30, d=80)
    check(analysed(rows, 10, [11, 19]), rows, 10)


def test_the_order_of_the_rows_does_not_matter():
    rows = data()
    shuffled = rows[torch.randperm(500, generator=torch.Generator().manual_seed(3))]
    first, second = (analysed(r, 12, [123, 77, 300]) for r in (rows, shuffled))
    assert (first.components - second.components).abs().max() < 1e-10


@pytest.mark.parametrize("n", [1500, 1050], ids=["more samples", "more dimensions"])
def test_large_matrices_give_only_the_components_asked_for(n, monkeypatch):
    rows = data(n=n, d=1100).float().double()
    rows[:, :6] += 40 * normal(n, 6, seed=4) * torch.arange(6, 0, -1)
    monkeypatch.setattr("scipy.linalg.svd", lambda *_, **__: pytest.fail("a full decomposition"))
    check(analysed(rows, 5, [1000, n - 1000]), rows, 5, 1e-9)


def test_all_ratios_together_are_one():
    found = analysed(data(), 12, 100)
    assert float(found.ratio.sum()) == pytest.approx(1, rel=1e-12)
    assert (found.variance.diff() <= 0).all()


def spread(n, rank, d=40):
    """Rows of a given rank in d dimensions, with a mean far from zero."""
    return data(n, rank) @ normal(rank, d, seed=11) + 30


def test_beyond_memory_a_rank_within_the_batch_is_exact(monkeypatch):
    rows = spread(400, rank=6)
    monkeypatch.setattr(pca, "MAX_BYTES", 8 * 400 * 40 - 1)
    check(analysed(rows, 4, [50] * 7 + [33, 17]), rows, 4, 1e-8)


def test_beyond_memory_more_than_the_components_asked_for_is_kept(monkeypatch):
    rows = normal(2000, 40, seed=1) @ normal(40, 40, seed=2) * 0.97 ** torch.arange(40)
    monkeypatch.setattr(pca, "MAX_BYTES", 16 * 65 * 40)
    components, variance = by_svd(rows, 3)
    found = analysed(rows, 3, 32)
    assert ((found.components * components).sum(dim=1) > 0.999).all()
    assert (found.variance / variance - 1).abs().max() < 0.01
    with_three = IncrementalPCA(3, batch_size=32).fit(rows.numpy()).components_
    assert abs((with_three * components.numpy()).sum(axis=1)).min() < 0.99


def test_beyond_memory_no_batch_is_kept_or_changed(monkeypatch):
    rows = data(n=1000)
    monkeypatch.setattr(pca, "MAX_BYTES", 16 * 101 * 12)
    alive = []

    def batches():
        for batch in rows.clone().split(50):
            batch = batch.clone()
            assert sum(reference() is not None for reference in alive) <= 2  # the one before
            alive.append(weakref.ref(batch))
            yield batch

    assert principal_components(batches, 1000, 3).coordinates.shape == (1000, 3)
    assert len(alive) == 40
    before = rows.clone()
    analysed(rows, 3, 50)
    assert torch.equal(rows, before)


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


def test_directions_are_least_squares_on_the_coordinates():
    rows, z = data(), normal(500, 4, seed=7) + 3
    z = z + 0.1 * rows[:, :4]
    model = GANSpace(6).fit_latents(z, rows)
    x = (rows - model.mean_) @ model.components_.T
    design = torch.cat([x, torch.ones(500, 1).double()], dim=1)
    expected = torch.linalg.lstsq(design, z).solution[:6]
    assert (model.directions_ - expected / expected.norm(dim=1, keepdim=True)).abs().max() < 1e-10
    along = (z @ model.directions_.T).std(dim=0)
    assert torch.allclose(model.sigma_, along) and torch.allclose(model.latent_mean_, z.mean(dim=0))
    for i in range(6):  # R² of the component on all latents
        design = torch.cat([z, torch.ones(500, 1).double()], dim=1)
        rest = x[:, i] - design @ torch.linalg.lstsq(design, x[:, i : i + 1]).solution[:, 0]
        assert float(model.linear_share_[i]) == pytest.approx(1 - float(rest.var() / x[:, i].var()))


def test_known_linear_map_from_tensors():
    z, maps = normal(400, 5), normal(20, 5, seed=2)
    model = GANSpace(5).fit_latents(z, z @ maps.T + 7)
    # z = M⁺(y − 7): the least squares must carry component v_k to the direction of M⁺v_k
    expected = model.components_ @ torch.linalg.pinv(maps).T
    expected = expected / expected.norm(dim=1, keepdim=True)
    assert (model.directions_ - expected).abs().max() < 1e-10


def test_latents_of_z_are_degenerate_and_w_is_analysed_itself():
    z = load_generator("digiface-dcgan-64").sample(20_000).values
    spread = GANSpace(100).fit_latents(z).variance_
    assert 0.8 < spread[-1] < spread[0] < 1.2  # nothing but the noise of sampling
    model = GANSpace(3, space="w", n=5000).fit(Toy())
    assert model.layer_ is None
    assert model.latent_mean_.tolist() == pytest.approx([1] * 6, abs=0.1)
    assert model.sigma_.tolist() == pytest.approx([2] * 3, abs=0.1)
    assert torch.equal(model.directions_, model.components_)


def test_the_samples_are_those_of_the_generator_whatever_the_batch():
    toy, layer = Toy(), "affine"
    codes = toy.sample(300, seed=4)
    whole = GANSpace(4).fit_latents(codes.values, activations_of(toy, layer, codes))
    for batch in (300, 64, 7, 1):
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
    editors = model.editors()
    moved = editors["PC2"].edit(w, 1.5) - w
    expected = 1.5 * model.sigma_[1] * model.directions_[1]
    assert torch.allclose(moved.values, expected.float().expand(5, 6), atol=1e-5)
    plus = Latents(w.values[:, None].repeat(1, 8, 1), "w+")
    shift = (editors.in_layers(2, 5)["PC2"].edit(plus, 1.0) - plus).values
    assert shift[:, 2:5].abs().min() > 0 and shift[:, :2].abs().max() == 0 == shift[:, 5:].max()
    with pytest.raises(SpaceError):
        editors["PC1"].edit(Toy().sample(1), 1.0)


def test_directions_carry_their_provenance_and_count_from_the_mean(tmp_path):
    model = GANSpace(3, space="w", n=2000, seed=5).fit(Toy())
    directions = model.editors().with_provenance(profile="smoke")
    assert directions.names == ("PC1", "PC2", "PC3") and directions.space == "w"
    mean = Latents(model.latent_mean_.float()[None], "w")
    assert float(directions.unscaled()["PC1"].distance(mean)) == pytest.approx(0, abs=1e-5)
    directions.save(tmp_path / "pcs.safetensors")
    found = Editors.load(tmp_path / "pcs.safetensors")
    facts = found.provenance
    assert facts["method"] == "GANSpace" and facts["generator"] == "toy"
    assert (facts["seed"], facts["n"], facts["profile"]) == (5, 2000, "smoke")
    assert [editor.unit for editor in found.values()] == model.sigma_.tolist()


def test_same_seed_same_components_and_sklearn_contract():
    model = GANSpace(3, n=200, seed=3)
    first, second = model.fit(Toy()).directions_, clone(model).fit(Toy()).directions_
    assert torch.equal(first, second)
    assert not torch.equal(first, GANSpace(3, n=200, seed=4).fit(Toy()).directions_)


def test_bad_input_says_what_was_given_and_what_is_allowed():
    with pytest.raises(UnknownNameError, match=r"unknown layer 'affin'\. Did you mean 'affine'"):
        GANSpace(2, layer="affin").fit(Toy())
    with pytest.raises(ValueError, match=r"1 to 12 \(12 dimensions, 500 samples\), given 13"):
        GANSpace(13).fit_latents(data())
    with pytest.raises(ValueError, match=r"1 to 3 \(12 dimensions, 4 samples\), given 5"):
        GANSpace(5).fit_latents(data(n=4))
    with pytest.raises(ValueError, match=r"rank 6, given 7\. Ask for 6 or fewer"):
        GANSpace(7, n=500).fit(Toy())
    with pytest.raises(ValueError, match="n ≥ 2 and batch ≥ 1, given 1 and 256"):
        GANSpace(1, n=1).fit(Toy())
    with pytest.raises(ValueError, match=r"samples: .* given 12 NaN or infinite"):
        GANSpace(2).fit_latents(data().index_fill(0, torch.tensor([3]), torch.nan))
    with pytest.raises(ValueError, match="as many activations as latents, given 5 and 4"):
        GANSpace(2).fit_latents(data(n=4), data(n=5))
    with pytest.raises(ValueError, match=r"floating rows \(B, D\)"):
        GANSpace(2).fit_latents(torch.zeros(3, 4, 5))
    with pytest.raises(ValueError, match=r"floating rows \(B, D\), given torch.int64"):
        GANSpace(2).fit_latents(torch.zeros(3, 4, dtype=torch.int64))


def test_a_layer_beyond_memory_goes_by_batches_or_is_refused(monkeypatch):
    whole = GANSpace(2, n=50, batch=8).fit(Toy())
    monkeypatch.setattr(pca, "MAX_BYTES", 8 * 50 * 10 - 1)  # fifty samples of ten dimensions
    parts = GANSpace(2, n=50, batch=8).fit(Toy())  # rank 6, which a batch holds
    for name in ("mean_", "components_", "variance_", "variance_ratio_", "directions_", "sigma_"):
        assert torch.allclose(getattr(parts, name), getattr(whole, name), rtol=1e-5, atol=1e-6)
    assert torch.allclose(parts.linear_share_, whole.linear_share_, atol=1e-5)
    with pytest.raises(ValueError, match=r"than samples in a batch, 4, given 5"):
        GANSpace(5, n=50, batch=4).fit(Toy())
    monkeypatch.setattr(pca, "MAX_BYTES", 16 * 17 * 10 - 1)  # a batch, 8 components, one more
    with pytest.raises(ValueError, match=r"50 of 10 dimensions need .* Take batches of 7"):
        GANSpace(2, n=50, batch=8).fit(Toy())
    GANSpace(2, n=50, batch=7).fit(Toy())


def test_a_score_gets_the_component_that_it_follows_and_its_sign(tmp_path, monkeypatch):
    monkeypatch.setattr("facenb.storage.cache.cache_dir", lambda: tmp_path)
    generator = load_generator("digiface-dcgan-64")
    model = fit_ganspace(GANSpace(components=5, n=64, seed=3), generator)
    codes, chosen = generator.sample(400, seed=1), model.directions_[[4, 1]]
    scores = (codes.values.double() @ chosen.T * torch.tensor([1.0, -2.0])).float()
    samples = ScoredSamples(codes, scores, ("fifth", "second, the other way"))
    editors = by_attribute(model.editors(), samples)
    assert editors.names == samples.names
    assert [editor.name for editor in editors.values()] == ["PC5", "PC2"]
    assert editors["fifth"].unit == model.sigma_[4] and editors.provenance["seed"] == 3
    for i, direction in enumerate(editors.vectors):
        signed = direction.double() @ chosen[i] * (1, -1)[i]
        assert float(signed) == pytest.approx(1)  # strength raises the score
    centre = codes.with_values(model.latent_mean_.float()[None])
    distances = [editor.editor.distance(centre) for editor in editors.values()]
    assert torch.cat(distances).abs().max() < 1e-5
    with pytest.raises(ValueError, match=r"samples of space 'w' and dimension 6, given Latents"):
        by_attribute(GANSpace(2, space="w", n=64).fit(Toy()).editors(), samples)

    def refuse(*_args):
        raise AssertionError("taken again")

    monkeypatch.setattr(GANSpace, "fit", refuse)
    again = fit_ganspace(GANSpace(components=5, n=64, seed=3), generator)
    assert torch.equal(by_attribute(again.editors(), samples).vectors, editors.vectors)
    assert again.editors().provenance == model.editors().provenance
    with pytest.raises(AssertionError, match="taken again"):
        fit_ganspace(GANSpace(components=5, n=64, seed=4), generator)
