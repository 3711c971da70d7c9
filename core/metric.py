"""The three measures, and what a score means under each."""

from __future__ import annotations

from enum import StrEnum


class Metric(StrEnum):
    """How near two vectors are. **A score is always higher-is-better**, as float64.

    ==================  =====================================  ==============
    metric              score of query q and vector x           range
    ==================  =====================================  ==============
    ``COSINE``          q·x / (‖q‖‖x‖)                          [-1, 1]
    ``INNER_PRODUCT``   q·x                                     any
    ``EUCLIDEAN``       −‖q − x‖                                (−∞, 0]
    ==================  =====================================  ==============

    Zero vectors have no cosine: under ``COSINE`` they are refused.
    """

    COSINE = "cosine"
    INNER_PRODUCT = "inner_product"
    EUCLIDEAN = "euclidean"
