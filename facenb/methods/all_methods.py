"""Every method's editors for the same targets: what is compared in one table (notebook 11).

    entries = AllMethods(generator, samples, targets).entries()
    entries["SeFa"]().editors["smile"]

What ships for the generator is loaded; what is cheap is learned from the samples. Methods that
know no attributes are given the names of the targets by a linear probe from latents to scores, on
the samples: for each target the direction along which the target changes most, relative to the
other scores. They see none of the faces that are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from facenb.editors import Editor, Editors, load_editors
from facenb.errors import FacenbError, UnknownNameError
from facenb.generators import Generator
from facenb.latents import Latents
from facenb.methods.entry import Entry, best_labelled
from facenb.methods.ganspace import GANSpace
from facenb.methods.interfacegan import InterFaceGAN
from facenb.methods.latent_optimization import LatentOptimisation
from facenb.methods.latent_transformer import LEARNING_RATE, LatentTransformer
from facenb.methods.latent_transformer.labels import digest
from facenb.methods.sefa import SeFa
from facenb.methods.sgf import SurrogateGradientField, fit_sgf, load_config, sgf_editors
from facenb.methods.sgf.files import load_fields
from facenb.methods.two_stage.trained import learned, train_all
from facenb.metrics.linear_probe import LinearProbe
from facenb.sampling import ScoredSamples, score_once
from facenb.scorers import conditions_of, load_scorers
from facenb.storage.cache import cached

YOURS = "directions of yours"
TWO_STAGE = ("SDD", "SHP", "HDP", "DTJ", "DTH")
CONFIDENT = 0.05
TRAININGS = 3
COMPONENTS = 80  # of GANSpace; the published code's
FACTORS = 40  # of SeFa
FIELD = {"steps": 600, "batch": 128}  # of further fields, as of those that ship
TRANSFORMER = {
    "hidden": 128,
    "reconstruction_weight": 10.0,
    "features": "probability",
    "learning_rate": LEARNING_RATE,
}


class AllMethods:
    """The methods of one generator for some targets, each made when it is asked for.

    Args:
        generator: that edits are drawn by; what is learned on its weights is loaded by its name.
        samples: in "z", scored by the suite, with all its scores.
        profile: "smoke" trains small networks where none ship.
        seed: of all training.
        yours: directions from elsewhere, by target.
    """

    def __init__(
        self,
        generator: Generator,
        samples: ScoredSamples,
        targets: Sequence[str],
        profile: str = "laptop",
        seed: int = 0,
        yours: Mapping[str, Editor] | None = None,
    ) -> None:
        self.generator, self.profile, self.seed = generator, profile, seed
        self.yours = dict(yours or {})
        self.targets = tuple(targets)
        samples.latents.require("z")
        self.space = "w" if "w" in generator.spaces else "z"
        self.in_z = samples
        self.source = generator  # that is learned from
        if self.space == "w":
            self.source = generator.variant(truncation=1.0, precision=torch.float32)
        values = self.source.map(samples.latents, self.space)
        self.samples = ScoredSamples(values, samples.scores, samples.names)
        self.names = conditions_of(samples.names)
        self.probe = LinearProbe().fit(values.values, self._scores(self.names))
        self._boundaries: dict[tuple[str, int], tuple[Editors, float]] = {}
        self._fields: dict[bool, tuple[SurrogateGradientField, float | None]] = {}
        self._made: dict[str, Entry] = {}

    def entries(self) -> dict[str, Callable[[], Entry]]:
        """What gives each method's entry, by its name, in the order of the table."""
        return {name: partial(self._once, name, make) for name, make in self._makers().items()}

    def _once(self, name: str, make: Callable[[], Entry]) -> Entry:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _makers(self) -> dict[str, Callable[[], Entry]]:
        styled = self.space == "w"
        w = ", W" if styled else ""
        found = {
            f"InterFaceGAN{w}": lambda: self._interfacegan(self.space, False),
            f"InterFaceGAN{w}, conditioned": lambda: self._interfacegan(self.space, True),
        }
        if styled:
            found["InterFaceGAN, Z"] = lambda: self._interfacegan("z", False)
        found |= {"GANSpace, by layers": self._ganspace, "SeFa": self._sefa}
        found |= {name: lambda name=name: self._two_stage(name) for name in TWO_STAGE}
        found |= {
            "latent transformer": self._transformer,
            "SGF": lambda: self._sgf(False, False),
            "SGF, with noise": lambda: self._sgf(True, False),
            "SGF, looking": lambda: self._sgf(False, True),
            "latent optimisation": self._optimisation,
            YOURS: self._yours,
        }
        return found

    def _scores(self, names: Sequence[str]) -> Tensor:
        return torch.stack([self.samples[name] for name in names], 1)

    def _only(self, names: Sequence[str], space: str) -> ScoredSamples:
        latents = self.samples.latents if space == self.space else self.in_z.latents
        return ScoredSamples(latents, self._scores(names), tuple(names))

    def _part(self, samples: ScoredSamples, k: int) -> ScoredSamples:
        """The k-th of TRAININGS parts of the samples, without an element in common."""
        return samples.select(torch.arange(k, len(samples), TRAININGS))

    def _boundary(self, space: str, part: int) -> tuple[Editors, float]:
        """Boundaries from all samples (part 0), or from one of three parts of them.

        Of the targets in "z", and of all conditions in the space that is conditioned in.
        """
        if (space, part) not in self._boundaries:
            editors, seconds = None, 0.0
            if part == 0 and space == self.space:
                editors = self._shipped("interfacegan")
            if editors is None:
                samples = self._only(self.names if space == self.space else self.targets, space)
                chosen = self._part(samples, part - 1) if part else samples
                confident = CONFIDENT if len(samples) >= 10_000 else 0.1
                editors, seconds = self._fitted(InterFaceGAN(confident, seed=self.seed), chosen)
            self._boundaries[space, part] = editors, seconds
        return self._boundaries[space, part]

    def _fitted(self, model: InterFaceGAN, samples: ScoredSamples) -> tuple[Editors, float]:
        """Its editors, from the cache where it was fitted to these samples before, and seconds."""

        def learned() -> dict[str, Tensor]:
            begin = time.perf_counter()
            vectors = model.fit(self.source, samples).editors().vectors
            return {"vectors": vectors, "seconds": torch.tensor(time.perf_counter() - begin)}

        data = digest(samples.latents.values, samples.scores)
        inputs = {"version": 1, "data": data, "names": list(samples.names), **model.get_params()}
        found = cached("boundaries", inputs, learned)
        editors = Editors.from_vectors(samples.names, found["vectors"], samples.latents.space)
        return editors, float(found["seconds"])

    def _shipped(self, name: str) -> Editors | None:
        try:
            return load_editors(name, self.generator.name)
        except UnknownNameError:
            return None

    def _interfacegan(self, space: str, conditioned: bool) -> Entry:
        def lines(part: int) -> dict[str, Editor]:
            known = self._boundary(space, part)[0]
            if conditioned:
                known = known.select(self.names).condition(self.targets, on=self.names)
            return dict(known.select(self.targets))

        return Entry(
            lines(0),
            len(self.samples),
            2.0 if space == "w" else 1.5,
            None if space == self.space else self._boundary(space, 0)[1],
            "seconds" if space == self.space else "",
            trainings=lambda: [lines(1 + k) for k in range(TRAININGS)],
        )

    def _labelled(self, editors: Editors) -> dict[str, Editor]:
        found = {n: best_labelled(editors, self.probe, self.names.index(n)) for n in self.targets}
        return {name: editor for name, (editor, _) in found.items()}

    def _ganspace(self) -> Entry:
        begin = time.perf_counter()
        n, components = (256, 8) if self.profile == "smoke" else (10_000, COMPONENTS)
        model = GANSpace(components, n=n, seed=self.seed, space=self.space)
        components = model.fit(self.source).editors().unscaled()
        seconds = time.perf_counter() - begin
        chosen = self._labelled(components)
        layers: dict[str, dict[str, Editor]] = {}
        if self.space == "w":
            groups = self.generator.layer_groups()
            layers = {
                name: {
                    label: Editors({name: editor}).in_layers(*group)[name]
                    for label, group in groups.items()
                }
                for name, editor in chosen.items()
            }
        return Entry(chosen, 0, 2.0, seconds, layers=layers)

    def _sefa(self) -> Entry:
        begin = time.perf_counter()
        count = min(FACTORS, self.generator.dim(self.space))
        factors = SeFa(count).fit(self.source).editors()
        return Entry(self._labelled(factors), 0, 2.0, time.perf_counter() - begin)

    def _two_stage(self, name: str) -> Entry:
        training_time = "two hours for all five, on two cores"
        try:
            editors, _ = learned(self.source, "laptop", self.seed, [name])
        except FacenbError as error:
            return Entry({}, 0, 2.0, reasons=dict.fromkeys(self.targets, str(error)))
        again = partial(self._two_stage_again, name)
        return Entry(self._labelled(editors[name]), 0, 2.0, None, training_time, trainings=again)

    def _two_stage_again(self, name: str) -> list[dict[str, Editor]]:
        """From two other seeds, begun or gone on with where `train_directions` has not done it."""
        if self.profile == "smoke" or self.space != "w":
            return []
        methods = tuple(dict.fromkeys(("SDD", name)))
        found = (train_all(self.source, "laptop", seed, methods)[name] for seed in (1, 2))
        return [self._labelled(learner.editors()) for learner in found]

    def _transformer(self) -> Entry:
        begin = time.perf_counter()
        shipped = {}
        for file in ("transformers", "transformers-pose"):
            shipped |= dict(self._shipped(file) or {})
        absent = [name for name in self.targets if name not in shipped]
        if absent:
            shipped |= dict(self.train_transformers(absent, self.seed))
        lines = {name: shipped[name] for name in self.targets}
        seconds, training_time = time.perf_counter() - begin, ""
        if not absent:
            seconds, training_time = None, "two minutes for eight targets, on two cores"
        return Entry(
            lines,
            len(self.samples),
            1.0,
            seconds,
            training_time,
            trainings=self._transformers_again,
        )

    def _transformers_again(self) -> list[dict[str, Editor]]:
        if self.profile == "smoke" or self.space != "w":
            return []
        return [dict(self.train_transformers(self.targets, seed)) for seed in (1, 2)]

    def train_transformers(self, targets: Sequence[str], seed: int) -> Editors:
        """Networks for some targets, from all samples."""
        epochs = 1 if self.profile == "smoke" else 10
        model = LatentTransformer(**TRANSFORMER, epochs=epochs, targets=list(targets), seed=seed)
        return model.fit(self.source, self.samples).editors()

    def _field(self, noisy: bool) -> tuple[SurrogateGradientField, float | None]:
        """The field, and the seconds that its training took; None where it ships."""
        if noisy not in self._fields:
            begin = time.perf_counter()
            try:
                fields, _ = load_fields("sgf_attributes", self.generator.name)
                found = fields[self.space + (", with noise" if noisy else "")], None
            except UnknownNameError:
                profile = "smoke" if self.profile == "smoke" else "laptop"
                config = load_config(profile, self.space)
                config = replace(config, seed=self.seed, noise=1.0 if noisy else 0.0)
                values, scores = self.samples.latents.values, self._scores(self.names)
                trained = fit_sgf(config, values, scores, self.names)
                found = trained, time.perf_counter() - begin
            self._fields[noisy] = found
        return self._fields[noisy]

    def _observe(self, names: Sequence[str]) -> Callable[[Tensor], Tensor]:
        scorers = load_scorers(list(names), self.generator.framing, self.generator.device)
        return lambda z: score_once(self.generator, scorers, Latents(z, self.space))

    def _sgf(self, noisy: bool, look: bool) -> Entry:
        surrogate, seconds = self._field(noisy)
        editors = sgf_editors(
            surrogate, self._observe(surrogate.names_), self.targets, self.space, look
        )
        training_time = "a minute or two" if seconds is None else ""
        again = tuple if look else partial(self._sgf_again, noisy)
        return Entry(
            dict(editors),
            len(self.samples),
            2.0,
            seconds,
            training_time,
            iterative=look,
            trainings=again,
        )

    def _sgf_again(self, noisy: bool) -> list[dict[str, Editor]]:
        if self.profile == "smoke" or self.space != "w":
            return []
        values, scores = self.samples.latents.values, self._scores(self.names)
        base = replace(load_config("laptop", "w"), noise=1.0 if noisy else 0.0, **FIELD)
        found = []
        for seed in (1, 2):
            field = fit_sgf(replace(base, seed=seed), values, scores, self.names)
            found.append(dict(sgf_editors(field, self._observe(self.names), self.targets, "w")))
        return found

    def _optimisation(self) -> Entry:
        samples = self._only(self.names, self.space)
        model = LatentOptimisation(max_steps=10).fit(self.generator, samples)
        editors = model.editors().select(self.targets)
        return Entry(dict(editors), 0, 1.0, 0.0, iterative=True)

    def _yours(self) -> Entry:
        reasons = dict.fromkeys(self.targets, "no file was given")
        return Entry(self.yours, 0, 2.0, None, "elsewhere", reasons)
