import pytest

from dtir.core.errors import ConfigError, LibraryError
from dtir.core.extras import needs_extra


@pytest.mark.parametrize("kind", [ConfigError, LibraryError])
def test_a_missing_library_names_its_extra_and_what_needs_it(kind):
    said = r"^this part needs the extra 'publish' \(No module named 'not_there'\): pip install 'dtir\[publish\]'\.$"
    with pytest.raises(kind, match=said), needs_extra("this part", "publish"):
        import not_there  # noqa: F401


def test_other_errors_are_left_as_they_are():
    with pytest.raises(ZeroDivisionError), needs_extra("this part", "publish"):
        _ = 1 / 0
