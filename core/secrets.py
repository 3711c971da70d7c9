"""URLs for showing: passwords, keys and tokens replaced."""

from __future__ import annotations

import re

_SECRET = re.compile(r"pass|pwd|secret|token|api_?key|credential|signature", re.IGNORECASE)
_HIDDEN = "***"


def hide_secrets(url: str) -> str:
    """``url`` with the password before ``@`` and the values of secret parameters replaced."""
    url = re.sub(r"(//[^/?@:]*):[^/?]*@", rf"\1:{_HIDDEN}@", url)
    head, mark, query = url.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")]
    shown = (f"{n}{e}{_HIDDEN if _SECRET.search(n) and v else v}" for n, e, v in pairs)
    return head + mark + "&".join(shown)
