"""Skip-gram with negative sampling: the trained state, its epochs, threads and checkpoints.

The arithmetic is in :mod:`.skipgram_kernel`; what it is trained on, in :mod:`.sources`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Offsets
from ..core.errors import InvalidOption
from ..core.vectors import FloatMatrix
from .checkpoints import read_state, write_state
from .parts import Parts, put_together_all
from .sampling import Floats, alias_table, keep_probabilities, noise_distribution
from .skipgram_kernel import (
    LANES,
    Sampling,
    Table,
    Window,
    add_to_shared,
    train_privately,
    train_sequences,
)
from .sources import Counts, Source

Result = tuple[float, int]
"""The loss and the pairs of a chunk."""
Run = Callable[..., Iterable[Any]]
"""``map``, or that of a pool."""
#: Events that one thread takes at a time: the learning rate and the random numbers are a chunk's.
CHUNK = 10_000
#: With ``deterministic``: chunks that start from the same vectors.
GROUP = 8
_KIND, _FORMAT = "skip-gram state", 3
#: Rows that are drawn at once.
_BLOCK = 1 << 14


@dataclass(frozen=True)
class SkipGramOptions:
    """What the kernel is told; see :class:`~itemspace.builders.item2vec.Item2Vec`."""

    dim: int
    window: int | None
    """``None``: the whole sequence."""
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
    deterministic: bool = False

    @classmethod
    def of(cls, builder: Any, **others: Any) -> Self:
        """The options of a builder; ``others`` are not its own, or are named otherwise."""
        others["shrink"] = builder.window is not None
        names = [known.name for known in fields(cls)]
        return cls(**{n: others[n] if n in others else getattr(builder, n) for n in names})


@dataclass(frozen=True, eq=False)
class Start:
    """What the first items of the vocabulary start from, such as an earlier training's state."""

    inputs: FloatMatrix
    outputs: FloatMatrix
    counts: Counts
    """How often each item was seen before; counts again for noise and subsampling."""
    frozen: int = 0
    """How many of the first items keep their vectors."""


class SkipGram:
    """Input and output vectors over a vocabulary, trained epoch by epoch.

    The random numbers of a chunk depend on the seed, the epoch and the chunk alone. With one
    thread the result is the same each time; with more, threads write to shared vectors without
    locks (Niu et al. 2011, "Hogwild!"), and the order of their updates is a race.

    With ``deterministic`` it is the same at any number of threads, on machines of one kind: the
    chunks of a group train on private copies of the rows that they need, all from the same
    vectors, and what they added is added up in their order (local steps as in Zinkevich et al.
    2010, but summed up instead of averaged, so chunks are small; see :func:`private_chunk`).
    Threads beyond ``GROUP`` have nothing to do.

    Parameters
    ----------
    source
        The sequences of each epoch.
    start
        Vectors to go on from; items after them start fresh.
    parts
        What the input vectors of items are made of, if not of a row each; rows from the number of
        items on are no item's own. Not with ``start`` or ``deterministic``.
    """

    def __init__(
        self,
        source: Source,
        options: SkipGramOptions,
        *,
        start: Start | None = None,
        parts: Parts | None = None,
    ) -> None:
        self._parts = _no_parts() if parts is None else parts
        self._source, self.options = source, options
        #: How often each item was seen, now and before; int64.
        self.counts: Counts = source.counts()
        old = 0 if start is None else len(start.counts)
        items, width = len(self.counts), -(-options.dim // LANES) * LANES
        table = max(items, int(self._parts.rows.max(initial=-1)) + 1)
        rng = np.random.default_rng(options.seed)
        self._inputs: FloatMatrix = np.zeros((table + 1, width), dtype=np.float32)
        self._outputs: FloatMatrix = np.zeros((items + 1, width), dtype=np.float32)
        for rows in np.array_split(self.inputs, -(-(table + 1) // _BLOCK)):
            rows[:] = (rng.random(rows.shape, np.float32) - 0.5) / options.dim
        if start is not None:
            self.inputs[:old], self.outputs[:old] = start.inputs, start.outputs
            self.counts[:old] += start.counts
        frozen = 0 if start is None else start.frozen
        #: Mean loss of a pair in each epoch so far: −log σ(u·v⁺) − Σ log σ(−u·v⁻), float64.
        self.losses: list[float] = []
        noise = noise_distribution(self.counts, options.ns_exponent)
        self._sampling = Sampling(
            keep_probabilities(self.counts, options.sample), *alias_table(noise)
        )
        self._window = Window(
            options.window or int(source.lengths.max(initial=1)),
            options.shrink and options.window is not None,
            options.keep_places,
        )
        #: What :func:`train_sequences` does with each chunk alike.
        self._rules = (self._parts, self._sampling, self._window, options.negatives, frozen)
        size = CHUNK
        if options.deterministic and len(source.lengths):
            shares = self._sampling.keep * self.counts / max(1, self.counts.sum())
            busiest = float((shares + options.negatives * noise).max())
            size = private_chunk(busiest, self._window, source.lengths, options.alpha)
        self._chunks = source.split(size)

    @property
    def inputs(self) -> FloatMatrix:
        """(items, dim) float32, a view: the items' own rows, and behind them those of parts."""
        return self._inputs[:-1, : self.options.dim]

    @property
    def outputs(self) -> FloatMatrix:
        """(items, dim) float32, a view: the vectors of items as outputs; zero at first."""
        return self._outputs[:-1, : self.options.dim]

    def vectors(self, average_outputs: bool, rows: Counts | slice = slice(None)) -> FloatMatrix:
        """Some items' vectors so far, a copy; on request the mean of input and output vectors."""
        if len(self._parts.offsets):
            chosen = np.arange(len(self.counts))[rows]
            found = put_together_all(self._parts, self._inputs, chosen)[:, : self.options.dim]
            found = np.ascontiguousarray(found)
        else:
            found = np.array(self.inputs[rows])
        if average_outputs:
            found += self.outputs[rows]
            found *= np.float32(0.5)
        return found

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.losses)

    @property
    def epochs(self) -> int:
        """How many epochs there are to be."""
        return self.options.epochs

    def train_epoch(self) -> float:
        """One pass over the sequences, in a new order; returns the mean loss of a pair.

        Raises
        ------
        InvalidOption
            The vectors grew beyond all bounds.
        """
        order = np.random.default_rng((self.options.seed, self.epoch)).permutation(self._chunks)
        seeds: npt.NDArray[Any] = np.random.SeedSequence(
            (self.options.seed, self.epoch)
        ).generate_state(len(order), np.uint64)
        places = self.epoch * len(order) + np.arange(len(order))
        left = 1 - places / (self.options.epochs * len(order))
        alphas = (self.options.alpha * np.maximum(1e-3, left)).astype(np.float32)
        with ThreadPoolExecutor(self.options.threads) as pool:
            run = map if self.options.threads == 1 else pool.map
            if self.options.deterministic:
                results = self._train_in_groups(order, alphas, seeds[order], run)
            else:
                results = list(run(self._train_in_place, order, alphas, seeds[order]))
        pairs = sum(pairs for _, pairs in results)
        loss = sum(loss for loss, _ in results) / pairs if pairs else 0.0
        if not np.isfinite(loss) or not np.isfinite(self.inputs).all():
            raise InvalidOption(
                f"The vectors grew beyond all bounds in epoch {self.epoch + 1} with an alpha of "
                f"{self.options.alpha}; choose a lower one.",
                option="alpha",
                received=self.options.alpha,
            )
        self.losses.append(loss)
        return loss

    def finish(self) -> None:
        """Let go of the source and its memory: there are no more epochs."""
        del self._source

    def save(self, folder: Path) -> None:
        """Write the state after an epoch into a folder, whole or not at all; older states go."""
        arrays = {"inputs": self.inputs, "outputs": self.outputs, "logits": self._parts.logits}
        meta = {"fingerprint": self.fingerprint(), "losses": self.losses}
        write_state(folder, self.epoch, _KIND, _FORMAT, arrays, meta)

    def resume(self, folder: Path) -> bool:
        """Take up the newest state in a folder; returns whether there was one.

        With one thread, or ``deterministic``, the result is then that of a training without
        interruption.

        Raises
        ------
        InvalidOption
            The state is of other options or other sequences.
        CorruptData
            It is damaged.
        """
        found = read_state(folder, _KIND, _FORMAT, self.fingerprint())
        if found is None:
            return False
        meta, arrays = found
        self.inputs[:], self.outputs[:] = arrays["inputs"], arrays["outputs"]
        self._parts.logits[:] = arrays["logits"]
        self.losses = list(meta["losses"])
        return True

    def fingerprint(self) -> str:
        """SHA-256 of the options (threads aside), the source and the counts."""
        facts = {**asdict(self.options), "threads": None, "frozen": self._rules[-1]}
        digest = sha256(json.dumps(facts, sort_keys=True).encode())
        *layout, _, learned = self._parts
        parts = (*layout, np.array([learned]))
        for array in (self.counts, *parts, *self._source.identity()):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _train_in_place(self, chunk: int, alpha: np.float32, seed: np.uint64) -> Result:
        events, firsts, lasts = self._source.take(self.epoch, np.array([chunk]))
        loss, pairs = train_sequences(
            events,
            int(firsts[0]),
            int(lasts[0]),
            _in_place(self._inputs),
            _in_place(self._outputs),
            *self._rules,
            alpha,
            seed,
        )
        return float(loss), int(pairs)

    def _train_in_groups(
        self, chunks: Counts, alphas: Floats, seeds: npt.NDArray[np.uint64], run: Run
    ) -> list[Result]:
        """Train each group's chunks privately, then add up what they changed, in their order."""
        threads = min(self.options.threads, GROUP)
        cuts = np.linspace(0, len(self.counts), threads + 1).astype(np.int64).tolist()
        most = self._source.largest
        inputs = _private(self._inputs, most)
        outputs = _private(self._outputs, most * (1 + self.options.negatives))
        losses, pairs = np.zeros(len(chunks)), np.zeros(len(chunks), dtype=np.int64)

        for at in range(0, len(chunks), GROUP):
            group = slice(at, at + GROUP)

            def train(thread: int, group: slice = group) -> None:
                train_privately(
                    *self._source.take(self.epoch, chunks[group][thread::threads]),
                    inputs,
                    outputs,
                    self._rules,
                    alphas[group],
                    seeds[group],
                    thread,
                    threads,
                    losses[group],
                    pairs[group],
                )

            def merge(part: int, places: int = len(chunks[group])) -> None:
                add_to_shared(inputs, places, cuts[part], cuts[part + 1])
                add_to_shared(outputs, places, cuts[part], cuts[part + 1])

            list(run(train, range(threads)))
            list(run(merge, range(threads)))
        return list(zip(losses.tolist(), pairs.tolist(), strict=True))


def private_chunk(busiest: float, window: Window, lengths: Offsets, alpha: float) -> int:
    """Events of a chunk, so that the steps of a group on one row add up to a stable one.

    The steps of a group are all taken from the same vectors, so together they must not overshoot.
    On one row they are about α · contexts · (events of the group) · ``busiest``, the last being
    how often a position has the busiest row as an output; measured, training diverges where that
    is above about 20 and is as good as without groups up to 10 (the Deezer sequences, α of .025
    and .1, window 5). Taken is 6, and at most 1,000 events.
    """
    most = window.reach + 1 if window.shrink else 2 * window.reach
    contexts = np.average(np.clip(lengths - 1, 0, most), weights=np.maximum(lengths, 1))
    return int(np.clip(6 / (alpha * max(1.0, contexts) * busiest * GROUP), 1, 1_000))


def _no_parts() -> Parts:
    none, logits = np.empty(0, dtype=np.int32), np.empty((0, 0), dtype=np.float32)
    return Parts(np.empty(0, np.int64), none, none, np.empty(0, np.float32), logits, False)


def _in_place(matrix: FloatMatrix) -> Table:
    nothing = np.empty(0, dtype=np.int32)
    return Table(matrix, matrix, nothing, nothing, np.zeros(1, dtype=np.int64))


def _private(shared: FloatMatrix, most: int) -> Table:
    """An empty private table of at most ``most`` rows for each chunk of a group."""
    items = len(shared) - 1
    rows = min(most, items)
    return Table(
        np.zeros((GROUP, rows + 1, shared.shape[1]), dtype=np.float32),
        shared,
        np.full((GROUP, items), -1, dtype=np.int32),
        np.empty((GROUP, rows), dtype=np.int32),
        np.zeros((GROUP, 1), dtype=np.int64),
    )
