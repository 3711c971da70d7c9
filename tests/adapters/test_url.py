from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itemspace.adapters.url import RetrieverURL
from itemspace.core.errors import InvalidURL


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("lsh://", None),
        ("lsh:", None),
        ("lsh:///data/items", Path("/data/items")),
        ("lsh:data/items", Path("data/items")),
        ("lsh:/data/items?a=1", Path("/data/items")),
        ("lsh:///with%20space/100%25", Path("/with space/100%")),
    ],
)
def test_paths_as_in_file_urls(text: str, location: Path | None) -> None:
    url = RetrieverURL.parse(text)
    assert url.location == location
    assert RetrieverURL.parse(url.render()) == url


def test_children() -> None:
    assert RetrieverURL.parse("lsh:data?a=1").child("v1").render() == "lsh:data/v1?a=1"
    assert RetrieverURL.parse("lsh:///").child("v1").render() == "lsh:///v1"


def test_a_host_is_no_path() -> None:
    with pytest.raises(InvalidURL, match="relative/path"):
        _ = RetrieverURL.parse("lsh://data/items").location


@pytest.mark.parametrize("text", ["", "items", "/data/items", "1a:x", "lsh:x?a=1&a=2"])
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(InvalidURL):
        RetrieverURL.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "qdrant://me:hunter2@host:6333/items?timeout=3",
        "qdrant://host/items?api_key=hunter2",
        "qdrant://host/items?apikey=hunter2&Token=hunter2&a=1",
        "pgvector+psycopg://u:hunter2%40x@h/db?password=hunter2",
        "pgvector://u:p@hunter2@h/db",
    ],
)
def test_secrets_never_show(text: str) -> None:
    url = RetrieverURL.parse(text)
    for shown in (str(url), repr(url), f"{url}", repr([url])):
        assert "hunter2" not in shown
        assert "***" in shown
    assert "hunter2" in url.render()
    with pytest.raises(InvalidURL) as caught:
        RetrieverURL.parse(f"{text}&x=1&x=2" if "?" in text else f"{text}?x=1&x=2")
    assert "hunter2" not in str(caught.value)


@given(
    st.dictionaries(st.text("abc_&=?% é", min_size=1), st.text("abc_&=?%# é"), max_size=3),
    st.text("ab/% ?#é", min_size=1),
)
def test_render_and_parse(parameters: dict[str, str], path: str) -> None:
    url = RetrieverURL("lsh", "", "/" + path.lstrip("/"), parameters)
    assert RetrieverURL.parse(url.render()) == url
