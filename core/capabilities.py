"""What a backend can do: declared, checked by the conformance suite, never guessed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Capabilities:
    """Declared by each retriever; reads as sentences."""

    scores: Literal["exact", "estimated"] = "exact"
    """Whether scores agree with float64 arithmetic on the stored vectors (within 1e-5 ‖q‖‖x‖,
    or 1e-5 (‖q‖ + ‖x‖) for Euclidean), or are the engine's estimate."""
    stores: Literal["exact", "normalised", "lossy"] = "exact"
    """What ``vectors()`` gives back."""
    is_exact: bool = False
    """Whether the answers are the true nearest neighbours."""
    supports_exact_ties: bool = False
    """Whether, of items tied at rank k, those with the smallest ids come back."""
    supports_filter: bool = True
    """Whether ``allowed`` and ``excluded`` are applied inside the engine; if not, they are applied
    in front of it, with the same answers."""
    supports_upsert: bool = True
    supports_delete: bool = True
    supports_atomic_upsert: bool = True
    """Whether a failed ``upsert`` leaves nothing of the call behind."""
    persistent: bool = True
    """Whether it can be opened again after ``close``."""
