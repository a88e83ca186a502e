"""What a prompt asks for: tasks in order, how much of each, what is to stay, and what was not understood.

A prompt is cut into clauses, each with at most one thing to do: at marks and joining words, and where a new verb
begins. In a clause a removing verb, a remedy ("brighten") or the bare name of a damage asks for the task; "keep", or a
negation before any of them, forbids it; "add" and the like ask for what no restoration does. Clauses that are joined by
"and" or a comma and have no verb of their own take the verb, the negation and the degree of their neighbour.
"""

import itertools
from collections.abc import Iterable, Sequence
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
_DOING = ("verbs", "keep", "remedy", "contrary", "not", "without")
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
    _join(clauses)
    wanted: dict[str, Asked] = {}
    kept: dict[str, str] = {}
    unknown = [term.text for term in terms if term.kind in (UNKNOWN, "other")]
    _spread(clauses)
    for clause in _in_order(clauses):
        for term in clause.tasks:
            _judge(clause, term, wanted, kept, unknown)
    for clause in clauses:
        if not clause.tasks and not clause.has("verbs", "not", "without"):
            unknown += [term.text for term in clause.terms if term.kind == "contrary"]
    _check(prompt, wanted, kept, unknown)
    return Request(prompt, tuple(wanted.values()), tuple(kept), tuple(dict.fromkeys(unknown)))


def _clauses(terms: Iterable[Term]) -> list[_Clause]:
    clauses, between = [_Clause("break")], []
    for term in terms:
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
        elif term.kind == "without" and clause.tasks and not term.unspaced:
            clauses.append(_Clause("break", [*between, term]))
            between = []
        elif term.kind in ("degree", PERCENT) and clause.complete:
            # It belongs to what follows, if something does.
            between.append(term)
        elif clause.complete and term.kind in (*_DOING, "damage") and not _goes_on(clause, term):
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


def _goes_on(clause: _Clause, term: Term) -> bool:
    """Whether a verb, negation or damage still belongs to a clause that has both already."""
    last = clause.terms[-1]
    if term.kind in ("verbs", "not") and last.kind not in _TASKS:
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


def _spread(clauses: Sequence[_Clause]) -> None:
    """Lets a degree count for what it stands behind: "denoise, but only a little", "remove rain and snow a little"."""
    for before, clause in itertools.pairwise(clauses):
        if not clause.tasks and not clause.has(*_DOING, UNKNOWN) and before.share is None:
            before.terms += clause.terms
    for before, clause in reversed(list(itertools.pairwise(clauses))):
        if clause.joined in ("and", "or") and clause.leader in (before, before.leader) and before.share is None:
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


def _judge(clause: _Clause, term: Term, wanted: dict[str, Asked], kept: dict[str, str], unknown: list[str]) -> None:
    """Adds what a clause says of one task to what is wanted, kept or not understood."""
    leader = clause.leader or clause
    negated, lacking = clause.negated() or leader.negated(), clause.lacking() or leader.lacking()
    adds = leader.has("contrary") and term.kind == "damage" and not leader.has("verbs", "keep")
    if adds and not (negated or lacking):
        unknown.append(" ".join([*(t.text for t in leader.terms if t.kind == "contrary"), term.text]))
    elif adds:
        return
    elif _is_kept(leader, term, negated, lacking):
        kept.setdefault(term.value, term.text)
    else:
        share = clause.share if clause.share is not None else leader.share
        _want(wanted, Asked(term.value, 1.0 if share is None else share, term.text), share is None, clause)


def _is_kept(leader: _Clause, term: Term, negated: bool, lacking: bool) -> bool:
    if leader.has("keep") and not leader.has("verbs"):
        return not negated
    return negated or (lacking and (leader.has("verbs") or term.kind == "remedy"))


def _want(wanted: dict[str, Asked], asked: Asked, unsaid: bool, clause: _Clause) -> None:
    """Adds what is asked for; of a task that was named before, a share that was said stays."""
    earlier = wanted.get(asked.task)
    if earlier is None:
        wanted[asked.task] = asked
        return
    if clause.has(*_DOING) and not unsaid:
        wanted[asked.task] = Asked(asked.task, asked.strength, f"{earlier.words}, {asked.words}")


def _check(prompt: str, wanted: dict[str, Asked], kept: dict[str, str], unknown: Sequence[str]) -> None:
    both = next((task for task in wanted if task in kept), None)
    if both:
        raise PromptError(
            f"the prompt '{prompt}' asks for and forbids the same: '{wanted[both].words}' and '{kept[both]}' are both "
            f"'{both}' here. Say one of them; a share such as 50 % leaves a part."
        )
    if not wanted and not kept:
        words = f"; not understood: {', '.join(dict.fromkeys(unknown))}" if unknown else ""
        raise PromptError(
            f"nothing in the prompt '{prompt}' says what to restore{words}. Name the damage, as in: "
            f"{'; '.join(EXAMPLES)}. Without a prompt the damage is estimated from the picture."
        )
