"""What a prompt asks for: tasks in order, how much of each, what is to stay, and what was not understood.

A prompt is cut into clauses, each with at most one thing to do: at marks and joining words, and where a new verb
begins. In a clause a removing verb, a remedy ("brighten") or the bare name of a damage asks for the task; "keep", or a
negation before any of them, forbids it; "add" and the like ask for what no restoration does. Clauses that are joined by
"and" or a comma and have no verb of their own take the verb, the negation and the degree of their neighbour.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from dtir.core.errors import PromptError

from .lexicon import COMMA, PERCENT, STOP, UNKNOWN, Term, terms_of

EXAMPLES = (
    "remove the rain, then brighten it a little",
    "entferne das Rauschen zu 50 %, aber lass den Nebel",
    "去雨,然后稍微提亮",
)
_TASKS = ("damage", "remedy")
# A word of these begins something new.
_DOING = ("verbs", "keep", "except", "remedy", "contrary", "more", "not", "without")
_BREAKS = (STOP, "then", "but")
_LISTS = ("comma", "and", "or")
# These are other words in other languages: they break only after something was asked for.
_AMBIGUOUS = ("ma", "mas", "e", "y", "a")


@dataclass(frozen=True)
class Asked:
    """One thing that a prompt asks for.

    Attributes:
        task: Name of the damage.
        strength: Share of the change, in (0, 1].
        words: What in the prompt says so.
    """

    task: str
    strength: float
    words: str


@dataclass(frozen=True)
class Request:
    """What a prompt says.

    Attributes:
        prompt: The prompt.
        asked: What is to be done, in order; no task twice. Empty where the prompt only says what is to stay.
        kept: Tasks that are not to be touched.
        unknown: Words that were not understood, and wishes for what no restoration does.
    """

    prompt: str
    asked: tuple[Asked, ...]
    kept: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass
class _Clause:
    """Terms that belong together, and how they are joined to those before.

    Attributes:
        joined: "break", "comma", "and", "or", "after" or "before".
        terms: The terms, without fillers.
        leader: The clause whose verb, negation and degree it takes, where it has none of its own.
        precedes_next: Whether it is to be done after the following one, "before" standing behind it.
    """

    joined: str
    terms: list[Term] = field(default_factory=list)
    leader: "_Clause | None" = None
    precedes_next: bool = False

    def has(self, *kinds: str) -> bool:
        return any(term.kind in kinds for term in self.terms)

    @property
    def tasks(self) -> list[Term]:
        return [term for term in self.terms if term.kind in _TASKS]

    @property
    def complete(self) -> bool:
        """Whether it has a task and what is to be done about it."""
        return bool(self.tasks) and self.has(*_DOING)

    @property
    def verb_last(self) -> bool:
        places = [place for place, term in enumerate(self.terms) if term.kind in _DOING]
        first = next(place for place, term in enumerate(self.terms) if term.kind in _TASKS)
        return bool(places) and first < places[-1]

    @property
    def share(self) -> float | None:
        """How much is asked for, None where nothing is said; how bad a damage is said to be does not count."""
        shares = [term.value for term in self.terms if term.kind == PERCENT]
        described = self.has("statement") and not self.has("verbs", "keep", "remedy")
        degrees = [] if described else [term.value for term in self.terms if term.kind == "degree"]
        return next(iter(shares or degrees), None)

    @property
    def share_last(self) -> bool:
        """Whether it ends with how much is asked for."""
        return bool(self.terms) and self.terms[-1].kind in ("degree", PERCENT)

    def negated(self) -> bool:
        """Whether "not" stands anywhere in it."""
        return self.has("not")

    def lacking(self) -> bool:
        """Whether "without" or "no" stands before a task or a verb."""
        return any(
            term.kind == "without" and any(later.kind in (*_DOING, "damage") for later in self.terms[place + 1 :])
            for place, term in enumerate(self.terms)
        )


def parse(prompt: str) -> Request:
    """Reads a prompt.

    Args:
        prompt: In English, German, French, Spanish, Italian, Portuguese, Chinese, Japanese or Russian, or a mixture.

    Raises:
        PromptError: Nothing in it was understood, it asks for and forbids the same, or for more than all of something.
    """
    terms = [term for term in terms_of(prompt) if term.kind != "filler"]
    for term in terms:
        if term.kind == PERCENT and not 0 < term.value <= 1:
            raise PromptError(
                f"'{term.text}' in the prompt '{prompt}' is no share: say more than 0 % and at most 100 %."
            )
    clauses = _clauses(terms)
    _refer(clauses)
    _join(clauses)
    _spread(clauses)
    said = _Said([term.text for term in terms if term.kind in (UNKNOWN, "other")])
    for clause in _in_order(clauses):
        for term in clause.tasks:
            said.add(clause, term)
    for clause in clauses:
        if not clause.tasks and not clause.has("verbs", "not", "without"):
            said.unknown += [term.text for term in clause.terms if term.kind == "contrary"]
    said.check(prompt)
    return Request(prompt, tuple(said.wanted.values()), tuple(said.kept), tuple(dict.fromkeys(said.unknown)))


def _clauses(terms: Sequence[Term]) -> list[_Clause]:
    clauses, between = [_Clause("break")], []
    for place, term in enumerate(terms):
        clause = clauses[-1]
        joined = _joint(clause, term)
        if joined and not clause.terms:
            clause.joined = clause.joined if joined in _LISTS and clause.joined not in _LISTS else joined
        elif joined:
            clause.terms += between
            between = []
            clauses.append(_Clause(joined))
        elif term.kind in ("before", "after"):
            clause.precedes_next = term.kind == "before"
            clauses.append(_Clause("break"))
        elif _sets_apart(clause, term):
            clauses.append(_Clause("break", [*between, term]))
            between = []
        elif term.kind in ("degree", PERCENT) and clause.complete:
            # It belongs to what follows, if something does.
            between.append(term)
        elif clause.complete and term.kind in (*_DOING, "damage") and not _goes_on(clause, term, terms[place + 1 :]):
            clauses.append(_Clause("and" if term.kind == "damage" else "break", [*between, term]))
            between = []
        else:
            clause.terms += [*between, term]
            between = []
    clauses[-1].terms += between
    return clauses


def _joint(clause: _Clause, term: Term) -> str | None:
    """How a term joins what follows it to a clause; None where it is part of it."""
    if term.text.casefold() in _AMBIGUOUS and not clause.tasks:
        return None
    if term.kind in _BREAKS:
        return "break"
    if term.kind in ("after", "before") and not (term.unspaced and clause.tasks):
        return term.kind
    if term.kind == COMMA:
        return "comma" if clause.tasks else "break"
    # "clean and brighten" is one thing to do, "keep the sky and remove the rain" is two.
    finished = clause.tasks or (clause.has(*_DOING) and clause.has(UNKNOWN, "other"))
    return term.kind if term.kind in ("and", "or") and finished else None


def _sets_apart(clause: _Clause, term: Term) -> bool:
    """Whether a term, "without" or "except", begins something new."""
    return not term.unspaced and bool(
        (term.kind == "without" and clause.tasks) or (term.kind == "except" and clause.terms)
    )


def _goes_on(clause: _Clause, term: Term, rest: Sequence[Term]) -> bool:
    """Whether a verb, negation or damage still belongs to a clause that has both already."""
    last = clause.terms[-1]
    if term.kind == "not":
        # At the end it is about what stands before it: "sharpening is not needed".
        within = itertools.takewhile(lambda later: later.kind not in (*_BREAKS, *_LISTS), rest)
        return not any(later.kind in _TASKS for later in within)
    if term.kind == "verbs" and last.kind not in _TASKS:
        # Verbs and negations in a row, as at the end of a clause in Japanese and German.
        return last.kind in _DOING
    same = any(task.value == term.value for task in clause.tasks)
    return term.kind in _TASKS and same


def _join(clauses: Sequence[_Clause]) -> None:
    """Tells clauses without a verb of their own which neighbour's they take."""
    for before, clause in itertools.pairwise(clauses):
        bare = clause.tasks and not clause.has(*_DOING, "statement")
        alternative = clause.joined == "or" and clause.tasks and not clause.has("verbs", "keep", "not")
        if clause.joined in _LISTS and (bare or alternative):
            clause.leader = before.leader or before
    for clause, after in reversed(list(itertools.pairwise(clauses))):
        if clause.joined in _LISTS and clause.leader and clause.leader.has(*_DOING):
            continue
        bare = clause.tasks and not clause.has(*_DOING, "statement")
        source = after.leader if after.leader and after.leader.has(*_DOING) else after
        if bare and after.joined in _LISTS and source.tasks and source.verb_last:
            clause.leader = source


def _refer(clauses: Sequence[_Clause]) -> None:
    """Lets what names nothing count for what was named before: "there is snow, keep it", "denoise, but a little"."""
    for before, clause in itertools.pairwise(clauses):
        if clause.tasks or clause.has(UNKNOWN, "other"):
            continue
        spares = clause.has("keep") or (clause.has("not") and clause.has("verbs"))
        if (spares and before.tasks and not before.has(*_DOING)) or (not clause.has(*_DOING) and before.share is None):
            before.terms += clause.terms


def _spread(clauses: Sequence[_Clause]) -> None:
    """Lets a degree at the end of a list count for all of it: "remove rain and snow a little"."""
    for before, clause in reversed(list(itertools.pairwise(clauses))):
        follows = clause.leader is not None and clause.leader in (before, before.leader)
        if clause.joined in ("and", "or") and follows and before.share is None and clause.share_last:
            before.terms += [term for term in clause.terms if term.kind in ("degree", PERCENT)]


def _in_order(clauses: Sequence[_Clause]) -> list[_Clause]:
    ordered: list[_Clause] = []
    waiting: list[_Clause] = []
    for clause in clauses:
        if not clause.tasks:
            continue
        if clause.precedes_next or (clause.joined == "before" and not ordered):
            waiting.append(clause)
            continue
        place = len(ordered) - 1 if clause.joined == "after" and ordered else len(ordered)
        ordered[place:place] = [clause]
        ordered += waiting
        waiting = []
    ordered += waiting
    return sorted(ordered, key=lambda clause: clause.has("last") - clause.has("first"))


class _Said:
    """What the clauses say, taken together.

    Args:
        unknown: Words that were not understood.
    """

    def __init__(self, unknown: list[str]) -> None:
        self.unknown = unknown
        self.wanted: dict[str, Asked] = {}
        # The word for each task that is to stay.
        self.kept: dict[str, str] = {}
        # Tasks that were only described so far: "it is dark".
        self.described: set[str] = set()

    def add(self, clause: _Clause, term: Term) -> None:
        """Takes what a clause says of one task."""
        leader = clause.leader or clause
        negated, lacking = clause.negated() or leader.negated(), clause.lacking() or leader.lacking()
        adds = leader.has("contrary", "more") and term.kind == "damage" and not leader.has("verbs", "keep")
        if adds and not (negated or lacking):
            asked_for = [t.text for t in leader.terms if t.kind in ("contrary", "more")]
            self.unknown.append(" ".join([*asked_for, term.text]))
        elif adds and (negated or leader.has("contrary")):
            # "without adding noise": there is nothing to do about it.
            return
        elif _is_kept(leader, term, negated, lacking):
            self.kept.setdefault(term.value, term.text)
        else:
            share = clause.share if clause.share is not None else leader.share
            self._want(Asked(term.value, 1.0 if share is None else share, term.text), share, clause.has(*_DOING))

    def _want(self, asked: Asked, share: float | None, doing: bool) -> None:
        """Adds what is asked for. A task that was only described before is done where it is asked for; one that was
        asked for before takes the share that is said now."""
        task = asked.task
        if doing and task in self.described:
            del self.wanted[task]
        if task not in self.wanted or (doing and share is not None):
            self.wanted[task] = asked
        if not doing and self.wanted[task] is asked:
            self.described.add(task)
        elif doing:
            self.described.discard(task)

    def check(self, prompt: str) -> None:
        """Raises PromptError if nothing was understood, or the same is asked for and forbidden."""
        both = next((task for task in self.wanted if task in self.kept), None)
        if both:
            raise PromptError(
                f"the prompt '{prompt}' asks for and forbids the same: '{self.wanted[both].words}' and "
                f"'{self.kept[both]}' are both '{both}' here. Say one of them; a share such as 50 % leaves a part."
            )
        if not self.wanted and not self.kept:
            words = f"; not understood: {', '.join(dict.fromkeys(self.unknown))}" if self.unknown else ""
            raise PromptError(
                f"nothing in the prompt '{prompt}' says what to restore{words}. Name the damage, as in: "
                f"{'; '.join(EXAMPLES)}. Without a prompt the damage is estimated from the picture."
            )


def _is_kept(leader: _Clause, term: Term, negated: bool, lacking: bool) -> bool:
    if leader.has("except"):
        return True
    if leader.has("keep") and not leader.has("verbs"):
        return not negated
    return negated or (lacking and (leader.has("verbs") or term.kind == "remedy"))
