"""Which LQ belongs to which GT: the naming rules of the published data sets, in one place."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dtir.core.errors import DatasetError
from dtir.core.names import did_you_mean

T = TypeVar("T")

_NAMED_AT_MOST = 5


@dataclass(frozen=True)
class PairingRule:
    """A way of naming pairs. What the first groups of the two patterns match is equal within a pair.

    Attributes:
        lq: Pattern that the whole name of an LQ matches, without folder and extension.
        gt: The same for a GT.
        example: Names of one pair, LQ and GT.
        shared_gt: Whether several LQs may belong to one GT.
    """

    lq: str
    gt: str
    example: tuple[str, str]
    shared_gt: bool = False


RULES = {
    "same": PairingRule(r"(.*)", r"(.*)", ("1", "1")),
    # Rain100H and Rain100L; the second in the form of their authors, whose rainy pictures end in x2.
    "rain": PairingRule(r"rain-(.*)", r"norain-(.*)", ("rain-001", "norain-001")),
    "rain-x2": PairingRule(r"norain-(\d+)(?:x2)?", r"norain-(\d+)", ("norain-1x2", "norain-1")),
    # RESIDE: a scene, then the number of its haze or the haze's parameters.
    "reside": PairingRule(r"([^_]+)_.*", r"([^_]+)", ("1400_1", "1400"), shared_gt=True),
    "raindrop": PairingRule(r"(.*)_rain", r"(.*)_clean", ("0_rain", "0_clean")),
    # SRD's training part has _no_shadow, its test part _free.
    "srd": PairingRule(r"(.*)", r"(.*?)(?:_no_shadow|_free)?", ("IMG_1", "IMG_1_no_shadow")),
    "lol-v2": PairingRule(r"(?:low)?(.*)", r"(?:normal)?(.*)", ("low00690", "normal00690")),
}


@dataclass(frozen=True)
class Matched(Generic[T]):
    """Result of `match_pairs`.

    Attributes:
        pairs: Name, LQ and GT of each pair; the name is the LQ's.
        lq_alone: LQs without a GT, or whose name does not follow the rule.
        gt_alone: The same for GTs.
    """

    pairs: list[tuple[str, T, T]] = field(default_factory=list)
    lq_alone: list[T] = field(default_factory=list)
    gt_alone: list[T] = field(default_factory=list)


def get_rule(name: str) -> PairingRule:
    """Returns the rule of that name.

    Raises:
        DatasetError: There is none; the message lists the rules and the nearest one.
    """
    if name in RULES:
        return RULES[name]
    hint = did_you_mean(name, RULES)
    known = ", ".join(f"{rule} (LQ {RULES[rule].example[0]}, GT {RULES[rule].example[1]})" for rule in RULES)
    raise DatasetError(f"unknown pairing rule '{name}'.{hint} Known rules: {known}.")


def match_pairs(lq: Mapping[str, T], gt: Mapping[str, T], rule_name: str = "same") -> Matched[T]:
    """Finds the GT of each LQ.

    Args:
        lq: LQs by name without extension. Folders in a name ("scene/rain-1") must be equal within a pair.
        gt: GTs by name.
        rule_name: Key of `RULES`.

    Raises:
        DatasetError: The rule is unknown, or two pictures would have the same partner and the rule does not share GTs.
    """
    rule = get_rule(rule_name)
    lq_keys = {name: _key(name, rule.lq) for name in lq}
    gt_names = _by_key(gt, lambda name: _key(name, rule.gt))
    if not rule.shared_gt:
        _by_key(lq, lq_keys.get)
    pairs = [(name, lq[name], gt[gt_names[key]]) for name, key in lq_keys.items() if key in gt_names]
    used = {gt_names[key] for key in lq_keys.values() if key in gt_names}
    lq_alone = [lq[name] for name, key in lq_keys.items() if key not in gt_names]
    return Matched(pairs, lq_alone, [gt[name] for name in gt if name not in used])


def describe_alone(matched: Matched, lq_place: str, gt_place: str, rule_name: str) -> str:
    """Says which pictures have no partner, up to five by name.

    Args:
        matched: From `match_pairs`, with something left alone.
        lq_place: Where LQs were looked for.
        gt_place: Where GTs were looked for.
        rule_name: The rule that they were matched by.
    """
    alone = [f"'{item}' has no partner in '{gt_place}'" for item in matched.lq_alone]
    alone += [f"'{item}' has no partner in '{lq_place}'" for item in matched.gt_alone]
    lq, gt = RULES[rule_name].example
    what = "of the same name" if rule_name == "same" else f"by the rule '{rule_name}' (LQ '{lq}', GT '{gt}')"
    return f"{len(alone)} pictures have no partner {what}: {some(alone)}."


def some(items: Iterable[str]) -> str:
    """Joins the first five of `items` and says how many more there are."""
    items = list(items)
    rest = len(items) - _NAMED_AT_MOST
    return "; ".join(items[:_NAMED_AT_MOST]) + (f"; and {rest} more" if rest > 0 else "")


def _key(name: str, pattern: str) -> tuple[str, str] | None:
    folder, _, stem = name.rpartition("/")
    found = re.fullmatch(pattern, stem)
    return (folder, found[1]) if found else None


def _by_key(items: Mapping[str, T], key: Callable[[str], tuple[str, str] | None]) -> dict[tuple[str, str], str]:
    names: dict[tuple[str, str], str] = {}
    for name in items:
        found = key(name)
        if found in names:
            raise DatasetError(
                f"'{items[names[found]]}' and '{items[name]}' would have the same partner: keep one of the two."
            )
        if found is not None:
            names[found] = name
    return names
