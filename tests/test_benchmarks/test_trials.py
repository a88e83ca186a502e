"""How often shadows are found by removing them."""

import pytest

from benchmarks.trials import SHARES, pictures, shares, table
from dtir.apis import RestorationInferencer


def test_pictures_are_counted_by_the_least_share():
    rows = table({"grounds": [0.0, 0.55, 0.65, 0.95], "photographs": [-0.2, 0.1]}).splitlines()
    assert SHARES == (0.4, 0.5, 0.6, 0.7, 0.8)
    assert rows[2:] == [
        "| grounds | 4 | 75.0% | 75.0% | 50.0% | 25.0% | 25.0% |",
        "| photographs | 2 | 0.0% | 0.0% | 0.0% | 0.0% | 0.0% |",
    ]


@pytest.fixture
def folders(data_dir, without_data, monkeypatch):
    if not (data_dir / "train_pairs" / "shadowed-docs").is_dir():
        without_data(f"the documents are not in {data_dir / 'train_pairs'}; set DTIR_DATA to the folder above")
    monkeypatch.setenv("DTIR_DATA", str(data_dir))


@pytest.mark.usefixtures("folders")
def test_shadows_on_documents_are_found_and_bare_grounds_are_left():
    inferencer = RestorationInferencer(device="cpu")
    found = {name: list(zip(range(3), kind, strict=False)) for name, kind in pictures(3) if name != "clean photographs"}
    evened = {name: shares(inferencer, [picture for _, picture in kind]) for name, kind in found.items()}
    assert max(evened["drawn grounds"]) < 0.5
    assert max(evened["the same, without"]) < 0.5
    assert [share > 0.6 for share in evened["documents with shadows"]] == [True, True, False]
