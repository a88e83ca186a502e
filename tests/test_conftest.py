"""What the tests do without their data."""

import pytest


@pytest.mark.parametrize(("required", "outcome"), [(None, pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_missing_data_skip_a_test_or_fail_it_where_they_are_required(without_data, monkeypatch, required, outcome):
    monkeypatch.delenv("DTIR_REQUIRE_DATA", raising=False)
    if required:
        monkeypatch.setenv("DTIR_REQUIRE_DATA", required)
    with pytest.raises(outcome, match="the fixtures are away"):
        without_data("the fixtures are away")
