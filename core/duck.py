"""DuckDB, which reads and writes our files: in memory, without the network."""

from __future__ import annotations

from typing import Any


def connect_duckdb(**config: str) -> Any:
    """A connection that downloads no extensions; close it, or use it as a context manager."""
    import duckdb

    offline: dict[str, Any] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        **config,
    }
    return duckdb.connect(config=offline)


def quoted(name: str) -> str:
    """A column's name for SQL text."""
    return '"' + name.replace('"', '""') + '"'
