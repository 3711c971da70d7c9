"""How long work tells how far it has come."""

from __future__ import annotations

from collections.abc import Callable

#: Called with (done, total, text).
Progress = Callable[[int, int, str], None]
