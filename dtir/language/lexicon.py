"""The words that the parser knows (`assets/lexicon.json`), and a text cut into them.

Terms are written as people write them. They are compared without case, accents and hyphens; a final * stands for any
ending of the word. Languages are not told apart: a prompt may mix them, and terms that mean different things in two
languages have the meaning that comes first in `KINDS`.
"""

import functools
import json
import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from dtir.core.assets import ASSETS

FILE = ASSETS / "lexicon.json"
# What a term may be, in the order in which meanings are preferred.
KINDS = (
    "other",
    "damage",
    "remedy",
    "contrary",
    "more",
    "except",
    "keep",
    "not",
    "without",
    "degree",
    "verbs",
    "after",
    "before",
    "first",
    "last",
    "then",
    "but",
    "or",
    "and",
    "statement",
    "filler",
)
# Kana and Chinese characters: written without spaces.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_LETTER = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff]")
_LETTERS = re.compile(_LETTER.pattern + "+")
_WORD = re.compile(_LETTER.pattern + r"+(?:[.,]\d+)?")
_APOSTROPHES = dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u00b4`"), "'")
_HYPHENS = dict.fromkeys(map(ord, "-\u2010\u2011\u2013\u2014_"), " ")
# One to nine, and ten.
_DIGITS, _TEN = "一二三四五六七八九", "十"
PERCENT, STOP, COMMA, UNKNOWN = "percent", "stop", "comma", "unknown"
_MARKS = {**dict.fromkeys(";.!?。:\n", STOP), **dict.fromkeys(",、", COMMA)}


class Term(NamedTuple):
    """A word or phrase of a text.

    Attributes:
        kind: One of `KINDS`, or "percent", "comma", "stop" (the end of a sentence) or "unknown".
        text: As it was written.
        value: The task of a "damage" or "remedy"; the share of a "degree" or "percent", 1 being all; else None.
        unspaced: Whether it is of a language without spaces.
    """

    kind: str
    text: str
    value: str | float | None = None
    unspaced: bool = False


_UNKNOWN_CHARACTER = Term(UNKNOWN, "", unspaced=True)


def terms_of(text: str) -> list[Term]:
    """Cuts a text into terms, the longest known one at each place; words that are not known are "unknown"."""
    plain, places = _folded(text)
    spans: list[tuple[Term, int, int]] = []
    place = 0
    while place < len(plain):
        term, length = _term_at(plain, place)
        # Unknown characters of a language without spaces are one word as long as they stand side by side.
        if term == _UNKNOWN_CHARACTER and spans and spans[-1][0] == term and spans[-1][2] == place:
            spans[-1] = (term, spans[-1][1], place + length)
        elif term is not None:
            spans.append((term, place, place + length))
        place += length
    return [term._replace(text=text[places[first] : places[last - 1] + 1]) for term, first, last in spans]


def _term_at(plain: str, place: int) -> tuple[Term | None, int]:
    """The term at a place of a folded text, None for what lies between words, and how many characters it takes."""
    share = _share().match(plain, place)
    if share and not _joins(plain, place):
        return Term(PERCENT, "", _number(share[1] or share[2]) / 100), len(share[0])
    for literal, (kind, value) in _lexicon().get(plain[place], ()):
        length = _length_of(literal, plain, place)
        if length:
            return Term(kind, "", value, _UNSPACED.match(literal) is not None), length
    if plain[place] in _MARKS:
        return Term(_MARKS[plain[place]], ""), 1
    word = _WORD.match(plain, place)
    if word:
        return Term(UNKNOWN, ""), len(word[0])
    return (_UNKNOWN_CHARACTER if _UNSPACED.match(plain[place]) else None), 1


def _length_of(literal: str, plain: str, place: int) -> int:
    """How many characters a term takes at a place, 0 where it does not stand there."""
    bare = literal.rstrip("*")
    if not plain.startswith(bare, place):
        return 0
    if _UNSPACED.match(bare):
        return len(bare)
    ending = _LETTERS.match(plain, place + len(bare))
    if _joins(plain, place) or (ending and not literal.endswith("*") and _LETTER.match(bare[-1])):
        return 0
    return len(bare) + (len(ending[0]) if ending else 0)


def _joins(plain: str, place: int) -> bool:
    """Whether a letter stands directly before a place."""
    return place > 0 and _LETTER.match(plain[place - 1]) is not None and _LETTER.match(plain[place]) is not None


def _folded(text: str) -> tuple[str, list[int]]:
    """A text without case, accents, hyphens and double spaces, and where each of its characters stood."""
    plain, places = [], []
    for place, character in enumerate(text):
        for folded in _fold(character):
            folded = " " if folded.isspace() and folded != "\n" else folded
            if folded != " " or plain[-1:] != [" "]:
                plain.append(folded)
                places.append(place)
    return "".join(plain), places


def _fold(text: str) -> str:
    even = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES | _HYPHENS).casefold()
    # Accents of Latin and Cyrillic letters; the marks of kana change the sound and stay.
    bare = "".join(c for c in unicodedata.normalize("NFD", even) if not "\u0300" <= c <= "\u036f")
    return unicodedata.normalize("NFC", bare)


@functools.cache
def _lexicon() -> dict[str, list[tuple[str, tuple[str, str | float | None]]]]:
    """All terms with kind and value, by their first character, longest first."""
    known: dict[str, tuple[str, str | float | None]] = {}
    for term, kind, value in sorted(_entries(_data()), key=lambda entry: KINDS.index(entry[1])):
        known.setdefault(term, (kind, value))
    table: dict[str, list] = {}
    for term in sorted(known, key=lambda term: -len(term.rstrip("*"))):
        table.setdefault(term[0], []).append((term, known[term]))
    return table


@functools.cache
def _share() -> re.Pattern:
    """The pattern of a share such as "12,5 %"."""
    units = "|".join(re.escape(unit).replace(r"\*", r"\w*") for unit in _split(_data()["percent"]["any"]))
    number = r"(\d+(?:[.,]\d+)?)"
    return re.compile(rf"{number} ?(?:{units})|百分之(\d+(?:[.,]\d+)?|[{_DIGITS}{_TEN}百]+)")


def _number(text: str) -> float:
    """A number in figures, or a Chinese one up to a hundred."""
    if text[0].isascii():
        return float(text.replace(",", "."))
    if "百" in text:
        return 100.0
    tens, ten, ones = text.rpartition(_TEN)
    return 10.0 * (_DIGITS.index(tens) + 1 if tens in _DIGITS and tens else 1) * bool(ten) + (
        _DIGITS.index(ones) + 1 if ones in _DIGITS and ones else 0
    )


@functools.cache
def _data() -> dict:
    return json.loads(FILE.read_text(encoding="utf-8"))


def _entries(data: dict) -> Iterator[tuple[str, str, str | float | None]]:
    for task, kinds in data["tasks"].items():
        for kind, languages in kinds.items():
            yield from ((term, kind, task) for term in _terms(languages))
    for share, languages in data["degrees"].items():
        yield from ((term, "degree", float(share)) for term in _terms(languages))
    for kind in data.keys() & set(KINDS):
        yield from ((term, kind, None) for term in _terms(data[kind]))


def _terms(languages: dict[str, str]) -> Iterator[str]:
    for terms in languages.values():
        yield from _split(terms)


def _split(terms: str) -> list[str]:
    return [" ".join(_fold(term).split()) for term in terms.split(",") if term.strip()]
