"""Item2vec's other engine: gensim, with its traps covered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.behaviour import Sequences
from ..core.progress import Progress
from ..core.vectors import FloatMatrix
from .skipgram import SkipGramOptions

#: gensim cuts a longer text silently; ours are handed over in pieces of this length.
LONGEST_TEXT = 10_000


def train_with_gensim(
    sequences: Sequences,
    counts: npt.NDArray[np.int64],
    options: SkipGramOptions,
    progress: Progress | None,
) -> FloatMatrix:
    """The vectors of the items with a count above 0, in the order of the vocabulary."""
    from gensim.models import Word2Vec
    from gensim.models.callbacks import CallbackAny2Vec

    class Report(CallbackAny2Vec):  # type: ignore[misc]
        done = 0

        def on_epoch_end(self, model: Any) -> None:
            self.done += 1
            if progress is not None:
                progress(self.done, model.epochs, "training")

    longest = int(np.diff(sequences.offsets).max(initial=1))
    model = Word2Vec(
        vector_size=options.dim,
        window=options.window or longest,
        shrink_windows=options.shrink,
        negative=options.negatives,
        sg=1,
        hs=0,
        min_count=1,
        sample=options.sample,
        ns_exponent=options.ns_exponent,
        alpha=options.alpha,
        min_alpha=options.alpha / 1000,
        seed=options.seed,
        workers=options.threads,
    )
    kept = np.flatnonzero(counts)
    model.build_vocab_from_freq({int(code): int(counts[code]) for code in kept})
    texts = Texts(sequences)
    model.train(
        texts,
        total_examples=texts.count,
        total_words=len(sequences.items),
        epochs=options.epochs,
        callbacks=[Report()],
    )
    places = [model.wv.key_to_index[int(code)] for code in kept]
    return np.ascontiguousarray(model.wv.vectors[places])


class Texts:
    """Sequences as gensim wants to iterate them: again and again, lists of at most 10,000."""

    def __init__(self, sequences: Sequences) -> None:
        self._sequences = sequences
        lengths = np.diff(sequences.offsets)
        self.count = int(np.sum(-(-lengths // LONGEST_TEXT)))

    def __iter__(self) -> Iterator[list[int]]:
        for codes in self._sequences:
            for start in range(0, len(codes), LONGEST_TEXT):
                yield codes[start : start + LONGEST_TEXT].tolist()
