"""Genotypes as people have them: read the same however they are written, or refused with line and reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from genotype_styles import NASBENCH201_STYLES, STYLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies_for_cells import genotypes, nasbench201_genotypes

from nni_privacy.cells.darts import Genotype
from nni_privacy.cells.genotypes import genotype_or_none, parse_genotype, read_genotypes
from nni_privacy.cells.nasbench201 import NasBench201Genotype
from nni_privacy.commands.main import main
from nni_privacy.errors import DataError, GenotypeError, PrivacyError
from nni_privacy.files import TEXT_LIMIT

CELL = (
    "[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_3x3', 2)]"
)
TEXT = f"Genotype(normal={CELL}, normal_concat=[2, 3, 4, 5], reduce={CELL}, reduce_concat=[2, 3, 4, 5])"
OTHER = TEXT.replace("dil_conv_3x3", "dil_conv_5x5")
GENOTYPE = Genotype.parse(TEXT)
CELL201 = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|none~2|"

NASNET = """NASNet = Genotype(
  normal = [
    ('sep_conv_5x5', 1),
    ('sep_conv_3x3', 0),
    ('sep_conv_5x5', 0),
    ('sep_conv_3x3', 0),
  ],
  normal_concat = [2, 3],
  reduce = [('sep_conv_5x5', 1), ('sep_conv_7x7', 0)],
  reduce_concat = [4, 5, 6],
)
"""
MODULE = f"""from collections import namedtuple

Genotype = namedtuple('Genotype', 'normal normal_concat reduce reduce_concat')

PRIMITIVES = [
    'none',
    'max_pool_3x3',
    'skip_connect',
]
# OLD = Genotype(normal=[('sep_conv_7x7', 0)])

DARTS_V1 = {TEXT}
DARTS_V2 = Genotype(
    normal={CELL},  # found (again
    normal_concat=range(2, 6),
    reduce={CELL}, reduce_concat=range(2, 6),
)
DARTS = DARTS_V2


class Genotype(tuple):
    pass
"""

once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@once
@given(genotypes(), st.sampled_from(sorted(STYLES)))
def test_a_genotype_is_the_same_in_every_style(tmp_path: Path, genotype: Genotype, style: str) -> None:
    text = STYLES[style](genotype)
    assert parse_genotype(text) == genotype
    (tmp_path / "genotypes.txt").write_text(text, encoding="utf-8")
    assert read_genotypes(tmp_path / "genotypes.txt") == [genotype]


@pytest.mark.parametrize("style", sorted(STYLES))
def test_every_style_is_read(style: str) -> None:
    assert parse_genotype(STYLES[style](GENOTYPE)) == GENOTYPE


@once
@given(nasbench201_genotypes(), st.sampled_from(sorted(NASBENCH201_STYLES)))
def test_so_is_one_of_nasbench201(genotype: NasBench201Genotype, style: str) -> None:
    assert parse_genotype(NASBENCH201_STYLES[style](genotype)) == genotype


@once
@given(st.lists(st.tuples(genotypes(), st.sampled_from(sorted(STYLES))), min_size=1, max_size=4))
def test_all_of_a_file_are_found_in_their_order(tmp_path: Path, parts: list[tuple[Genotype, str]]) -> None:
    text = "Found in three searches:\n" + "\n".join(STYLES[style](genotype) for genotype, style in parts)
    (tmp_path / "genotypes.txt").write_text(text, encoding="utf-8")
    assert read_genotypes(tmp_path / "genotypes.txt") == [genotype for genotype, _ in parts]


@given(st.text(max_size=200) | st.text(alphabet="Genotype(normal=[('conv', 0)])|~+#{}\"\n", max_size=300))
def test_no_text_causes_anything_but_an_error_of_ours(text: str) -> None:
    with pytest.raises(PrivacyError) as caught:
        parse_genotype(text)
    assert "\n" not in str(caught.value)


def read(tmp_path: Path, content: str | bytes, name: str = "genotypes.py") -> list[str]:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return [str(genotype) for genotype in read_genotypes(tmp_path / name)]


def test_a_whole_module_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, MODULE) == [TEXT, TEXT]
    assert read(tmp_path, MODULE.replace("\n", "\r\n")) == [TEXT, TEXT]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (MODULE + NASNET, "line 23: NASNet: normal: node 3 takes both in-edges from node 0"),
        (MODULE + NASNET.replace("5x5', 0", "5x5', 2"), "line 23: NASNet: .*'sep_conv_7x7' is unknown"),
        (f"{TEXT}\n{TEXT.replace('skip_connect', 'none')}\n", "line 2: normal: .*operation 'none' is unknown"),
        (f"{TEXT}\n\n{TEXT[:200]}\n", "line 3: not a genotype: the brackets of Genotype\\( are not closed"),
        (f"a\n{TEXT}\nnormal=[('sep_conv_3x3', 0),\n", "line 3: not a genotype: .*expected Genotype"),
        (f"{TEXT}\nNone\n{TEXT}\n", "line 2: not a genotype: 'None'"),
        (f"{TEXT}\n{OTHER}\nhello\n", "line 3: not a genotype: 'hello'"),
        (f"|{CELL201}\n{CELL201[:-9]}\n", "line 2: 0 edges from node"),
        (f"best: {CELL201}\nthen: {CELL201[:-4]}\n", "line 2: "),
        (
            f"best: {CELL201.replace('none', 'max_pool_3x3')}",
            "line 1: best: .*'max_pool_3x3' is unknown in NAS-Bench-201",
        ),
        ("(4, 0, 3, 1, 4, 3)\n", "line 1: .*numbers, which stand for other operations in each tool; expected"),
        ("Genotype(recurrent=[('relu', 0)], concat=range(1, 9))", "line 1: field 'recurrent': unknown in a genotype"),
        ("x = Genotype(normal=gene, reduce=gene)", "line 1: x: normal: 'gene' is not a plain list"),
        (TEXT.replace("[2, 3, 4, 5]", "[4, 5, 6]"), r"normal_concat: \[4, 5, 6\] is not supported"),
        (TEXT.replace("('sep_conv_3x3', 0)", "('sep_conv_3x3', 0, 1.0)"), "is not a pair"),
        (TEXT.replace("('sep_conv_3x3', 0)", "('sep\\nconv', 0)"), "is not a pair"),
        (TEXT.replace("('sep_conv_3x3', 0)", "open('x')"), "is not a plain list"),
        ("nothing here\n", "line 1: not a genotype: 'nothing here'"),
        ("\n" + "x" * 500, "line 2: not a genotype: a text of 500 characters"),
        ('{"normal": [["sep_conv_3x3", 0]], "reduce": [], "epoch": 1234567890}', "line 1: normal: 1 pairs"),
        ("{'0_1': 3, '0_2': 'none', '0_3': 'none', '1_2': 'none', '1_3': 'none', '2_3': 'none'}", "3 is not the name"),
        ("Genotype(" + "[" * 300 + "]" * 300 + ")", "line 1: not a genotype: "),
        ("Genotype(normal=[" + "1," * 60_000 + "], reduce=[])", "no genotype has more than 100,000"),
    ],
)
def test_what_is_no_cell_of_ours_is_refused_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(GenotypeError, match=message) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'genotypes.py'}, line ")
    assert "\n" not in str(caught.value) and "..." not in str(caught.value).replace("[...]", "")


def test_files_that_are_no_text_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="not a text file in UTF-8; it begins as UTF-16 does: save it as UTF-8"):
        read(tmp_path, TEXT.encode("utf-16"))
    with pytest.raises(DataError, match="no genotype in it"):
        read(tmp_path, "\ufeff \n# nothing\n")
    monkeypatch.setattr("nni_privacy.files.TEXT_LIMIT", 500)
    with pytest.raises(DataError, match="larger than 500 bytes"):
        read(tmp_path, TEXT * 2)
    assert TEXT_LIMIT > 100_000 * 600


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(
    "header", ["genotype{}mia_auc", "Genotype{}MIA_AUC", ' "genotype" {}mia_auc', "\n\nGENOTYPE{}x"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tables_of_every_kind_are_read(tmp_path: Path, mark: str, separator: str, header: str, end: str) -> None:
    rows = [header.format(separator), f'"{TEXT}"{separator}0.8', "", f'"best = {OTHER}"{separator}0.9', ""]
    assert read(tmp_path, mark + end.join(rows), "data.CSV") == [TEXT, OTHER]


def test_a_faulty_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'genotype'; it has id, architecture$"):
        read(tmp_path, f'id,Architecture\n1,"{TEXT}"\n', "data.csv")
    with pytest.raises(GenotypeError, match=r"data\.csv, line 3: not a genotype: 'None'"):
        read(tmp_path, f'genotype;auc\n"{TEXT}";1\nNone;1\n', "data.csv")
    wrapped = TEXT.replace("], ", "],\n")
    with pytest.raises(GenotypeError, match=r"data\.csv, line 6: 2 genotypes where one is expected"):
        read(tmp_path, f'genotype,auc\n"{wrapped}",1\n"{TEXT}{TEXT}",1\n', "data.csv")
    with pytest.raises(DataError, match=r"data\.csv, line 2: not CSV: "):
        read(tmp_path, "genotype\n" + "x" * 200_000 + "\n", "data.csv")


def test_an_architecture_of_another_space_is_not_taken_for_a_genotype() -> None:
    assert genotype_or_none(TEXT) == GENOTYPE
    assert genotype_or_none(STYLES["nni"](GENOTYPE)) is None


SAMPLES = {style: STYLES[style](GENOTYPE) for style in ("module", "log", "nested", "numpy", "json", "nasbench301")}


@pytest.mark.parametrize("style", sorted(SAMPLES))
def test_apply_and_predict_read_every_style(tmp_path: Path, style: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for text in (TEXT, SAMPLES[style]):
        path = tmp_path / "genotypes.txt"
        path.write_text(text)
        assert main(["patterns", "apply", "demotion-reduction", str(path)]) == 0
        assert main(["surrogate", "predict", str(path)]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and printed[0].count("\n") == 2


@pytest.mark.parametrize("value", [None, 3, b"Genotype()", ["Genotype()"]])
def test_what_is_no_text_is_no_genotype(value: Any) -> None:
    with pytest.raises(GenotypeError, match=f"not a genotype but a {type(value).__name__}"):
        parse_genotype(value)
