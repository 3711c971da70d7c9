from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace import Sequences
from itemspace.builders import pairs
from itemspace.builders.pairs import count_pairs

SOME = st.lists(st.lists(st.integers(0, 6), min_size=0, max_size=9), min_size=1, max_size=12)


@given(
    SOME,
    st.sampled_from([None, 1, 2, 5]),
    st.sampled_from(["both", "forward"]),
    st.sampled_from(["flat", "harmonic"]),
    st.booleans(),
)
def test_pairs_are_counted_as_by_hand(
    lists: list[list[int]], window: int | None, direction: Any, distance: Any, weighted: bool
) -> None:
    sequences = Sequences.from_lists(lists)
    if not len(sequences.vocabulary):
        return
    expected = np.zeros((len(sequences.vocabulary),) * 2)
    times = np.random.default_rng(0).random(len(sequences.items))
    sequences = Sequences(sequences.vocabulary, sequences.items, sequences.offsets, times)
    weights = np.exp2(times - times.max(initial=0))
    for start, end in pairwise(sequences.offsets.tolist()):
        for at in range(start, end):
            for later in range(at + 1, end if window is None else min(end, at + 1 + window)):
                one, other = sequences.items[at], sequences.items[later]
                gain = 1 / (later - at) if distance == "harmonic" else 1.0
                if weighted:
                    gain *= (float(weights[at]) + float(weights[later])) / 2
                if one != other:
                    expected[one, other] += gain
                    if direction == "both":
                        expected[other, one] += gain
    found = count_pairs(
        sequences,
        window=window,
        direction=direction,
        distance=distance,
        half_life=1.0 if weighted else None,
    )
    assert np.allclose(found.toarray(), expected, rtol=1e-6)
    if not weighted and distance == "flat":
        assert np.array_equal(found.toarray(), expected)


def test_counting_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sequences = Sequences.from_lists([rng.integers(9, size=7).tolist() for _ in range(50)])
    whole = count_pairs(sequences, window=3).toarray()
    monkeypatch.setattr(pairs, "_CHUNK", 64)
    assert np.array_equal(count_pairs(sequences, window=3).toarray(), whole)


def test_a_sequence_longer_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sequences = Sequences.from_lists([rng.integers(9, size=200).tolist(), [1, 2]])
    whole = count_pairs(sequences, window=None).toarray()
    monkeypatch.setattr(pairs, "_CHUNK", 64)
    assert np.array_equal(count_pairs(sequences, window=None).toarray(), whole)
