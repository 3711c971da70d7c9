from pathlib import Path

from itemspace.testing import RetrieverSuite


class TestLsh(RetrieverSuite):
    def url(self, folder: Path) -> str:
        return f"lsh://{folder}/index"

    def memory_url(self) -> str:
        return "lsh://"


class TestLshAlone(RetrieverSuite):
    """Hashing from the first row on, without the exact scan of small indexes."""

    least_recall = 0.8

    def url(self, folder: Path) -> str:
        return f"lsh://{folder}/index?scan_limit=0"

    def memory_url(self) -> str:
        return "lsh://?scan_limit=0"
