"""The examples run; the demo does in test_readme.py."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_graph_maps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("matplotlib", "networkx", "sklearn"):
        pytest.importorskip(module, reason=f"examples/graph_maps.py needs {module}")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import graph_maps

    graph_maps.main(["--out", str(tmp_path), "--seeds", "1", "--walks", "1"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "miserables-graph.png",
        "miserables-maps.png",
        "ring-graph.png",
        "ring-maps.png",
        "ring-walks.png",
    ]
    printed = capsys.readouterr().out
    # By what surrounds them, the nodes of the ring find those of their own role.
    assert "structure       0.040          1.000          0.680          1.000\n" in printed


def test_swap_backends(
    tmp_path: Path,
    postgresql_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import swap_backends

    with pytest.raises(SystemExit) as end:
        swap_backends.run(postgresql_url, tmp_path)
    assert end.value.code == 0
    assert capsys.readouterr().out.splitlines()[-1] == "equal"
