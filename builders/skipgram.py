"""Skip-gram with negative sampling, in numba, on flat integer sequences.

Mikolov et al. 2013, "Distributed Representations of Words and Phrases". For each position the
items around it are the inputs, the item itself and drawn noise items the outputs; the objective is
Σ log σ(u·v⁺) + Σ log σ(−u·v⁻).

Departure, after Ji et al. 2016 (pWord2Vec, "HogBatch"): the noise items are drawn once for a
position and shared by all inputs of its window, and the outputs are updated once, when the window
is done. That turns many vector products into a small matrix product that stays in the cache.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from math import exp, log
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Codes, Offsets, Sequences
from ..core.errors import InvalidOption
from ..core.jit import fast_kernel, kernel
from ..core.storage import open_directory, verify_directory, write_directory
from ..core.vectors import FloatMatrix

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]
#: Events that one thread takes at a time: the learning rate and the random numbers are a chunk's.
CHUNK = 10_000
_KIND, _FORMAT = "skip-gram state", 1


@dataclass(frozen=True)
class SkipGramOptions:
    """What the kernel is told; see :class:`~itemspace.builders.item2vec.Item2Vec`."""

    dim: int
    window: int
    shrink: bool
    """Whether the window used is drawn from 1 to ``window`` for each position."""
    negatives: int
    epochs: int
    sample: float
    keep_places: bool
    """Whether a dropped event keeps its place, so that its neighbours stay as far apart as they
    were."""
    ns_exponent: float
    alpha: float
    seed: int
    threads: int


class SkipGram:
    """Input and output vectors over a vocabulary, trained epoch by epoch.

    The random numbers of a chunk depend on the seed, the epoch and the chunk alone. With one
    thread the result is the same each time; with more, threads write to shared vectors without
    locks (Niu et al. 2011, "Hogwild!"), and the order of their updates is a race.
    """

    def __init__(self, sequences: Sequences, options: SkipGramOptions) -> None:
        self._sequences, self.options = sequences, options
        counts = sequences.counts()
        rng = np.random.default_rng(options.seed)
        shape = (len(counts), options.dim)
        #: (items, dim) float32: the items' vectors.
        self.inputs: FloatMatrix = ((rng.random(shape, np.float32) - 0.5) / options.dim).astype(
            np.float32
        )
        #: (items, dim) float32: the vectors of items as outputs; zero at first.
        self.outputs: FloatMatrix = np.zeros(shape, dtype=np.float32)
        #: Mean loss of a pair in each epoch so far: −log σ(u·v⁺) − Σ log σ(−u·v⁻), float64.
        self.losses: list[float] = []
        self._keep = keep_probabilities(counts, options.sample)
        self._thresholds, self._aliases = alias_table(noise_distribution(counts, options))
        self._bounds = _chunks(sequences.offsets)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.losses)

    def train_epoch(self) -> float:
        """One pass over the sequences, in a new order; returns the mean loss of a pair."""
        order = np.random.default_rng((self.options.seed, self.epoch)).permutation(
            len(self._bounds) - 1
        )
        jobs = list(enumerate(order.tolist()))
        if self.options.threads == 1:
            results = [self._train_chunk(*job) for job in jobs]
        else:
            with ThreadPoolExecutor(self.options.threads) as pool:
                results = list(pool.map(lambda job: self._train_chunk(*job), jobs))
        pairs = sum(pairs for _, pairs in results)
        self.losses.append(sum(loss for loss, _ in results) / pairs if pairs else 0.0)
        return self.losses[-1]

    def save(self, folder: Path) -> None:
        """Write the state after an epoch into a folder, whole or not at all; older states go."""
        arrays = {"inputs": self.inputs, "outputs": self.outputs}
        meta = {"fingerprint": self.fingerprint(), "losses": self.losses}
        path = folder / f"epoch-{self.epoch:06d}"
        if not path.exists():
            write_directory(path, _KIND, _FORMAT, arrays, meta)
        for other in folder.glob("epoch-*"):
            if other != path:
                shutil.rmtree(other, ignore_errors=True)

    def resume(self, folder: Path) -> bool:
        """Take up the newest state in a folder; returns whether there was one.

        With one thread, the result is then that of a training without interruption.

        Raises
        ------
        InvalidOption
            The state is of other options or other sequences.
        CorruptData
            It is damaged.
        """
        states = sorted(folder.glob("epoch-*"))
        if not states:
            return False
        verify_directory(states[-1], _KIND, _FORMAT)
        meta, arrays = open_directory(states[-1], _KIND, _FORMAT)
        if meta["fingerprint"] != self.fingerprint():
            raise InvalidOption(
                f"The checkpoint in {folder} is of other options or other sequences; choose "
                "another folder, or remove it to start over.",
                option="checkpoint",
                received=str(folder),
            )
        self.inputs, self.outputs = np.array(arrays["inputs"]), np.array(arrays["outputs"])
        self.losses = list(meta["losses"])
        return True

    def fingerprint(self) -> str:
        """SHA-256 of the options (threads aside) and the sequences."""
        facts = {**asdict(self.options), "threads": None}
        digest = sha256(json.dumps(facts, sort_keys=True).encode())
        for array in (self._sequences.items, self._sequences.offsets):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _train_chunk(self, place: int, chunk: int) -> tuple[float, int]:
        options, chunks = self.options, len(self._bounds) - 1
        done = (self.epoch * chunks + place) / (options.epochs * chunks)
        seed = np.random.SeedSequence((options.seed, self.epoch, chunk)).generate_state(
            1, np.uint64
        )
        loss, pairs = train_sequences(
            self._sequences.items,
            self._sequences.offsets,
            int(self._bounds[chunk]),
            int(self._bounds[chunk + 1]),
            self.inputs,
            self.outputs,
            self._keep,
            self._thresholds,
            self._aliases,
            options.window,
            options.shrink,
            options.keep_places,
            options.negatives,
            np.float32(options.alpha * max(1e-3, 1 - done)),
            seed[0],
        )
        return float(loss), int(pairs)


def keep_probabilities(counts: npt.NDArray[np.int64], sample: float) -> Floats:
    """The share of each item's events that is kept: (√(f/t) + 1)·t/f, at most 1.

    word2vec.c's formula, f the item's share of all events, t ``sample``; 0 keeps all.
    """
    if sample == 0:
        return np.ones(len(counts), dtype=np.float32)
    shares = np.maximum(counts / max(1, counts.sum()), 1e-300)
    kept: Floats = np.minimum(1, (np.sqrt(shares / sample) + 1) * sample / shares)
    return kept.astype(np.float32)


def noise_distribution(counts: npt.NDArray[np.int64], options: SkipGramOptions) -> Wide:
    """P(i) ∝ count(i) ** ns_exponent over the items that occur; sums to 1."""
    weights = np.zeros(len(counts))
    seen = counts > 0
    weights[seen] = counts[seen].astype(np.float64) ** options.ns_exponent
    shares: Wide = weights / weights.sum()
    return shares


def alias_table(shares: Wide) -> tuple[Floats, Codes]:
    """Walker's alias method (Vose 1991): draws from a distribution in constant time.

    Take item i uniformly and u in [0, 1); it is i where u < thresholds[i], else aliases[i].
    """
    thresholds = np.empty(len(shares), dtype=np.float32)
    aliases = np.arange(len(shares), dtype=np.int32)
    _fill_alias_table(shares * len(shares), thresholds, aliases)
    return thresholds, aliases


@kernel
def _fill_alias_table(scaled: Wide, thresholds: Floats, aliases: Codes) -> None:
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


def _chunks(offsets: Offsets) -> Offsets:
    """Bounds of runs of sequences of about ``CHUNK`` events each."""
    marks = np.arange(0, int(offsets[-1]) + 1, CHUNK)
    bounds = np.unique(np.searchsorted(offsets, marks, side="left"))
    return np.unique(np.concatenate([[0], bounds, [len(offsets) - 1]])).astype(np.int64)


@kernel
def _random(state: npt.NDArray[np.uint64]) -> np.uint64:
    """The next 64 random bits (splitmix64; Steele, Lea & Flood 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    bits = state[0]
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.uint64 = bits ^ (bits >> np.uint64(31))
    return mixed


@kernel
def _uniform(state: npt.NDArray[np.uint64]) -> float:
    return float(_random(state) >> np.uint64(11)) * 2.0**-53


@fast_kernel
def train_sequences(
    items: Codes,
    offsets: Offsets,
    first: int,
    last: int,
    inputs: FloatMatrix,
    outputs: FloatMatrix,
    keep: Floats,
    thresholds: Floats,
    aliases: Codes,
    window: int,
    shrink: bool,
    keep_places: bool,
    negatives: int,
    alpha: np.float32,
    seed: np.uint64,
) -> tuple[float, int]:
    """Train on the sequences from ``first`` to ``last``; returns the loss and the pairs."""
    state = np.empty(1, dtype=np.uint64)
    state[0] = seed
    dim, count = inputs.shape[1], inputs.shape[0]
    one = np.float32(1)
    longest = 0
    for sequence in range(first, last):
        longest = max(longest, offsets[sequence + 1] - offsets[sequence])
    kept = np.empty(longest, dtype=np.int32)
    drawn = np.empty(negatives + 1, dtype=np.int64)
    rows = np.empty((negatives + 1, dim), dtype=np.float32)
    steps = np.empty((negatives + 1, dim), dtype=np.float32)
    step = np.empty(dim, dtype=np.float32)
    loss, pairs = 0.0, 0
    for sequence in range(first, last):
        length = 0
        for at in range(offsets[sequence], offsets[sequence + 1]):
            item = items[at]
            stays = keep[item] >= 1 or _uniform(state) < keep[item]
            if stays or keep_places:
                kept[length] = item if stays else -1
                length += 1
        for at in range(length):
            if kept[at] < 0:
                continue
            reach = window
            if shrink:
                reach = 1 + int(_random(state) % np.uint64(window))
            start, end = max(0, at - reach), min(length, at + reach + 1)
            if end - start < 2:
                continue
            drawn[0] = kept[at]
            used = 1
            for _ in range(negatives):
                noise = int(_random(state) % np.uint64(count))
                if _uniform(state) >= thresholds[noise]:
                    noise = aliases[noise]
                if noise != kept[at]:
                    drawn[used] = noise
                    used += 1
            for place in range(used):
                row, line, more = outputs[drawn[place]], rows[place], steps[place]
                for j in range(dim):
                    line[j] = row[j]
                    more[j] = 0
            for other in range(start, end):
                if other == at or kept[other] < 0:
                    continue
                vector = inputs[kept[other]]
                for j in range(dim):
                    step[j] = 0
                factors = 1.0
                for place in range(used):
                    line, more = rows[place], steps[place]
                    product = np.float32(0)
                    for j in range(dim):
                        product += vector[j] * line[j]
                    label = one if place == 0 else np.float32(0)
                    # σ(x) and −log σ(±x) without overflow.
                    small = exp(-abs(product))
                    right = (product >= 0) == (place == 0)
                    # One logarithm for all: the product of factors of at most 2 each.
                    factors *= float(one + small)
                    if factors > 1e300:
                        loss += log(factors)
                        factors = 1.0
                    if not right:
                        loss += float(abs(product))
                    sigmoid = (one if product >= 0 else small) / (one + small)
                    rate = (label - sigmoid) * alpha
                    for j in range(dim):
                        step[j] += rate * line[j]
                        more[j] += rate * vector[j]
                loss += log(factors)
                for j in range(dim):
                    vector[j] += step[j]
                pairs += 1
            for place in range(used):
                row, more = outputs[drawn[place]], steps[place]
                for j in range(dim):
                    row[j] += more[j]
    return loss, pairs
