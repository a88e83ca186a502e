"""What is told of an estimate while it runs."""

from types import SimpleNamespace

from dtir.regularizers.estimation import told


def test_chunks_are_told_when_they_are_done():
    calls = []
    runner = SimpleNamespace(call_hook=lambda name, **facts: calls.append((name, facts["done"], facts["total"])))
    seen = []
    for chunk in told(runner, iter([range(2), range(2, 4)])):
        seen.append((list(chunk), len(calls)))
    assert seen == [([0, 1], 0), ([2, 3], 1)]
    assert calls == [("on_estimate", 1, 2), ("on_estimate", 2, 2)]
