from pathlib import Path

from itemspace.testing import RetrieverSuite


class TestExact(RetrieverSuite):
    least_recall = 1.0

    def url(self, folder: Path) -> str:
        return f"exact://{folder}/index"

    def memory_url(self) -> str:
        return "exact://"
