"""The ledger of claims: its rules by hand, and that it is what the notebooks' numbers give."""

from dataclasses import replace

import pytest

from scripts import claims

CLAIM = claims.CLAIMS[0]


@pytest.mark.parametrize(
    ("part", "holds", "found", "verdict"),
    [
        (0.5, 0.9, 0.9, claims.HOLDS),
        (0.5, 0.9, 0.89, claims.PART),
        (0.5, 0.9, 0.49, claims.NOT),
        (0.9, 0.5, 0.5, claims.HOLDS),  # where small numbers support it
        (0.9, 0.5, 0.6, claims.PART),
        (0.9, 0.5, 1.0, claims.NOT),
        (0.0, 0.0, {"value": 0.2, "low": 0.1, "high": 0.3}, claims.HOLDS),
        (0.0, 0.0, {"value": 0.2, "low": -0.1, "high": 0.3}, claims.PART),  # not all of it
        (0.0, 0.0, {"value": -0.2, "low": -0.3, "high": 0.3}, claims.NOT),
        (1.0, 0.8, {"estimate": 0.7, "low": 0.6, "high": 0.9}, claims.PART),
    ],
)
def test_verdicts(monkeypatch: pytest.MonkeyPatch, part, holds, found, verdict) -> None:
    monkeypatch.setattr(claims, "numbers", lambda notebook: {"a": {"b": found}})
    assert replace(CLAIM, number=("a", "b"), part=part, holds=holds).verdict() == verdict


def test_the_ledger_and_the_readme_are_what_the_numbers_give() -> None:
    assert claims.LEDGER.read_text() == claims.ledger()
    assert claims.summary() in claims.README.read_text()


def test_it_has_claims_of_each_of_the_four_papers() -> None:
    assert {"InterFaceGAN", "Niu", "Yao", "Li"} <= {claim.paper for claim in claims.CLAIMS}
    assert len(claims.CLAIMS) >= 25
