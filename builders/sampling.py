"""Random draws for training: the kernels' generator, the alias method, noise and subsampling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes
from ..core.jit import kernel

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
State = npt.NDArray[np.uint64]


#: What splitmix64 steps by.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@kernel
def scrambled(bits: np.uint64) -> np.uint64:
    """What splitmix64 makes of its state: one to one, and nothing of its order is left."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.uint64 = bits ^ (bits >> np.uint64(31))
    return mixed


@kernel
def random_bits(state: State) -> np.uint64:
    """The next 64 random bits (splitmix64; Steele, Lea & Flood 2014)."""
    state[0] += GOLDEN
    return scrambled(state[0])


@kernel
def uniform(state: State) -> float:
    """A number in [0, 1)."""
    return float(random_bits(state) >> np.uint64(11)) * 2.0**-53


@kernel
def draw(thresholds: Floats, aliases: Codes, state: State) -> int:
    """An item by :func:`alias_table`, from 64 bits: the upper half chooses, the lower decides."""
    bits = random_bits(state)
    item = int(((bits >> np.uint64(32)) * np.uint64(len(thresholds))) >> np.uint64(32))
    if np.float32(bits & np.uint64(0xFFFFFF)) * np.float32(2.0**-24) >= thresholds[item]:
        item = aliases[item]
    return item


def keep_probabilities(counts: npt.NDArray[np.int64], sample: float) -> Floats:
    """The share of each item's events that is kept: (√(f/t) + 1)·t/f, at most 1.

    word2vec.c's formula, f the item's share of all events, t ``sample``; 0 keeps all.
    """
    if sample == 0:
        return np.ones(len(counts), dtype=np.float32)
    shares = np.maximum(counts / max(1, counts.sum()), 1e-300)
    kept: Floats = np.minimum(1, (np.sqrt(shares / sample) + 1) * sample / shares)
    return kept.astype(np.float32)


def noise_distribution(counts: npt.NDArray[np.int64], exponent: float) -> Wide:
    """P(i) ∝ count(i) ** exponent over the items that occur; sums to 1."""
    weights = np.zeros(len(counts))
    seen = counts > 0
    # By logarithms and from the largest down: no exponent overflows.
    powers = exponent * np.log(counts[seen].astype(np.float64))
    weights[seen] = np.exp(powers - powers.max(initial=-np.inf))
    shares: Wide = weights / weights.sum()
    return shares


def alias_table(shares: Wide) -> tuple[Floats, Codes]:
    """Walker's alias method (Vose 1991): draws from a distribution in constant time.

    Take item i uniformly and u in [0, 1); it is i where u < thresholds[i], else aliases[i].
    """
    thresholds = np.empty(len(shares), dtype=np.float32)
    aliases = np.arange(len(shares), dtype=np.int32)
    fill_alias_table(shares * len(shares), thresholds, aliases)
    return thresholds, aliases


@kernel
def fill_alias_table(scaled: Wide, thresholds: Floats, aliases: Codes) -> None:
    """Fill :func:`alias_table`, given shares times their number, and aliases of themselves."""
    count = scaled.shape[0]
    small = np.empty(count, dtype=np.int64)
    large = np.empty(count, dtype=np.int64)
    smalls = larges = 0
    for item in range(count):
        if scaled[item] < 1:
            small[smalls] = item
            smalls += 1
        else:
            large[larges] = item
            larges += 1
    while smalls and larges:
        smalls -= 1
        one, other = small[smalls], large[larges - 1]
        thresholds[one], aliases[one] = scaled[one], other
        scaled[other] -= 1 - scaled[one]
        if scaled[other] < 1:
            larges -= 1
            small[smalls] = other
            smalls += 1
    for at in range(smalls):
        thresholds[small[at]] = 1
    for at in range(larges):
        thresholds[large[at]] = 1
