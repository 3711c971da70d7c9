"""The whole proof: where it lives."""

from itemspace.testing import RetrieverSuite


class TestBallTree(RetrieverSuite):
    least_recall = 1.0

    def url(self, folder):
        return f"balltree://{folder}/index?leaf_size=10"

    def memory_url(self):
        return "balltree://"
