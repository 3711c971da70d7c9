"""What vectors are worth: splits, measures, and builders beside each other."""

from .compare import Comparison, compare
from .evaluate import Evaluation, evaluate
from .splits import Split, by_time, cold_items, leave_last_out, next_item, random_events

__all__ = [
    "Comparison",
    "Evaluation",
    "Split",
    "by_time",
    "cold_items",
    "compare",
    "evaluate",
    "leave_last_out",
    "next_item",
    "random_events",
]
