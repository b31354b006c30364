"""Audits of classifiers of scikit-learn, or of whatever has its methods: what they answer is asked, then attacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nni_privacy.auditing.audit import MIN_RECORDS, AuditReport
from nni_privacy.auditing.predictions import audit_answers, prediction_signals
from nni_privacy.errors import AuditError

if TYPE_CHECKING:
    from nni_privacy.auditing.options import Effort

__all__ = ["audit_sklearn"]

Records = tuple[Any, Any]
Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def audit_sklearn(
    estimator: Any,
    members: Records,
    nonmembers: Records,
    *,
    references: int = 0,
    attacks: str | Sequence[str] | None = None,
    effort: Effort | None = None,
    n_jobs: int | None = None,
    seed: int = 0,
    max_auc: float | None = None,
) -> AuditReport:
    """Attacks a fitted classifier of scikit-learn with membership inference.

    It is asked by ``predict_log_proba``, which tells probabilities apart that round to 0 and 1, or ``predict_proba``;
    without both by ``decision_function``, whose numbers then stand for logits; without that by ``predict``, which
    leaves the gap attack.

    Args:
        estimator: fitted; a pipeline, and a classifier of another library with these methods, will do.
        members: ``(X, y)`` of the records it was fitted on, 20 or more; X is whatever it takes.
        nonmembers: the same of records it was not fitted on, from the same distribution.
        references: number of reference models, for ``lira`` and ``rmia``: clones of the estimator with other random
            states, each fitted on a random half of all records. 16 is a good number.
        attacks: names of attacks, the primary one first; by default all that the answers allow.
        effort: protocol and options of the attacks.
        n_jobs: reference models that are fitted at once, as in scikit-learn; None is one, -1 all cores.
        seed: of the reference models, the attacks and the bootstrap.
        max_auc: the highest AUC that is allowed to any attack, 0.5 to 1: a threshold of the verdict.

    Raises:
        AuditError: if the estimator is no classifier or not fitted, records do not fit it, a label is unknown to it, or
            as :func:`~nni_privacy.auditing.predictions.audit_predictions`.
        ConfigError: if an attack is unknown.

    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> tree = DecisionTreeClassifier(random_state=0).fit(X[:280], y[:280])
    >>> audit_sklearn(tree, (X[:280], y[:280]), (X[280:], y[280:]), attacks="gap").verdict.leak
    True
    """
    sides = [_checked(name, side) for name, side in (("members", members), ("nonmembers", nonmembers))]
    if references < 0:
        raise AuditError(f"references is {references}: allowed are integers of 0 or more")
    outputs, classes = _asked_by(estimator)
    data, truth = _joined([side[0] for side in sides]), np.concatenate([side[1] for side in sides])
    labels = _numbered(truth, classes)
    is_member = np.repeat([True, False], [len(side[1]) for side in sides])
    answers, keep = _answers(estimator, outputs, data, classes), None
    others: Array | None = None
    if references and outputs != "predicted":
        others, keep = _references(estimator, outputs, data, truth, classes, count=references, n_jobs=n_jobs, seed=seed)
    signals = prediction_signals(answers, labels, is_member, outputs=outputs, references=others, reference_members=keep)
    facts = {"Estimator": " ".join(repr(estimator).split()), "Reference models": str(references or "none")}
    shared = _shared(data, int(is_member.sum()))
    return audit_answers(
        signals, attacks=attacks, effort=effort, seed=seed, max_auc=max_auc, shared=shared, facts=facts
    )


def _checked(name: str, records: Records) -> Records:
    """The records of a side, their labels as an array."""
    if not isinstance(records, (tuple, list)) or len(records) != 2:
        raise AuditError(f"{name} is a {type(records).__name__}, expected a pair (X, y)")
    data, labels = records[0], np.asarray(records[1])
    size = getattr(data, "shape", None)
    count = size[0] if size else len(data)
    if labels.ndim != 1 or len(labels) != count:
        raise AuditError(f"{name}: {count} records, labels of shape {labels.shape}; expected one label a record")
    if count < MIN_RECORDS:
        raise AuditError(f"{name}: {count} records; an audit needs {MIN_RECORDS} or more of each side")
    return data, labels


def _asked_by(estimator: Any) -> tuple[str, Array]:
    """What an estimator can be asked for, of :data:`~nni_privacy.auditing.predictions.OUTPUTS`, and its classes."""
    name = type(estimator).__name__
    classes = None if isinstance(estimator, type) else getattr(estimator, "classes_", None)
    if classes is None:
        told = "it is not fitted, or no classifier; what others answer can be given to audit_predictions"
        raise AuditError(f"estimator: {name} has no classes_: {told}")
    if isinstance(classes, list) or np.ndim(classes) != 1 or len(classes) < 2:
        raise AuditError(f"estimator: {name} has classes_ {classes!s:.60}; expected one output of two classes or more")
    outputs = next((outputs for method, outputs in _METHODS.items() if hasattr(estimator, method)), None)
    if outputs is None:
        raise AuditError(f"estimator: {name} has none of {', '.join(_METHODS)}")
    return outputs, np.asarray(classes)


def _numbered(labels: Array, classes: Array) -> npt.NDArray[np.int64]:
    """Places of labels among the classes."""
    places = {one: place for place, one in enumerate(classes.tolist())}
    try:
        return np.array([places[one] for one in labels.tolist()], dtype=np.int64)
    except KeyError as error:
        known = ", ".join(map(str, classes.tolist()[:20]))
        raise AuditError(f"labels: {error.args[0]!r:.60} is not among the estimator's classes ({known})") from None


def _answers(estimator: Any, outputs: str, data: Any, classes: Array) -> Floats:
    """Answers about all records: ``(n, K)`` in the order of ``classes``, or ``(n,)`` places of predicted ones."""
    try:
        with np.errstate(divide="ignore"):  # a probability of 0 has a logarithm of -inf
            return _ASKED[outputs](estimator, data, classes)
    except (TypeError, ValueError) as error:
        told = str(error).partition("\n")[0]
        raise AuditError(f"records: {type(estimator).__name__} does not take them ({told:.200})") from None


def _in_order(numbers: Floats, known: Array, classes: Array, missing: float) -> Floats:
    """The columns of a model that may know some of the classes only."""
    if numbers.ndim == 1:  # of the second of two classes
        numbers = np.stack([np.zeros_like(numbers), numbers], axis=1)
    if numbers.shape[1] != len(known):
        told = "; set decision_function_shape='ovr'" if numbers.shape[1] > len(known) else ""
        raise AuditError(f"estimator: {numbers.shape[1]} numbers a record for {len(known)} classes{told}")
    ordered = np.full((len(numbers), len(classes)), missing)
    ordered[:, _numbered(known, classes)] = numbers
    return ordered


def _log_probabilities(estimator: Any, data: Any, classes: Array) -> Floats:
    numbers = np.asarray(estimator.predict_log_proba(data))
    return _in_order(numbers, np.asarray(estimator.classes_), classes, -np.inf)


def _probabilities(estimator: Any, data: Any, classes: Array) -> Floats:
    return _in_order(np.asarray(estimator.predict_proba(data)), np.asarray(estimator.classes_), classes, 0.0)


def _decisions(estimator: Any, data: Any, classes: Array) -> Floats:
    return _in_order(np.asarray(estimator.decision_function(data)), np.asarray(estimator.classes_), classes, -np.inf)


def _predicted(estimator: Any, data: Any, classes: Array) -> Floats:
    return _numbered(np.asarray(estimator.predict(data)), classes).astype(np.float64)


_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "predict_log_proba": "log_probabilities",
        "predict_proba": "probabilities",
        "decision_function": "logits",
        "predict": "predicted",
    }
)
_ASKED: Mapping[str, Callable[[Any, Any, Array], Floats]] = MappingProxyType(
    {
        "log_probabilities": _log_probabilities,
        "probabilities": _probabilities,
        "logits": _decisions,
        "predicted": _predicted,
    }
)


def _references(
    estimator: Any,
    outputs: str,
    data: Any,
    labels: Array,
    classes: Array,
    *,
    count: int,
    n_jobs: int | None,
    seed: int,
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Answers of clones ``(n, S, K)``, and who was trained on what ``(n, S)``."""
    from joblib import Parallel, delayed

    from nni_privacy.auditing.shadows.sampling import keep_matrix

    keep = keep_matrix(len(labels), count, seed=seed)
    fitted = Parallel(n_jobs=n_jobs)(
        delayed(_reference)(
            estimator, outputs, data, labels, classes, rows=np.flatnonzero(column), seed=seed, number=at
        )
        for at, column in enumerate(keep.T)
    )
    return np.stack(fitted, axis=1), keep


def _reference(
    estimator: Any,
    outputs: str,
    data: Any,
    labels: Array,
    classes: Array,
    *,
    rows: npt.NDArray[np.int64],
    seed: int,
    number: int,
) -> Floats:
    """The answers of a clone that is fitted on some records about all."""
    from sklearn.base import clone

    from nni_privacy.rng import stream_seed

    state = stream_seed(seed, number)
    try:
        model = clone(estimator)
        drawn = [name for name in model.get_params() if name.split("__")[-1] == "random_state"]
        model.set_params(**dict.fromkeys(drawn, state))
        model.fit(_rows(data, rows), labels[rows])
    except (TypeError, ValueError) as error:
        told = str(error).partition("\n")[0]
        raise AuditError(f"reference model {number}: cannot be made of the estimator ({told:.200})") from None
    return _answers(model, outputs, data, classes)


def _joined(parts: Sequence[Any]) -> Any:
    """Records of both sides, as what they were given as."""
    from scipy import sparse

    if hasattr(parts[0], "iloc"):
        import pandas

        return pandas.concat(parts, ignore_index=True)
    if sparse.issparse(parts[0]):
        return sparse.vstack(parts, format="csr")
    if isinstance(parts[0], list):
        return [one for part in parts for one in part]
    return np.concatenate([np.asarray(part) for part in parts])


def _rows(data: Any, rows: npt.NDArray[np.int64]) -> Any:
    return [data[row] for row in rows] if isinstance(data, list) else getattr(data, "iloc", data)[rows]


def _shared(data: Any, members: int) -> int:
    """How many members are among the non-members, too; 0 of records that cannot be looked at one by one."""
    from scipy import sparse

    if sparse.issparse(data):
        return 0
    rows = data if isinstance(data, list) else np.asarray(data)
    records = [one.tobytes() if isinstance(one, np.ndarray) and one.dtype != object else repr(one) for one in rows]
    others = set(records[members:])
    return sum(record in others for record in records[:members])
