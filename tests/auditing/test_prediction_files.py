"""Files of answers: however they are written they say the same; what is wrong is told with file, line and column."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nni_privacy.attacks import TargetSignals
from nni_privacy.auditing.prediction_columns import layout_of, role_of
from nni_privacy.auditing.prediction_files import read_predictions
from nni_privacy.errors import DataError

N, CLASSES, MODELS = 45, 12, 2
GENERATOR = np.random.default_rng(0)
CHANCES = GENERATOR.dirichlet(np.ones(CLASSES), size=(N, 1 + MODELS))
LABELS = np.r_[np.arange(CLASSES), GENERATOR.integers(0, CLASSES, N - CLASSES)]
MEMBER, KEEP = np.arange(N) % 2 == 0, GENERATOR.random((N, MODELS)) < 0.5
NAMES = [f"Class-{chr(97 + at)}" for at in range(CLASSES)]


def columns(*, prefix: str = "probability_", names: Any = range(CLASSES)) -> dict[str, Any]:
    """The columns of a table by their names."""
    table: dict[str, Any] = {"label": LABELS, "member": MEMBER.astype(int)}
    for model, reference in enumerate(["", *(f"ref{at}_" for at in range(MODELS))]):
        table |= {f"{reference}{prefix}{name}": CHANCES[:, model, at] for at, name in enumerate(names)}
        if reference:
            table[f"{reference}member"] = KEEP[:, model - 1].astype(int)
    return table


def text_of(table: Mapping[str, Any], *, delimiter: str = ",", decimal: str = ".") -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow([str(cell).replace(".", decimal) if isinstance(cell, float) else cell for cell in row])
    return file.getvalue()


def shuffled(table: Mapping[str, Any]) -> dict[str, Any]:
    order = np.random.default_rng(1).permutation(len(table))
    names = list(table)
    return {names[at]: table[names[at]] for at in order}


STYLES: dict[str, Callable[[], bytes]] = {
    "plain": lambda: text_of(columns()).encode(),
    "columns in any order, others among them": lambda: text_of(
        shuffled({**columns(), "id": np.arange(N), "": np.arange(N), "note": ["a, b"] * N})
    ).encode(),
    "gzipped": lambda: gzip.compress(text_of(columns()).encode()),
    "semicolons and decimal commas": lambda: text_of(columns(), delimiter=";", decimal=",").encode(),
    "tabs, a mark, blank lines": lambda: (
        "\ufeff\r\n" + text_of(columns(), delimiter="\t").replace("\n", "\n\n", 3)
    ).encode(),
    "words": lambda: text_of(
        {**columns(prefix="Prob "), "label": LABELS.astype(float), "member": np.where(MEMBER, " TRUE", "no")}
    ).encode(),
    "members by their part": lambda: text_of(
        {**columns(prefix="p"), "member": np.where(MEMBER, "train", "val")}
    ).encode(),
    "bare numbers": lambda: text_of(columns(prefix="")).encode(),
    "named classes": lambda: text_of(
        {**columns(names=NAMES), "label": [NAMES[at].upper() for at in LABELS]}
    ).encode(),
    "named classes, numbered labels": lambda: text_of(columns(names=NAMES)).encode(),
    "an index and synonyms": lambda: text_of(
        {"": np.arange(N), "y_true": LABELS, "is_member": MEMBER,
         **{name: values for name, values in columns(prefix="proba_").items() if name not in ("label", "member")}}
    ).encode(),
}  # fmt: skip


def arrays(**changes: Any) -> bytes:
    content = {
        "labels": LABELS,
        "is_member": MEMBER,
        "probabilities": CHANCES[:, 0],
        "reference_probabilities": CHANCES[:, 1:],
        "reference_members": KEEP,
        **changes,
    }
    file = io.BytesIO()
    np.savez(file, **{name: values for name, values in content.items() if values is not None})
    return file.getvalue()


STYLES |= {
    "npz": arrays,
    "npz, the model first, float32": lambda: arrays(
        reference_probabilities=np.swapaxes(CHANCES[:, 1:], 0, 1).astype(np.float32), reference_members=KEEP.T
    ),
    "npz, synonyms": lambda: arrays(
        labels=None, y=LABELS[:, None], is_member=None, member=MEMBER.astype(float), probabilities=None,
        y_prob=CHANCES[:, 0], reference_probabilities=None, references=CHANCES[:, 1:], ids=np.arange(N),
    ),
    "npz, named classes": lambda: arrays(labels=np.array([NAMES[at] for at in LABELS]), classes=np.array(NAMES)),
    "npz, kind untold": lambda: arrays(
        probabilities=None, predictions=CHANCES[:, 0], reference_probabilities=None, references=CHANCES[:, 1:]
    ),
}  # fmt: skip


def check(signals: TargetSignals) -> None:
    np.testing.assert_allclose(signals.posteriors, CHANCES[:, 0], rtol=1e-5)
    assert np.array_equal(signals.labels, LABELS) and np.array_equal(signals.is_member, MEMBER)
    assert signals.shadows is not None and np.array_equal(signals.shadows.keep, KEEP)
    np.testing.assert_allclose(np.exp(signals.shadows.logits[:, :, 0]), CHANCES[:, 1:], rtol=1e-5)


@pytest.mark.parametrize("style", STYLES)
def test_the_same_answers_are_read_however_they_are_written(style: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.any"
    path.write_bytes(STYLES[style]())
    found = read_predictions(path)
    check(found.signals)
    assert found.told.startswith(f"{N} records, probabilities of {CLASSES} classes")
    assert ("no name tells" in found.told) == (style in ("bare numbers", "npz, kind untold"))
    assert "SHA-256" in found.facts["Predictions"] and (", 2 reference models" in found.told)
    assert ("0 = class_a" in found.facts.get("Classes", "")) == ("named classes" in style)
    assert (style != "columns in any order, others among them") or found.told.endswith("not used: id, note")


@pytest.mark.parametrize("lists", [False, True])
def test_parquet_is_read(lists: bool, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(columns())
    if lists:
        frame = pandas.DataFrame(
            {"label": LABELS, "member": MEMBER, "probabilities": list(CHANCES[:, 0]),
             "reference_probabilities": [one.tolist() for one in CHANCES[:, 1:]], "reference_members": list(KEEP)}
        )  # fmt: skip
    frame.to_parquet(tmp_path / "answers.parquet")
    check(read_predictions(tmp_path / "answers.parquet").signals)


def test_parquet_without_its_reader_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answers.parquet").write_bytes(b"PAR1 and more")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DataError, match=r"answers\.parquet: reading Parquet needs pandas and pyarrow .*\.npz or CSV$"):
        read_predictions(tmp_path / "answers.parquet")


@pytest.mark.parametrize(
    ("column", "answers"),
    [("loss", "confidence"), ("Confidence", "confidence"), ("mia_score", "statistic"), ("y_pred", "prediction")],
)
def test_one_number_a_record_is_read(column: str, answers: str, tmp_path: Path) -> None:
    values = np.arange(N) % 3 if answers == "prediction" else CHANCES[:, 0, 0]
    table = {column: values, "member": MEMBER}
    if answers == "prediction":
        table |= {column: np.array(["cat", "cow", "dog"])[values], "label": np.array(["cow", "dog"])[np.arange(N) % 2]}
    (tmp_path / "answers.csv").write_text(text_of(table))
    signals = read_predictions(tmp_path / "answers.csv").signals
    assert signals.answers == answers
    if answers == "statistic":
        np.testing.assert_allclose(signals.confidences, values, rtol=1e-12)
    if answers == "prediction":
        assert np.array_equal(signals.correct, values == np.arange(N) % 2 + 1)


def test_of_two_classes_the_column_of_the_second_is_enough(tmp_path: Path) -> None:
    chance = CHANCES[:, 0, 0]
    (tmp_path / "answers.csv").write_text(text_of({"p_1": chance, "label": LABELS % 2, "member": MEMBER}))
    np.testing.assert_allclose(read_predictions(tmp_path / "answers.csv").signals.posteriors[:, 1], chance, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("Ref 3 Prob.7", ("probabilities", "7", "3")),
        ("shadow12_logit_-1", ("logits", "-1", "12")),
        ("reference_members", ("member", "", "")),
        ("log_prob_cat", ("log_probabilities", "cat", None)),
        ("logits[4]", ("logits", "4", None)),
        ("class", ("label", "", None)),
        ("class_4", ("answers", "4", None)),
        ("04", ("answers", "4", None)),
        ("pred_2", ("answers", "2", None)),
        ("p_true", ("confidence", "", None)),
        ("price", None),
        ("label_name", None),
        ("", None),
    ],
)
def test_names_are_understood(name: str, role: tuple[Any, ...] | None) -> None:
    found = role_of(name)
    assert role == (None if found is None else (found.name, found.of_class, found.reference))


HEAD = "label,member,p_0,p_1\n"
WITH_REFERENCE = "label,member,p_0,p_1,ref0_p_0,ref0_p_1,ref0_member\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no column of answers; expected logit_CLASS or probability_CLASS for each class, or one of"),
        ("a,b\n1,2\n", "no column of answers; .*; it has a, b$"),
        ("0.1,0.9\n", "no column of answers"),
        ("p_0,p_1,label\n", "no column 'member' .*known: label, p_0, p_1"),
        ("p_0,p_1,label,membr\n", "no column 'member' .*did you mean 'membr'"),
        ("p_0,p_1,member\n", r"no column 'label' \(the true class\); it has p_0, p_1, member"),
        ("p_0,P 0,p_1,label,member\n", "columns 'p_0' and 'P 0' say the same; keep one"),
        (HEAD, "no records, only names of columns"),
        (f"{HEAD}0,1,0.5\n", "line 2: 3 cells, but the first line names 4 columns"),
        (f"{HEAD}0,1,0.5,0.5\n\n0,1,0.5,x\n", "line 4, column p_1: 'x'; expected a number"),
        (f"{HEAD}0,1,0.5,\n", "line 2, column p_1: ''; expected a number"),
        (f"{HEAD}0,1,0.5,0.5\n0,maybe,0.5,0.5\n", "line 3, column member: 'maybe'; allowed are 0 and 1, or true and"),
        (f"{HEAD}0,1,0.5,0.5\n2,0,0.5,0.5\n", "line 3, column label: '2' is not a class; known: 0, 1"),
        (f"{HEAD}0,1,0.5,0.5\n1,0,0.5,1.5\n", "line 3, column p_1: 1.5; probabilities are 0 to 1"),
        (f"{HEAD}0,1,0.5,0.5\n1,0,0.5,nan\n", "line 3, column p_1: nan; probabilities are 0 to 1"),
        (f"{HEAD}0,1,0.5,0.5\n1,0,0.9,0.9\n", "line 3: the probabilities of all classes add up to 1.8, not 1"),
        ("label,member,p_3\n0,1,1\n", "column p_3 is of one class only; of two classes give both, or that of 1"),
        ("member,loss\n1,-1\n", "line 2, column loss: -1; loss are 0 or more"),
        (HEAD.replace("\n", ",ref4_p_0\n"), "no column 'ref4_probabilities_1'; a reference model answers as the model"),
        (HEAD.replace("\n", ",ref0_p_0,ref0_p_1\n"), "no column 'ref0_member' .1: reference model 0 was trained"),
        (
            WITH_REFERENCE + "0,1,.5,.5,.5,7,0\n",
            "line 2, column ref0_p_1: 7; p",
        ),
        (
            WITH_REFERENCE + "0,1,.5,.5,.5,.5,x\n",
            "line 2, column ref0_member: 'x'",
        ),
        (b"\xff\xfel\x00", "not a table in UTF-8, nor a .npz or Parquet file"),
        (b"\x1f\x8bbroken", "cannot be read"),
        (gzip.compress(text_of(columns()).encode(), mtime=0)[:-20], "cannot be read"),
        (b"PK\x03\x04broken", "cannot be read as a .npz file of plain arrays"),
        (arrays(probabilities=None), "no array of answers; expected one of logits, .*; it has labels, is_member"),
        (arrays(is_member=None), "no array 'member'"),
        (arrays(is_member=MEMBER * 3), r"is_member\[0\]: 3; allowed are 0 and 1"),
        (arrays(labels=np.array(NAMES)[LABELS]), "labels holds no integers; give the classes' names"),
        (arrays(labels=LABELS + 0.5), "labels holds no integers"),
        (arrays(labels=LABELS[:3]), "labels: int64 of shape .3,.; expected an integer for each of the 45"),
        (arrays(labels=CHANCES[:, 0]), r"labels has shape \(45, 12\), expected one class for each"),
        (
            arrays(probabilities=CHANCES[:, 0] * 2),
            r"probabilities\[\d+, \d+\]: 1\.\d+; probabilities are 0 to 1|add up",
        ),
        (arrays(probabilities=np.array(NAMES)), "probabilities is of <U7, expected numbers"),
        (arrays(reference_probabilities=CHANCES[:, 1:] - 1), r"reference_probabilities\[0, 0, 0\]: -"),
        (arrays(reference_members=None), "reference_members: missing"),
        (arrays(reference_probabilities=CHANCES[:, 1:, :3] * 9), "reference_probabilities|shadows' logits"),
        (arrays(y=LABELS), "arrays labels and y say the same; keep one"),
        (arrays(probabilities=np.array([{}])), "cannot be read as a .npz file of plain arrays"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_wrong_is_told_with_its_place(content: str | bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError, match=words) as error:
        read_predictions(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_nothing_in_a_file_of_answers_is_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "exploded",))

    np.savez(tmp_path / "answers.npz", label=LABELS, member=MEMBER, probabilities=np.array([Bomb()], dtype=object))
    with pytest.raises(DataError, match="plain arrays"):
        read_predictions(tmp_path / "answers.npz")
    assert not (tmp_path / "exploded").exists()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.csv", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(DataError, match=words):
            read_predictions(path)


def test_columns_that_are_not_read_are_named() -> None:
    layout = layout_of(["id", "loss", "p_1", "member", "p_0", "label"], "file")
    assert layout.outputs == "probabilities" and layout.answers == (4, 2) and layout.unused == ("id", "loss")
