"""Captions as conditions: a sentence written from an image's scores, encoded as a vector.

Li et al. 2021 (§4.2, §4.8) take an image captioner and a sentence transformer. A captioner trained
on photographs has little to say about 64-pixel faces, so the sentence is written from the scores by
a small grammar, and a target is any sentence that the user types:

    grammar = Grammar().fit(samples.scores, samples.names)
    grammar(samples.scores[:1])     # ["a smiling young woman with glasses, looking left"]
    condition = Captions(scorers, grammar, SentenceEncoder())
    known = condition.of_scores(samples.scores)              # (N, 384), without drawing an image
    target = condition.encoder(["an old man with a beard"])
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from facenb.errors import check_finite, unknown
from facenb.scorers import ScorerSuite
from facenb.scorers.sentence_encoder import SentenceEncoder
from facenb.storage.cache import cached

__all__ = ["PHRASES", "Captions", "Grammar", "Phrase", "SentenceEncoder"]


@dataclass(frozen=True)
class Phrase:
    """What a caption says of one score, for the samples at its ends; nothing in the middle.

    Attributes:
        attribute: the score's name.
        slot: where in the sentence: "mood", "age", "person", "with", "looking" or "light".
        low, high: the words at either end; "" says nothing.
        share: of the samples, at each end that has words, for which they are said.
    """

    attribute: str
    slot: str
    low: str
    high: str
    share: float


# The order within a slot is the order in the sentence. Left and right are the viewer's. Glasses,
# hats and beards have the share of the DCGAN's samples whose log-odds are above 0.
PHRASES: tuple[Phrase, ...] = (
    Phrase("smile", "mood", "", "smiling", 0.25),
    Phrase("surprise", "mood", "", "surprised", 0.10),
    Phrase("age", "age", "young", "old", 0.30),
    Phrase("gender", "person", "woman", "man", 0.40),
    Phrase("glasses", "with", "", "glasses", 0.15),
    Phrase("hat", "with", "", "a hat", 0.14),
    Phrase("beard", "with", "", "a beard", 0.10),
    Phrase("bald", "with", "", "a bald head", 0.06),
    Phrase("grey_hair", "with", "", "grey hair", 0.08),
    Phrase("long_hair", "with", "", "long hair", 0.25),
    Phrase("wavy_hair", "with", "", "wavy hair", 0.15),
    Phrase("fringe", "with", "", "a fringe", 0.15),
    Phrase("make_up", "with", "", "make-up", 0.20),
    Phrase("mouth_open", "with", "", "an open mouth", 0.15),
    Phrase("yaw", "looking", "left", "right", 0.25),
    Phrase("pitch", "looking", "up", "down", 0.15),
    Phrase("brightness", "light", "in dim light", "in bright light", 0.15),
)


class Grammar(BaseEstimator):
    """Scores to sentences.

    The cuts are quantiles of the generator's samples, not fixed scores: the scorers were made for
    photographs, and half of all samples would have no word, or all the same one.

    Attributes:
        names_: the scores' names, in the order of their columns.
        low_, high_: cut of each phrase whose score is there, by attribute.
    """

    def fit(self, scores: Tensor, names: Sequence[str]) -> Grammar:
        """Learn the cuts from the scores (N, A) of a generator's samples, with their A names.

        Scores without a phrase are left out of the sentences.

        Raises:
            UnknownNameError: no phrase for any of the names.
            ValueError: shapes that do not fit, or NaN.
        """
        self.names_ = tuple(names)
        self._check(scores)
        known = [phrase for phrase in PHRASES if phrase.attribute in self.names_]
        if not known:
            raise unknown("score for a caption", ", ".join(names), [p.attribute for p in PHRASES])
        self.low_, self.high_ = {}, {}
        for phrase in known:
            column = scores[:, self.names_.index(phrase.attribute)].detach().double()
            self.low_[phrase.attribute] = float(column.quantile(phrase.share))
            self.high_[phrase.attribute] = float(column.quantile(1 - phrase.share))
        return self

    def __call__(self, scores: Tensor) -> list[str]:
        """One caption for each row of scores (N, A)."""
        self._check(scores)
        return [self._sentence(row) for row in scores.tolist()]

    def _check(self, scores: Tensor) -> None:
        if scores.ndim != 2 or scores.shape[1] != len(self.names_) or not len(scores):
            raise ValueError(
                f"Grammar: expected scores (N, {len(self.names_)}) of {', '.join(self.names_)}, "
                f"given {tuple(scores.shape)}."
            )
        check_finite(scores, "scores")

    def _sentence(self, row: Sequence[float]) -> str:
        said: dict[str, list[str]] = {}
        for phrase in PHRASES:
            if phrase.attribute in self.low_:
                score = row[self.names_.index(phrase.attribute)]
                above, below = (
                    score > self.high_[phrase.attribute],
                    score < self.low_[phrase.attribute],
                )
                if word := phrase.high if above else phrase.low if below else "":
                    said.setdefault(phrase.slot, []).append(word)
        noun = [
            _listed(said.get("mood", [])),
            *said.get("age", []),
            *said.get("person", ["person"]),
        ]
        head = " ".join(filter(None, noun))
        head = f"{'an' if head[0] in 'aeiou' else 'a'} {head}"
        if "with" in said:
            head += f" with {_listed(said['with'])}"
        if "looking" in said:
            head += f", looking {_listed(said['looking'])}"
        return ", ".join([head, *said.get("light", [])])


class Captions(nn.Module):
    """Images → scores → sentences → vectors (N, 384): a condition (`facenb.scorers.conditions`).

    Not differentiable: the sentence is made of words. SGF needs no gradient of it (appendix A).

    Args:
        scorers: of the attributes that the grammar was fitted on.
        grammar: fitted.
        encoder: the sentence encoder.
    """

    def __init__(self, scorers: ScorerSuite, grammar: Grammar, encoder: SentenceEncoder) -> None:
        super().__init__()
        if scorers.names != grammar.names_:
            raise ValueError(
                f"Captions: expected the scorers of {', '.join(grammar.names_)}, on which the "
                f"grammar was fitted, given {', '.join(scorers.names)}."
            )
        self.scorers, self.grammar, self.encoder = scorers, grammar, encoder
        self.names = tuple(f"caption {i}" for i in range(encoder.dimension))
        cuts = [repr(grammar.low_), repr(grammar.high_), repr(PHRASES)]
        self.fingerprint = _hash(scorers.fingerprint, encoder.fingerprint, *cuts)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Vectors (N, 384), of length one, of the captions of images (N, 3, S, S)."""
        return self.encoder(self.captions(images)).to(images.device)

    def of_scores(self, scores: Tensor) -> Tensor:
        """Vectors (N, 384) of scores (N, A) that are at hand; from disk when encoded before."""
        sentences = self.grammar(scores)
        inputs = {"sentences": _hash(*sentences), "encoder": self.encoder.fingerprint}
        found = cached("captions", inputs, lambda: {"vectors": self.encoder(sentences)})
        return found["vectors"].to(scores.device)

    @torch.no_grad()
    def captions(self, images: Tensor) -> list[str]:
        """The N sentences themselves."""
        return self.grammar(self.scorers(images))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _listed(words: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    *others, last = words or [""]
    return f"{', '.join(others)} and {last}" if others else last
