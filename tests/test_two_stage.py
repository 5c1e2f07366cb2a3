"""The five experiments of Niu et al., on a generator whose Hessian is known."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from facenb import load_generator
from facenb.editors import Editors
from facenb.errors import FacenbError, UnknownNameError
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods.two_stage import (
    CONFIGS,
    KINDS,
    METHODS,
    VARIANTS,
    DirectionLearner,
    DirectionMatrix,
    Training,
    held_out_penalty,
    load_config,
    rotation_angles,
)
from facenb.methods.two_stage.trained import learned
from facenb.storage.checkpoints import CheckpointError

D = 6


class Quadratic(Generator):
    """Linear images, and ½ zᵀQz added to the first `bent` of their 768 numbers.

    Q is diagonal along the columns of `axes`: along those no coordinate acts on another, and along
    any other directions A the Hessian of the coefficients is AᵀQA.
    """

    name, resolution, latent_dim, spaces, fingerprint = "quadratic", 16, D, ("z",), "quadratic-1"
    poisoned = None  # the number of the call from which on it returns NaN
    calls = 0

    def __init__(self, bent: int = 768, slope: float = 0.1) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(9)
        axes = torch.linalg.qr(torch.randn(D, D, generator=random)).Q
        self.axes = torch.nn.Parameter(axes)
        self.curvature = torch.linspace(-1, 2, D)
        self.slope = slope * torch.randn(D, 768, generator=random) * torch.arange(1, D + 1)[:, None]
        self.bent = (torch.arange(768) < bent).float()
        self.freeze()

    def _synthesize(self, latents: Latents) -> Tensor:
        self.calls += 1
        z = latents.values
        bend = 0.5 * ((z @ self.axes).square() @ self.curvature)[:, None] * self.bent
        images = (z @ self.slope + bend).view(-1, 3, 16, 16)
        return images * torch.nan if self.calls == self.poisoned else images


def off_diagonal(generator: Quadratic, vectors: Tensor) -> float:
    """2 Σ_{i≠j} (AᵀQA)_ij², which the Hessian penalty estimates at every bent pixel and code."""
    projected = vectors @ generator.axes
    hessian = projected @ generator.curvature.diag() @ projected.T
    return float(2 * (hessian - hessian.diag().diag()).square().sum())


SMALL = {
    name: replace(config, steps=40, batch=8, count=D, matrix_rate=0.02, reconstructor_width=0.125)
    for name, config in CONFIGS["smoke"].items()
}


def stage_one(count: int = D, dimension: int = D) -> Editors:
    vectors = DirectionMatrix(dimension, count, seed=4).vectors()
    names = [f"SDD {i}" for i in range(count)]
    return Editors.from_vectors(names, vectors, provenance={"method": "SDD"})


def fitted(method: str, generator: Generator, **changes) -> DirectionLearner:
    start = stage_one() if METHODS[method].second_stage else None
    return DirectionLearner(replace(SMALL[method], **changes)).fit(generator, None, start)


# The penalty that is trained on


def test_the_penalty_is_the_hessian_of_the_coefficients():
    generator, vectors = Quadratic(), stage_one().vectors
    config = replace(SMALL["DTH"], draws=500, batch=2, epsilon=1.0)  # ε is of no matter here
    found = held_out_penalty(config, generator, vectors, batches=4)
    assert found.shape == (4,) and found.dtype == torch.float64
    assert float(found.mean()) == pytest.approx(off_diagonal(generator, vectors), rel=0.1)
    assert held_out_penalty(config, generator, generator.axes.T).max() < 1e-6


def test_the_largest_pixel_or_the_mean_as_configured():
    generator, vectors = Quadratic(bent=7), stage_one().vectors
    largest, mean = (
        float(held_out_penalty(replace(SMALL["DTH"], reduction=r), generator, vectors).mean())
        for r in ("max", "mean")
    )
    assert mean == pytest.approx(largest * 7 / 768, rel=0.01)


def test_two_sets_of_directions_are_compared_at_the_same_draws():
    generator, vectors = Quadratic(), stage_one().vectors
    first, second = (held_out_penalty(SMALL["DTJ"], generator, vectors) for _ in range(2))
    assert torch.equal(first, second)


# Stage two


@pytest.mark.parametrize("method", ["DTH", "DTJ"])
@pytest.mark.parametrize("matrix", KINDS)
def test_stage_two_starts_from_stage_ones_matrix_exactly(method, matrix):
    start = stage_one()
    training = Training(replace(SMALL[method], matrix=matrix), Quadratic(), start, None)
    assert torch.equal(training.matrix.vectors(), start.vectors)


@pytest.mark.parametrize("matrix", KINDS)
def test_the_second_stage_disentangles_a_known_hessian(matrix):
    generator = Quadratic()
    learner = fitted("DTH", generator, matrix=matrix, steps=150, batch=18)
    before = off_diagonal(generator, stage_one().vectors)
    after = off_diagonal(generator, learner.vectors_)
    assert after < 0.1 * before
    assert learner.history_["penalty"][-20:].mean() < 0.2 * learner.history_["penalty"][:20].mean()
    assert learner.reconstructor_ is None and learner.held_out_ is None
    angles = learner.history_["smallest_angle"]
    assert angles[0] == pytest.approx(90, abs=1e-3)
    assert angles[-1] < 80 if matrix == "free" else angles[-1] == pytest.approx(90, abs=1e-3)


def test_without_orthogonality_directions_turn_less_far_for_the_same_end():
    turned = {}
    for matrix in ("free", "expm"):
        learner = fitted("DTH", Quadratic(), matrix=matrix, steps=150, batch=18)
        turned[matrix] = rotation_angles(stage_one().vectors, learner.vectors_).mean()
    assert 5 < turned["free"] < 0.8 * turned["expm"]


def test_orojar_as_the_second_stage():
    generator = Quadratic(bent=0)  # linear: the Hessian penalty has nothing to do
    learner = fitted("DTJ", generator, steps=100)
    before = held_out_penalty(learner.config, generator, stage_one().vectors).mean()
    after = held_out_penalty(learner.config, generator, learner.vectors_).mean()
    assert after < 0.2 * before
    assert held_out_penalty(SMALL["DTH"], generator, stage_one().vectors).max() < 1e-6


def test_the_penalty_alone_starts_from_a_random_matrix():
    generator = Quadratic()
    learner = fitted("SHP", generator, steps=150, batch=18)
    random = DirectionMatrix(D, D, seed=0).vectors()
    found = off_diagonal(generator, learner.vectors_)
    assert found < 0.2 * off_diagonal(generator, random)


def test_both_at_once():
    learner = fitted("HDP", Quadratic(), steps=5, penalty_weight=0.5)
    parts = ("classification", "regression", "penalty")
    classification, regression, penalty = (learner.history_[name] for name in parts)
    expected = classification + 0.25 * regression + 0.5 * penalty
    assert (learner.history_["loss"] - expected).abs().max() < 1e-5
    assert learner.held_out_.chance == pytest.approx(1 / D)
    vectors = learner.vectors_
    assert (vectors @ vectors.T - torch.eye(D)).abs().max() < 1e-5


def test_a_second_stage_without_a_start_trains_its_first(tmp_path):
    config = replace(SMALL["DTH"], steps=3)
    first = replace(SMALL["SDD"], steps=4)
    whole = DirectionLearner(config, first).fit(Quadratic(), checkpoint=tmp_path / "dth.pt")
    start = DirectionLearner(first).fit(Quadratic()).editors()
    assert torch.equal(whole.start_.vectors, start.vectors)
    again = DirectionLearner(config).fit(Quadratic(), start=start)
    assert torch.equal(whole.vectors_, again.vectors_)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dth.first.pt", "dth.pt"]
    plain = DirectionLearner(config).fit(Quadratic()).editors().provenance["start"]["config"]
    expected = {"method": "SDD", "steps": 3, "batch": 32, "matrix": "gram-schmidt"}
    assert expected.items() <= plain.items()


def test_what_a_second_stage_came_from_is_in_its_provenance():
    provenance = fitted("DTH", Quadratic(), steps=1).editors().provenance
    assert provenance["start"]["method"] == "SDD" and len(provenance["start"]["sha256"]) == 64
    assert provenance["config"]["matrix"] == "free"


# Stopping and going on


@pytest.mark.parametrize("method", ["HDP", "DTH"])
@pytest.mark.parametrize("matrix", ["expm", "free"])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, method, matrix):
    config = replace(SMALL[method], steps=10, matrix=matrix)
    start = stage_one() if METHODS[method].second_stage else None
    whole = DirectionLearner(config).fit(Quadratic(), None, start)
    path = tmp_path / "training.pt"
    DirectionLearner(replace(config, steps=7)).fit(Quadratic(), None, start, path)
    resumed = DirectionLearner(config).fit(Quadratic(), None, start, path)
    assert torch.equal(resumed.vectors_, whole.vectors_)
    for name, curve in whole.history_.items():
        assert torch.equal(resumed.history_[name], curve), name


def test_a_checkpoint_of_another_start_is_refused(tmp_path):
    config, path = replace(SMALL["DTH"], steps=1), tmp_path / "training.pt"
    DirectionLearner(config).fit(Quadratic(), None, stage_one(), path)
    other = stage_one().orthogonalise()
    other = Editors.from_vectors(other.names, other.vectors.flip(0))
    with pytest.raises(CheckpointError, match=r"start: '\w{64}' in the checkpoint, '\w{64}' given"):
        DirectionLearner(config).fit(Quadratic(), None, other, path)
    with pytest.raises(CheckpointError, match=r"reduction: 'max' in the checkpoint, 'mean' given"):
        DirectionLearner(replace(config, reduction="mean")).fit(
            Quadratic(), None, stage_one(), path
        )


def test_it_stops_at_a_nan_and_names_the_step_and_the_checkpoint(tmp_path):
    path, generator = tmp_path / "training.pt", Quadratic()
    generator.poisoned = 1 + 1 + 4  # two calls in the first step, which checks; one in the others
    with pytest.raises(FacenbError, match=r"DTH stopped at step 4: .* step 3, .*training\.pt"):
        DirectionLearner(SMALL["DTH"]).fit(generator, None, stage_one(), path, every=3)
    assert (
        len(DirectionLearner(SMALL["DTH"]).fit(Quadratic(), None, stage_one(), path).history_) == 3
    )


def test_a_generator_with_noise_of_its_own_is_refused():
    class Noisy(Quadratic):
        def _synthesize(self, latents: Latents) -> Tensor:
            images = super()._synthesize(latents)
            return images + torch.randn_like(images)

    with pytest.raises(FacenbError, match="deterministic"):
        fitted("DTH", Noisy())


# Bad input


def test_starts_that_do_not_fit():
    with pytest.raises(ValueError, match="SHP starts from a random A"):
        DirectionLearner(SMALL["SHP"]).fit(Quadratic(), None, stage_one())
    with pytest.raises(ValueError, match=r"start of shape \(6, 6\), .* given \(4, 6\)"):
        DirectionLearner(SMALL["DTH"]).fit(Quadratic(), None, stage_one(4))
    with pytest.raises(ValueError, match=r"start of shape \(6, 6\), .* given \(6, 8\)"):
        DirectionLearner(SMALL["DTH"]).fit(Quadratic(), None, stage_one(6, 8))
    skew = Editors.from_vectors([f"SDD {i}" for i in range(D)], torch.eye(D) + 0.2)
    with pytest.raises(ValueError, match=r"'expm' starts from orthogonal directions"):
        DirectionLearner(replace(SMALL["DTH"], matrix="expm")).fit(Quadratic(), None, skew)
    moved = Editors.from_vectors([f"SDD {i}" for i in range(D)], torch.eye(D), space="w")
    with pytest.raises(ValueError, match=r"start in space 'z', given directions in space 'w'"):
        DirectionLearner(SMALL["DTH"]).fit(Quadratic(), None, moved)
    with pytest.raises(ValueError, match="every: expected at least 1"):
        DirectionLearner(SMALL["SHP"]).fit(Quadratic(), every=0)


def test_profiles_cover_every_method_and_stage_two_is_not_orthogonal_by_default():
    for profile, configs in CONFIGS.items():
        assert configs.keys() == METHODS.keys(), profile
        for name, config in configs.items():
            assert config.matrix == ("free" if METHODS[name].second_stage else "gram-schmidt")
            assert (config.reduction, config.draws, config.epsilon) == ("max", 2, 0.1)
    assert load_config("DTH", "laptop", matrix="expm").matrix == "expm"


# Profiles and variants


@pytest.mark.parametrize("profile", ["smoke", "laptop", "gpu"])
def test_every_experiment_fits_the_embedded_generator(profile: str) -> None:
    for name in (*METHODS, *VARIANTS):
        config = load_config(name, profile)
        assert config.space == "z"
        start = None
        if METHODS[config.method].second_stage:
            start = stage_one(config.count, 100).vectors
        matrix = DirectionMatrix(100, config.count, config.matrix, start=start)
        assert matrix.vectors().shape == (config.count, 100)


def test_variants_change_what_they_say() -> None:
    hdp, control = load_config("HDP", "laptop"), load_config("sdd-batch-12", "laptop")
    assert (control.method, control.batch, control.steps) == ("SDD", hdp.batch, hdp.steps)
    code = load_config("dth-expm-mean", "laptop")
    assert (code.method, code.matrix, code.reduction) == ("DTH", "expm", "mean")
    assert replace(code, matrix="free", reduction="max") == load_config("DTH", "laptop")
    dth = {(c.matrix, c.reduction) for c in map(load_config, VARIANTS) if c.method == "DTH"}
    assert dth | {("free", "max")} == {(m, r) for m in KINDS for r in ("max", "mean")}


def test_an_unknown_variant_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="dth-expm-mean"):
        load_config("dth-cayley")


class Eight(Quadratic):
    """With room for the smoke profile's eight directions."""

    latent_dim = 8

    def _synthesize(self, latents: Latents) -> Tensor:
        return super()._synthesize(Latents(latents.values[:, :D], "z"))


def test_a_notebook_finds_directions_or_the_command_that_makes_them(tmp_path, monkeypatch):
    generator = load_generator("digiface-dcgan-64")
    shipped, histories = learned(generator, "laptop", 0, ["SDD", "dth-mean"])
    assert shipped["dth-mean"].provenance["generator"] == "digiface-dcgan-64"
    assert len(histories["SDD"]["accuracy"]) == shipped["SDD"].provenance["config"]["steps"]
    monkeypatch.setenv("FACENB_CACHE", str(tmp_path))
    generator = Eight()
    with pytest.raises(FacenbError, match="train_directions SDD --profile laptop --seed 3"):
        learned(generator, "laptop", 3, ["SDD"])
    found, curves = learned(generator, "smoke", 3, ["SDD"])
    assert len(found["SDD"]) == 8 and len(curves["SDD"]["accuracy"]) == 12
    again, _ = learned(generator, "smoke", 3, ["SDD"])  # from its checkpoint
    assert torch.equal(again["SDD"].vectors, found["SDD"].vectors)
    generator.fingerprint = "another-file-of-the-same-name"
    assert learned(generator, "smoke", 3, ["SDD"])[0]["SDD"].vectors.shape == (8, 8)
    assert len(list((tmp_path / "training").glob("*.safetensors"))) == 2
