"""The Python of the README and of pages in docs runs, and prints what it shows."""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Scores move in the last digit from one processor to the next.
DIGITS = re.compile(r"\b\d\.\d\d\b")


def blocks(page: Path = ROOT / "README.md") -> list[tuple[str, str]]:
    """Python blocks, each with the output shown below it."""
    found = re.findall(r"```python\n(.*?)```\n(?:\s*```text\n(.*?)```)?", page.read_text(), re.S)
    return [(code, output) for code, output in found]


def test_the_readme_and_what_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.setattr(sys, "argv", ["demo.py"])
    monkeypatch.setenv("ITEMSPACE_HOME", "")
    monkeypatch.setenv("ITEMSPACE_DATABASE", "")
    import demo

    demo.main()
    assert "running-shoes-acme-two" in capfd.readouterr().out
    pages = {"README.md": 5, "docs/publishing.md": 4}
    pages |= {"docs/lookups.md": 8, "docs/recommending.md": 4}
    names: dict[str, object] = {}
    for page, count in pages.items():
        run(blocks(ROOT / page), names)
        assert len(blocks(ROOT / page)) == count


@pytest.mark.parametrize(("name", "count"), [("graphs", 2), ("side-information", 4), ("lsh", 1)])
def test_pages(name: str, count: int) -> None:
    page = blocks(ROOT / "docs" / f"{name}.md")
    run(page, {})
    assert len(page) == count


def run(page: list[tuple[str, str]], names: dict[str, object]) -> None:
    for code, expected in page:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert DIGITS.sub("#", printed.getvalue()) == DIGITS.sub("#", expected)


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"
