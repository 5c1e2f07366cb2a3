"""Every method through the one contract: fit, editors, saving, conditions, units and layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from facenb.drawing import images_of
from facenb.editors import Editor, Editors, LinearEditor
from facenb.errors import FacenbError, SpaceError
from facenb.figures import strip_images
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods.base import Method, require
from facenb.methods.by_attribute import by_attribute
from facenb.methods.ganspace import GANSpace
from facenb.methods.interfacegan import InterFaceGAN
from facenb.methods.latent_optimization import LatentOptimisation
from facenb.methods.latent_transformer import LatentTransformer
from facenb.methods.sefa import SeFa
from facenb.methods.sgf import MappingConfig, SurrogateGradientField
from facenb.methods.two_stage import METHODS as TWO_STAGE
from facenb.methods.two_stage import Config, DirectionLearner
from facenb.sampling import ScoredSamples, score
from facenb.scorers import Attribute
from facenb.widgets.explorer import Explorer

DIM, LAYERS = 6, 4


class Striped(Generator):
    """z → w = 2z + 1 → w+ of four layers, each of which paints four of sixteen rows."""

    name, resolution, latent_dim, fingerprint = "striped", 16, DIM, "c1"
    spaces, w_layers = ("z", "w", "w+"), LAYERS

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(DIM, 8)
        self.second = nn.Parameter(torch.empty(LAYERS, 8, 3 * 4 * 16))
        random = torch.Generator().manual_seed(1)
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.4, generator=random)
        self.freeze()

    def layers(self) -> dict[str, nn.Module]:
        return {"first": self.first}

    def _map(self, latents: Latents, space: str) -> Latents:
        if latents.space == "z":
            return self.map(Latents(2 * latents.values + 1, "w"), space)
        if (latents.space, space) == ("w", "w+"):
            return Latents(latents.values[:, None].repeat(1, LAYERS, 1), "w+")
        return super()._map(latents, space)

    def _synthesize(self, latents: Latents) -> Tensor:
        codes = latents.values
        if latents.space != "w+":
            codes = codes[:, None].expand(-1, LAYERS, -1)
        if latents.space == "z":
            codes = 2 * codes + 1
        rows = torch.einsum("nlh,lhp->nlp", self.first(codes).tanh(), self.second).div(4).tanh()
        return rows.view(-1, LAYERS, 3, 4, 16).transpose(1, 2).reshape(-1, 3, 16, 16)


class Halves(nn.Module):
    """Brightness of either half of the image, differentiable."""

    fingerprint, names = "h1", ("left", "right")
    attributes = tuple(Attribute(n, "grey", "dark", "bright", "semantic", "", "") for n in names)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([half.mean((1, 2, 3)) for half in images.split(8, dim=3)], dim=1)


class Means(Method):
    """A toy: from the mean of the samples of low score to that of the samples of high score."""

    def __init__(self, top: float = 0.3) -> None:
        self.top = top

    def fit(self, generator: Generator, samples: ScoredSamples | None = None) -> Means:
        samples = require(samples, self)
        values, count = samples.latents.values, round(len(samples) * self.top)
        order = samples.scores.argsort(dim=0)
        self.normals_ = values[order[-count:]].mean(0) - values[order[:count]].mean(0)
        self.names_, self.space_ = samples.names, samples.latents.space
        return self._fitted_to(generator)

    def editors(self) -> Editors:
        rows = zip(self.names_, self.normals_, strict=True)
        return self._named({name: LinearEditor(name, n, self.space_) for name, n in rows})


G, SCORERS = Striped(), Halves()
SMALL = {"steps": 2, "batch": 4, "count": 4, "reconstructor_width": 0.125, "held_out_batches": 1}
MAPPING = MappingConfig(layers=2, steps=30, batch=32, learning_rate=5e-3)
METHODS = {
    "InterFaceGAN": lambda: InterFaceGAN(confident=0.1),
    "GANSpace of w": lambda: GANSpace(4, space="w", n=256),
    "GANSpace of a layer": lambda: GANSpace(3, n=256),
    "SeFa": lambda: SeFa(3),
    **{name: lambda name=name: DirectionLearner(Config(name, **SMALL)) for name in TWO_STAGE},
    "LatentTransformer": lambda: LatentTransformer(hidden=5, epochs=1),
    "SGF": lambda: SurrogateGradientField(MAPPING, SCORERS),
    "SGF, observed": lambda: SurrogateGradientField(MAPPING, SCORERS),
    "LatentOptimisation": lambda: LatentOptimisation(max_steps=3, scorers=SCORERS),
    "a toy": Means,
}
OBSERVE = ("SGF", "SGF, observed", "LatentOptimisation")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACENB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def samples() -> ScoredSamples:
    latents = G.sample(400, seed=1, space="w")
    return ScoredSamples(latents, score(G, SCORERS, latents), SCORERS.names)


@pytest.fixture(scope="module", params=METHODS)
def method(request, samples) -> tuple[str, Method]:
    unfitted = METHODS[request.param]()
    assert unfitted.fit(G, samples) is unfitted
    return request.param, unfitted


@pytest.fixture(scope="module")
def editors(method) -> Editors:
    name, fitted = method
    return fitted.editors(look=True) if name == "SGF, observed" else fitted.editors()


def latents(space: str, n: int = 3) -> Latents:
    return G.sample(n, seed=5, space=space)


def edited(editor: Editor, strength: float = 1.5) -> Tensor:
    return editor.edit(latents(editor.space), strength).values


def test_what_it_hands_out_says_where_it_came_from(method, editors):
    assert isinstance(editors, Editors) and len(editors) >= 2
    assert all(isinstance(editor, Editor) for editor in editors.values())
    assert (editors.dim, editors.fingerprint) == (DIM, G.fingerprint)
    assert editors.provenance["generator"] == G.name and editors.provenance["method"]
    editors.check(G)
    hyper_parameters = {
        k for k in method[1].get_params(deep=False) if k not in ("scorers", "layer")
    }
    assert hyper_parameters <= set(editors.provenance)


def test_a_strength_of_0_changes_nothing_and_another_does(editors):
    for editor in editors.values():
        assert torch.equal(edited(editor, 0.0), latents(editor.space).values)
        assert not torch.equal(edited(editor), latents(editor.space).values)
        images = strip_images(G, editor, latents(editor.space), [-1.0, 0.0, 1.0])
        assert torch.equal(images[:, 1], images_of(G, latents(editor.space)))


def test_saved_and_loaded_it_edits_bit_for_bit(method, editors, tmp_path):
    path = tmp_path / "editors.safetensors"
    changed = editors.scaled(0.5).condition(editors.names, on=held(editors))
    for given in (editors, changed):
        given.save(path)
        found = Editors.load(path, G, SCORERS)
        assert found.names == given.names and found.provenance == given.provenance
        for name, editor in given.items():
            assert found[name].name == editor.name
            assert torch.equal(edited(found[name]), edited(editor)), name
    if method[0] in OBSERVE:
        with pytest.raises(FacenbError, match=r"observes images.*Editors\.load\(path, generator\)"):
            Editors.load(path)
    other = Striped()
    other.fingerprint = "another"
    with pytest.raises(FacenbError, match="made for striped, the generator here is striped"):
        Editors.load(path, other, SCORERS)


def held(editors: Editors) -> Editors:
    vectors = torch.eye(DIM)[:2] + 0.3
    return Editors.from_vectors(["p", "q"], vectors, editors.space, None, editors.provenance)


def test_conditioned_it_keeps_the_distances(editors):
    conditions = held(editors)
    found = editors.condition(editors.names[:2], on=conditions)
    assert found.provenance == editors.provenance and found.names == editors.names[:2]
    start = latents(editors.space)
    for editor in found.values():
        assert editor.name.endswith(" | p, q")
        end = start.with_values(edited(editor))
        assert (end.values - start.values).norm(dim=1).min() > 1e-3
        for boundary in conditions.values():
            torch.testing.assert_close(boundary.distance(end), boundary.distance(start))


def test_scaled_it_counts_in_other_units(editors):
    name, last = editors.names[0], editors.names[-1]
    twice = editors.scaled(2.0)
    assert torch.equal(edited(twice[name], 0.75), edited(editors[name], 1.5))
    some = editors.scaled({last: -2.0})
    assert some.names == editors.names and some[name] is editors[name]
    assert torch.equal(edited(some[last], 0.75), edited(editors[last], -1.5))
    assert twice.provenance == editors.provenance and twice.dim == DIM


def test_limited_to_layers_it_edits_those_alone(editors):
    if editors.space == "z":
        with pytest.raises(ValueError, match="expected an editor of space 'w' to limit to layers"):
            editors.in_layers(1, 3)
        return
    limited = editors.scaled(0.5).in_layers(1, 3)
    assert (limited.space, limited.dim) == ("w+", DIM)
    assert limited.fingerprint == editors.fingerprint
    name, start = editors.names[0], latents("w+")
    found = edited(limited[name], 3.0)
    assert torch.equal(found[:, [0, 3]], start.values[:, [0, 3]])
    for layer in (1, 2):
        torch.testing.assert_close(found[:, layer], edited(editors[name], 1.5))


def test_a_method_that_needs_labels_says_so():
    for name in ("InterFaceGAN", "LatentTransformer", "SGF", "LatentOptimisation", "a toy"):
        with pytest.raises(ValueError, match="expected scored samples, given none"):
            METHODS[name]().fit(G)


def test_directions_without_names_are_found_by_attribute(samples):
    found = by_attribute(GANSpace(6, space="w", n=256).fit(G).editors(), samples)
    assert found.names == SCORERS.names and found.fingerprint == G.fingerprint
    for column, editor in enumerate(found.values()):
        follows = torch.stack([editor.editor.distance(samples.latents), samples.scores[:, column]])
        assert torch.corrcoef(follows)[0, 1] > 0.3


def test_scores_by_other_scorers_are_refused(samples, tmp_path):
    method = SurrogateGradientField(MAPPING, SCORERS).fit(G, samples)
    method.editors().save(tmp_path / "sgf.safetensors")
    other = Halves()
    other.fingerprint = "h2"
    with pytest.raises(FacenbError, match="by other scorers than those here"):
        Editors.load(tmp_path / "sgf.safetensors", G, other)


def test_a_toy_method_runs_everything(samples, tmp_path):
    toy = Means().fit(G, samples)
    editors, faces = toy.editors(), G.sample(4, seed=2, space="w")
    images = strip_images(G, editors["left"], faces, [-20.0, 0.0, 20.0])
    left = images[..., :8].mean((2, 3, 4))
    assert (left.diff(dim=1) > 0).all()

    explorer = Explorer(G, toy, SCORERS, size=16, folder=tmp_path)
    explorer.condition_on("right")
    explorer.set(left=2.0)
    before = G.sample(1, space="w")
    expected = editors.condition("left", on=["right"])["left"].edit(before, 2.0)
    torch.testing.assert_close(explorer.latents.values, expected.values)
    assert explorer.save_png().exists()
    explorer.close()

    editors.save(tmp_path / "toy.safetensors")
    assert Editors.load(tmp_path / "toy.safetensors", G).provenance["top"] == 0.3
    with pytest.raises(SpaceError, match="dimension 5"):
        Editors.from_vectors(["a"], torch.eye(5)[:1], "w").check(G)


def test_a_toy_method_beside_another_in_the_comparison(samples):
    comparison = pytest.importorskip("facenb.metrics.compare")
    methods = {
        name: METHODS[name]().fit(G, samples).editors() for name in ("a toy", "InterFaceGAN")
    }
    found = comparison.compare(
        G,
        SCORERS,
        methods,
        G.sample(16, seed=3),
        targets=["left"],
        strengths=[1.0, 2.0, 4.0],
        thresholds=samples.scores.median(0).values,
        deviations=samples.scores.std(0),
        resamples=20,
    )
    assert list(found.table().index) == list(methods)
