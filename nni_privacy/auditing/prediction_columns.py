"""Names of columns and arrays of a file of answers: which is the label, which a class's probability, whose they are.

Case, quotes and what parts words do not matter, columns may stand in any order, and others may stand among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from nni_privacy.errors import DataError, nearest

__all__ = [
    "GUESSED",
    "OF_ANY_KIND",
    "PER_CLASS",
    "SINGLE",
    "Layout",
    "Role",
    "class_order",
    "layout_of",
    "role_of",
    "whole",
]

GUESSED = "answers"
"""Numbers of each class whose kind no name tells: they are looked at."""

PER_CLASS = ("logits", "log_probabilities", "probabilities", GUESSED)
SINGLE = ("confidence", "loss", "score", "predicted")
OF_ANY_KIND = ("predicted", "score")
"""Words that, with a class after them, stand for numbers of each class."""

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        alias: role
        for role, aliases in {
            "label": "label labels y y_true true_label true_class target targets class truth",
            "member": "member members is_member membership in_training in_train train trained_on keep split",
            "classes": "classes class_names",
            "logits": "logit logits",
            "log_probabilities": "log_probability log_probabilities log_prob log_probs log_proba log_probas logprob "
            "logprobs logp log_p",
            "probabilities": "probability probabilities prob probs proba probas p softmax posterior posteriors y_prob",
            GUESSED: "answers outputs output y_score",
            "confidence": "confidence true_probability true_class_probability p_true prob_true probability_true",
            "loss": "loss losses nll cross_entropy log_loss",
            "score": "score scores membership_score mia_score",
            "predicted": "predicted prediction predictions pred preds y_pred predicted_label predicted_class",
            "references": "references reference shadows",
        }.items()
        for alias in aliases.split()
    }
)
_OF_A_CLASS = re.compile(rf"({'|'.join(sorted(_ALIASES, key=len, reverse=True))})(?:_(.+)|(\d+))")
_BARE = re.compile(r"(?:class_?)?(\d+)")
_REFERENCE = re.compile(r"(?:reference|ref|shadow)s?_?(\d+)?_(.+)")
_PARTING = re.compile(r"[\s.:\[\]()/]+|-(?!\d)")

EXPECTED = "expected logit_CLASS or probability_CLASS for each class, or one of confidence, loss, score and predicted"


@dataclass(frozen=True)
class Role:
    """What a column or an array holds.

    Attributes:
        name: ``label``, ``member``, ``classes``, ``references`` or a kind of answers.
        of_class: the class that a column is about; empty where there is none.
        reference: the number of the reference model that it is of; empty for arrays of all of them; None: the model's.
    """

    name: str
    of_class: str = ""
    reference: str | None = None


def _canonical(text: str) -> str:
    return _PARTING.sub("_", text.strip(" \t\"'").casefold()).strip("_")


def whole(text: str) -> str:
    """A class's name, so that ``3.0`` is 3, and ``Cat`` cat.

    >>> whole(" 3.0"), whole("-1"), whole("Maine Coon")
    ('3', '-1', 'maine_coon')
    """
    try:
        number = float(text)
    except ValueError:
        return _canonical(text)
    return str(int(number)) if number.is_integer() else text.strip()


def role_of(name: str) -> Role | None:
    """What a name tells; None if it tells nothing.

    >>> role_of("Ref 3 Prob.7")
    Role(name='probabilities', of_class='7', reference='3')
    """
    rest, reference = _canonical(name), None
    if found := _REFERENCE.fullmatch(rest):
        reference, rest = found[1] or "", found[2]
    if rest in _ALIASES:
        return Role(_ALIASES[rest], reference=reference)
    if found := _BARE.fullmatch(rest):
        return Role(GUESSED, str(int(found[1])), reference)
    found = _OF_A_CLASS.fullmatch(rest)
    kind = _ALIASES[found[1]] if found else ""
    if found is None or kind not in (*PER_CLASS, *OF_ANY_KIND):
        return None
    return Role(GUESSED if kind in OF_ANY_KIND else kind, whole(found[2] or found[3]), reference)


def class_order(classes: Iterable[str]) -> list[str]:
    """Classes in the order of their numbers, or if one is no number, in that in which they come."""
    names = list(dict.fromkeys(classes))
    return sorted(names, key=int) if all(re.fullmatch(r"-?\d+", name) for name in names) else names


@dataclass(frozen=True)
class Layout:
    """The columns that are read, by their places from 0.

    Attributes:
        outputs: what the answers are, of :data:`~nni_privacy.auditing.predictions.OUTPUTS`, or :data:`GUESSED`.
        classes: names of the classes that there is a column for; none where there is one number a record.
        member: who was trained on.
        label: true classes; None if there are none.
        answers: one column a class, or one.
        references: the same of each reference model.
        reference_members: who they were trained on.
        unused: names of all others.
    """

    outputs: str
    classes: tuple[str, ...]
    member: int
    label: int | None
    answers: tuple[int, ...]
    references: tuple[tuple[int, ...], ...]
    reference_members: tuple[int, ...]
    unused: tuple[str, ...]


def layout_of(names: Sequence[str], where: str) -> Layout:
    """Finds out what is where.

    Args:
        names: of all columns.
        where: the file, for messages.

    Raises:
        DataError: if one is missing or stands twice.
    """
    places = _places(names, where)
    member, label = places.get(Role("member")), places.get(Role("label"))
    outputs = next((one for one in (*PER_CLASS, *SINGLE) if _columns(places, one, None)), None)
    if outputs is None:
        raise DataError(f"{where}: no column of answers; {EXPECTED}; it has {_some(names)}")
    if member is None:
        told = nearest("member", names)
        raise DataError(f"{where}: no column 'member' (1: the model was trained on the record, 0: it was not); {told}")
    if label is None and outputs not in ("confidence", "loss", "score"):
        raise DataError(f"{where}: no column 'label' (the true class); it has {_some(names)}")
    own = _columns(places, outputs, None)
    classes = tuple(class_order(own)) if outputs in PER_CLASS else ("",)
    numbers = sorted({role.reference for role in places if role.reference}, key=int)
    references = tuple(_reference(places, outputs, classes, number, where) for number in numbers)
    used = {member, label, *own.values(), *(one for columns, trained in references for one in (*columns, trained))}
    return Layout(
        outputs=outputs,
        classes=classes if outputs in PER_CLASS else (),
        member=member,
        label=label,
        answers=tuple(own[one] for one in classes),
        references=tuple(columns for columns, _ in references),
        reference_members=tuple(trained for _, trained in references),
        unused=tuple(name for place, name in enumerate(names) if place not in used),
    )


def _places(names: Sequence[str], where: str) -> dict[Role, int]:
    """Where each role stands; of two columns of one role that which has its name."""
    places: dict[Role, int] = {}
    for place, name in enumerate(names):
        role = role_of(name)
        if role is None:
            continue
        before = places.setdefault(role, place)
        if before == place:
            continue
        first, second = (_canonical(names[one]) == role.name for one in (before, place))
        if first == second:
            raise DataError(f"{where}: columns {names[before]!r} and {name!r} say the same; keep one")
        places[role] = place if second else before
    return places


def _columns(places: Mapping[Role, int], outputs: str, reference: str | None) -> dict[str, int]:
    """Places of a model's answers of one kind, by class."""
    return {
        role.of_class: place
        for role, place in places.items()
        if role.name == outputs and role.reference == reference and bool(role.of_class) == (outputs in PER_CLASS)
    }


def _reference(
    places: Mapping[Role, int], outputs: str, classes: Sequence[str], number: str, where: str
) -> tuple[tuple[int, ...], int]:
    """The columns of a reference model's answers, and that of its training data."""
    found, trained = _columns(places, outputs, number), places.get(Role("member", reference=number))
    lacking = [one for one in classes if one not in found]
    if lacking:
        suffix = f"_{lacking[0]}" if lacking[0] else ""
        raise DataError(f"{where}: no column 'ref{number}_{outputs}{suffix}'; a reference model answers as the model")
    if trained is None:
        told = f"1: reference model {number} was trained on the record, 0: it was not"
        raise DataError(f"{where}: no column 'ref{number}_member' ({told})")
    return tuple(found[one] for one in classes), trained


def _some(names: Sequence[str]) -> str:
    shown = [name if name.isprintable() and len(name) <= 40 else repr(name[:40]) for name in names[:20]]
    return ", ".join(shown) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
