"""Retriever URLs: immutable values whose repr hides secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from ..core.errors import InvalidURL
from ..core.secrets import hide_secrets

_SHAPE = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True, repr=False)
class RetrieverURL:
    """``scheme://authority/path?parameters``; paths as in file URLs.

    ``lsh://`` is in memory, ``lsh:///data/items`` an absolute path, ``lsh:data/items`` a relative
    one.
    """

    scheme: str
    authority: str = ""
    path: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, url: str | RetrieverURL) -> RetrieverURL:
        """Read a URL; :class:`InvalidURL` says what is wrong, without repeating secrets."""
        if isinstance(url, RetrieverURL):
            return url
        match = _SHAPE.fullmatch(url)
        if match is None:
            raise InvalidURL(
                f"{hide_secrets(url)!r} is no retriever URL; expected something like 'lsh:///data/items'.",
                url=hide_secrets(url),
            )
        rest, _, query = match["rest"].partition("?")
        authority = ""
        if rest.startswith("//"):
            authority, slash, path = rest[2:].partition("/")
            rest = slash + path
        pairs = parse_qsl(query, keep_blank_values=True)
        parameters = dict(pairs)
        if len(parameters) != len(pairs):
            raise InvalidURL(
                f"A parameter stands twice in {hide_secrets(url)!r}; give each one once.",
                url=hide_secrets(url),
            )
        return cls(match["scheme"].lower(), authority, unquote(rest), parameters)

    @property
    def location(self) -> Path | None:
        """The folder for file backends; ``None`` is memory. An authority is refused."""
        if self.authority:
            raise InvalidURL(
                f"{self} names a host {self.authority!r}; for a path write "
                f"'{self.scheme}:///absolute/path' or '{self.scheme}:relative/path'.",
                url=str(self),
            )
        return Path(self.path) if self.path not in ("", "/") else None

    def child(self, name: str) -> RetrieverURL:
        """The URL one level below."""
        return replace(self, path=f"{self.path.rstrip('/')}/{name}" if self.path else name)

    def render(self) -> str:
        """The whole URL, **secrets included**; for storing and opening, never for showing."""
        slashes = "//" if self.authority or not self.path or self.path.startswith("/") else ""
        query = f"?{urlencode(dict(self.parameters))}" if self.parameters else ""
        return f"{self.scheme}:{slashes}{self.authority}{quote(self.path)}{query}"

    def __str__(self) -> str:
        return hide_secrets(self.render())

    def __repr__(self) -> str:
        return f"RetrieverURL({str(self)!r})"
