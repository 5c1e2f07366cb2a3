"""Attributes in groups, for the sliders and for the chart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from facenb.scorers import ATTRIBUTES, Attribute

OTHER = "other"


def group_of(attribute: Attribute) -> str:
    """The group of an attribute, such as "expression"."""
    return attribute.group or OTHER


def grouped(names: Iterable[str], attributes: Sequence[Attribute]) -> dict[str, list[str]]:
    """The names of editors by group, in the order of the attributes' groups; those that are no
    attribute's come last.

    "smile (line)" belongs where "smile" does.
    """
    every = (*chain.from_iterable(ATTRIBUTES.values()), *attributes)
    known = {attribute.name: group_of(attribute) for attribute in every}
    groups: dict[str, list[str]] = {group: [] for group in (*known.values(), OTHER)}
    for name in names:
        groups[known.get(name, known.get(name.partition(" (")[0], OTHER))].append(name)
    last = groups.pop(OTHER)
    return {group: names for group, names in (*groups.items(), (OTHER, last)) if names}


def changed_most(changes: Mapping[str, float], before: Iterable[str], count: int) -> list[str]:
    """The `count` names of largest |change|; those that were among them `before` have precedence
    where it is close."""
    before = set(before)
    margin = 0.25  # standard deviations: less does not make rows change places under the eye
    key = {name: abs(change) + margin * (name in before) for name, change in changes.items()}
    chosen = set(sorted(key, key=key.get, reverse=True)[:count])
    return [name for name in changes if name in chosen]
