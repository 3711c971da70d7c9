"""What vectors are worth: splits, measures, builders beside each other, and the best settings."""

from .compare import Comparison, compare
from .configuration import Configuration, read_config
from .evaluate import Evaluation, evaluate, monitor
from .links import LinkScores, LinkSplit, auc, average_precision, hide_links, link_prediction
from .nodes import NodeScores, node_classification
from .splits import Split, by_time, cold_items, leave_last_out, next_item, random_events
from .trials import Trial, Tuning
from .tuning import tune

__all__ = [
    "Comparison",
    "Configuration",
    "Evaluation",
    "LinkScores",
    "LinkSplit",
    "NodeScores",
    "Split",
    "Trial",
    "Tuning",
    "auc",
    "average_precision",
    "by_time",
    "cold_items",
    "compare",
    "evaluate",
    "hide_links",
    "leave_last_out",
    "link_prediction",
    "monitor",
    "next_item",
    "node_classification",
    "random_events",
    "read_config",
    "tune",
]
