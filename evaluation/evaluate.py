"""One builder, one split, all measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..builders.sampling import random_bits
from ..core.behaviour import Codes, Offsets, Sequences
from ..core.errors import InvalidOption
from ..core.histories import Recent
from ..core.jit import kernel
from ..core.vectors import FloatMatrix
from . import measures
from .measures import UNRANKED, Estimate, Ranks
from .scoring import Scorer, score_blocks, scorer_of
from .splits import Split

DEFAULT_KS = (1, 5, 10, 20)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a builder is worth on a split."""

    split: str
    cases: int
    ks: tuple[int, ...]
    ranks: Ranks
    """The rank of every target, int64, ``UNRANKED`` where it cannot be recommended."""
    offsets: Offsets
    """Case i has the targets ``ranks[offsets[i]:offsets[i + 1]]``."""
    lists: Codes
    """The recommended codes, (cases, max(ks)), best first, -1 where there are no more."""
    item_counts: npt.NDArray[np.int64]
    """How often each item stands in the training data."""
    attributes: Sequences | None = None
    """The attributes of each item."""

    @cached_property
    def beyond(self) -> dict[str, Estimate]:
        """Measures of the lists at the largest k: coverage, popularity bias, diversity."""
        k = self.lists.shape[1]
        found = {
            f"coverage@{k}": measures.coverage(self.lists, len(self.item_counts)),
            f"popularity_bias@{k}": measures.popularity_bias(self.lists, self.item_counts),
        }
        if self.attributes is not None:
            offsets, values = self.attributes.offsets, self.attributes.items
            found[f"diversity@{k}"] = measures.diversity(self.lists, offsets, values)
        return found

    def per_case(self, measure: str, k: int) -> npt.NDArray[np.float64]:
        """``hr``, ``recall``, ``ndcg`` or ``mrr`` of each case, for paired comparisons."""
        if measure == "mrr":
            return measures.reciprocal_rank(self.ranks, self.offsets)
        try:
            compute = _MEASURES[measure]
        except KeyError:
            raise InvalidOption(
                f"There is no measure {measure!r}; there are: {', '.join(_MEASURES)}, mrr.",
                option="measure",
                received=measure,
            ) from None
        return compute(self.ranks, self.offsets, k)

    def estimate(self, measure: str, k: int) -> Estimate:
        """The mean of a measure with its 95 % bootstrap confidence interval."""
        return measures.bootstrap(self.per_case(measure, k))

    def summary(self) -> dict[str, Any]:
        """Every measure, as JSON can hold it; goes into the lineage of a vector set."""
        found: dict[str, Any] = {"split": self.split, "cases": self.cases}
        for measure in _MEASURES:
            found |= {f"{measure}@{k}": asdict(self.estimate(measure, k)) for k in self.ks}
        more = {"mrr": self.estimate("mrr", max(self.ks))} | self.beyond
        return found | {name: asdict(estimate) for name, estimate in more.items()}


def monitor(
    split: Split, *, measure: str = "hr", k: int = 10, recent: Recent | None = None, **options: Any
) -> Callable[[Any], float]:
    """What a builder's ``fit(monitor=…)`` takes: the mean of a measure on a validation split.

    It judges whatever :func:`evaluate` can; ``options`` are those of it.
    """

    def judge(thing: Any) -> float:
        found = evaluate(thing, split, ks=(k,), recent=recent, **options)
        return float(found.per_case(measure, k).mean())

    return judge


_MEASURES = {"hr": measures.hit_rate, "recall": measures.recall, "ndcg": measures.ndcg}


def evaluate(
    thing: Any,
    split: Split,
    *,
    ks: tuple[int, ...] = DEFAULT_KS,
    recent: Recent | None = None,
    exclude_history: bool = True,
    repeats: Literal["miss", "hit"] = "miss",
    attributes: Sequences | None = None,
    sampled_negatives: int | None = None,
    seed: int = 1,
) -> Evaluation:
    """Rank all items for each history and find the targets among them.

    Parameters
    ----------
    thing
        A builder that was fitted on ``split.train``, a ``VectorSet``,
        :class:`~itemspace.builders.UserItemVectors`, or any :class:`~.scoring.Scorer`. A user who
        has a vector is taken by it, others by their recent items.
    ks
        Lengths of the lists, each at least 1; more than there are items is fine.
    recent
        How a history becomes a user vector; ``Recent()`` by default.
    exclude_history
        Whether items of the history are not recommended.
    repeats
        What a target is that stands in its history while those are excluded: a ``miss``, or a
        ``hit`` at rank 1 (the protocol of Caselles-Dupré et al. 2018).
    attributes
        The attributes of each item of the vocabulary, for :func:`~.measures.diversity`.
    sampled_negatives, seed
        Rank a target against so many random items instead of all, at least 1, drawn without
        repetition from those that may be recommended; only to compare with papers that did so, for
        such ranks can order builders differently (Krichene & Rendle 2020).
    """
    if not ks or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in ks):
        raise InvalidOption(
            f"ks are whole numbers of at least 1; received {ks!r}.", option="ks", received=ks
        )
    if sampled_negatives is not None and sampled_negatives < 1:
        raise InvalidOption(
            f"sampled_negatives is None or at least 1; received {sampled_negatives}.",
            option="sampled_negatives",
            received=sampled_negatives,
        )
    scorer: Scorer = scorer_of(thing, recent or Recent(), split.train.vocabulary)
    most = min(max(ks), len(split.train.vocabulary))
    ranks = np.empty(len(split.targets.items), dtype=np.int64)
    lists = np.full((len(split.histories), most), -1, dtype=np.int32)
    for start, scores in score_blocks(scorer, split.histories):
        _rank(
            np.ascontiguousarray(scores, dtype=np.float32),
            start,
            split.histories.items,
            split.histories.offsets,
            split.targets.items,
            split.targets.offsets,
            exclude_history,
            repeats == "hit",
            sampled_negatives or 0,
            np.random.default_rng((seed, start)).integers(1 << 63, dtype=np.uint64),
            ranks,
            lists,
        )
    name = split.name
    if sampled_negatives is not None:
        name += f", against {sampled_negatives:,} sampled items"
    return Evaluation(
        name,
        len(split.histories),
        tuple(ks),
        ranks,
        split.targets.offsets,
        lists,
        split.train.counts(),
        attributes,
    )


@kernel
def _rank(
    scores: FloatMatrix,
    start: int,
    history: Codes,
    history_offsets: Offsets,
    targets: Codes,
    target_offsets: Offsets,
    exclude: bool,
    repeats_hit: bool,
    sampled: int,
    seed: np.uint64,
    ranks: Ranks,
    lists: Codes,
) -> None:
    """Ranks of the targets and the first items, for the cases from ``start`` on.

    Equal scores are ordered by code. Changes ``scores``.
    """
    excluded = np.zeros(scores.shape[1], dtype=np.bool_)
    rivals = np.arange(scores.shape[1])
    state = np.full(1, seed, dtype=np.uint64)
    for at in range(scores.shape[0]):
        case, line = start + at, scores[at]
        if exclude:
            for place in range(history_offsets[case], history_offsets[case + 1]):
                excluded[history[place]] = True
                line[history[place]] = -np.inf
        for place in range(target_offsets[case], target_offsets[case + 1]):
            target = targets[place]
            score = line[target]
            if excluded[target] and repeats_hit:
                ranks[place] = 1
            elif score == -np.inf:
                ranks[place] = UNRANKED
            else:
                if sampled:
                    ranks[place] = _sampled_rank(line, target, sampled, rivals, state)
                    continue
                rank = 1
                for item in range(line.shape[0]):
                    if line[item] > score or (line[item] == score and item < target):
                        rank += 1
                ranks[place] = rank
        if exclude:
            for place in range(history_offsets[case], history_offsets[case + 1]):
                excluded[history[place]] = False
        _best(line, lists[case])


@kernel
def _sampled_rank(
    line: npt.NDArray[np.float32],
    target: int,
    count: int,
    rivals: npt.NDArray[np.int64],
    state: npt.NDArray[np.uint64],
) -> int:
    """The rank of the target among so many of ``rivals``, which are shuffled as far as needed."""
    rank, met, score = 1, 0, line[target]
    for at in range(len(rivals)):
        # The next of a random order (Fisher & Yates).
        other = at + int(random_bits(state) % np.uint64(len(rivals) - at))
        rivals[at], rivals[other] = rivals[other], rivals[at]
        item = rivals[at]
        if line[item] > score or (line[item] == score and item < target):
            rank += 1
        met += item != target and line[item] > -np.inf
        if met == count:
            break
    return rank


@kernel
def _best(line: npt.NDArray[np.float32], chosen: Codes) -> None:
    """The codes of the highest scores, best first, by insertion: lists are short."""
    filled = 0
    for item in range(line.shape[0]):
        score = line[item]
        if score == -np.inf or (filled == chosen.shape[0] and score <= line[chosen[filled - 1]]):
            continue
        at = filled if filled < chosen.shape[0] else filled - 1
        while at > 0 and line[chosen[at - 1]] < score:
            chosen[at] = chosen[at - 1]
            at -= 1
        chosen[at] = item
        filled = min(filled + 1, chosen.shape[0])
