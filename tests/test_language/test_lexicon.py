from collections import Counter

import pytest

from dtir.language.lexicon import KINDS, _data, _entries, _split, terms_of
from dtir.tasks import TASKS

LANGUAGES = {"en", "de", "fr", "es", "it", "pt", "zh", "ja", "ru"}


def groups():
    """Every list of terms of the table: kind, language, and the terms without case and accents."""
    data = _data()
    kinds = {(task, kind): words for task, both in data["tasks"].items() for kind, words in both.items()}
    kinds |= {("degree", share): words for share, words in data["degrees"].items()}
    kinds |= {(kind,): data[kind] for kind in KINDS if kind in data}
    return [(language, _split(terms)) for words in kinds.values() for language, terms in words.items()]


def test_the_table_is_of_the_ten_tasks_and_of_known_kinds():
    data = _data()
    assert set(data["tasks"]) == set(TASKS)
    assert set(data) - {"tasks", "degrees", "percent"} <= set(KINDS)
    for task in TASKS:
        assert set(data["tasks"][task]["damage"]) == LANGUAGES


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_within_a_language_a_term_has_one_meaning(language):
    counts = Counter(term for own, terms in groups() if own == language for term in set(terms))
    assert [term for term, number in counts.items() if number > 1] == []


def test_no_term_is_of_two_tasks():
    tasks = {}
    for term, kind, task in _entries(_data()):
        if kind in ("damage", "remedy"):
            assert tasks.setdefault(term, task) == task


def test_terms_are_found_whole_and_with_their_endings():
    assert [term.kind for term in terms_of("brain train grainless noisette")] == ["unknown"] * 4
    (term,) = terms_of("verrauschtes")
    assert (term.kind, term.value, term.text) == ("damage", "noisy", "verrauschtes")
    (term,) = terms_of("NÉVOA")
    assert (term.value, term.text) == ("hazy", "NÉVOA")
    (term,) = terms_of("de-noising")
    assert (term.kind, term.text) == ("remedy", "de-noising")
