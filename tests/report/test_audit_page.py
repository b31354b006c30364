from __future__ import annotations

import csv
import dataclasses
import errno
import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from report.pages import HOSTILE, Page, own_scripts, running

from nni_privacy.attacks import ClassMetrics, TargetSignals, per_class_metrics
from nni_privacy.attacks.intervals import rate_interval
from nni_privacy.auditing.audit import AuditReport, audit_signals
from nni_privacy.errors import DataError
from nni_privacy.report import audit_page
from nni_privacy.report.audit_page import audit_info, histogram_info, render_audit, write_audit

FILES = ["metrics.csv", "metrics.json", "report.html", "scores.npz"]
MEMBERS, NONMEMBERS, CLASSES = 300, 250, 5
RARE = 4
"""A class with too few records for an AUC."""


def signals(*, gap: float, seed: int = 0) -> TargetSignals:
    """Members and non-members; a member's own class has a logit that is higher by ``gap``."""
    generator = np.random.default_rng(seed)
    n = MEMBERS + NONMEMBERS
    labels = generator.integers(0, RARE, size=n)
    labels[:4] = labels[-4:] = RARE
    is_member = np.arange(n) < MEMBERS
    logits = generator.normal(size=(n, CLASSES))
    logits[np.arange(n), labels] += 1 + gap * is_member
    distances = np.abs(generator.normal(size=n)) + gap * is_member
    return TargetSignals.from_logits(logits, labels, is_member, distances=distances, queries=12_345)


@pytest.fixture(scope="module")
def report() -> AuditReport:
    return audit_signals(signals(gap=1.5), attacks=["loss_threshold", "gap", "label_only"])


@pytest.fixture(scope="module")
def null() -> AuditReport:
    return audit_signals(signals(gap=0.0, seed=1), attacks=["loss_threshold"])


def named(report: AuditReport, *names: str) -> AuditReport:
    """The same report with other names of its attacks."""
    attacks = zip(names, report.attacks.values(), strict=True)
    return AuditReport({name: dataclasses.replace(attack, name=name) for name, attack in attacks}, report.signals)


def per_class_of(report: AuditReport) -> tuple[ClassMetrics, ...]:
    attack = report.primary
    return per_class_metrics(attack.scores, attack.is_member, report.signals.labels[attack.records])


def test_an_audit_is_four_files_that_are_replaced(report, tmp_path):
    path = write_audit(report, tmp_path / "new" / "audit")
    assert path == tmp_path / "new" / "audit" / "report.html"
    before = {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}
    assert sorted(before) == FILES
    for name in FILES:
        (path.parent / name).write_text("older")
    write_audit(report, path.parent)
    assert {entry.name: entry.read_bytes() for entry in path.parent.iterdir()} == before


def test_json_holds_flat_metrics_and_the_details_of_each_attack(report, tmp_path):
    text = (write_audit(report, tmp_path, facts={"Seed": "0"}).parent / "metrics.json").read_text()
    assert not re.search(r"\b(NaN|Infinity)\b", text)
    found = json.loads(text)
    assert {key: found[key] for key in report.metrics()} == report.metrics()
    assert found["primary"] == "loss_threshold" and found["facts"] == {"Seed": "0"}
    assert list(found["attacks"]) == list(report.attacks)
    primary = found["attacks"]["loss_threshold"]
    assert (primary["members"], primary["nonmembers"]) == (MEMBERS, NONMEMBERS)
    rate = primary["rates"]["mia_tpr_at_1pct_fpr"]
    assert rate["tpr"] == found["mia_tpr_at_1pct_fpr"] > 0.01 and rate["reason"] == ""
    assert (rate["low"], rate["corrected"], rate["high"]) == rate_interval(report.primary.roc, 0.01)
    assert rate["note"].startswith("250 non-members hardly fix the threshold")
    missing = primary["rates"]["mia_tpr_at_01pct_fpr"]
    assert missing["tpr"] is None and missing["low"] is None
    assert missing["reason"].startswith("not resolvable: 250 non-members")
    assert found["attacks"]["label_only"]["queries"] == 12_345 and "queries" not in primary


def test_a_rate_at_an_infinite_threshold_is_null_in_json(report, tmp_path):
    rate = report.attacks["gap"].rates["1pct"]
    assert rate.tpr == 0 and rate.threshold == math.inf  # more than 1% of the non-members are classified right
    found = json.loads((write_audit(report, tmp_path).parent / "metrics.json").read_text())
    rates = found["attacks"]["gap"]["rates"]["mia_tpr_at_1pct_fpr"]
    assert rates["threshold"] is None and rates["tpr"] == 0


def test_json_has_the_auc_of_each_class_with_counts(report, tmp_path):
    found = json.loads((write_audit(report, tmp_path).parent / "metrics.json").read_text())
    for name, attack in report.attacks.items():
        wanted = per_class_metrics(attack.scores, attack.is_member, report.signals.labels[attack.records])
        assert found["attacks"][name]["per_class"] == [dataclasses.asdict(entry) for entry in wanted]
    rare = found["attacks"]["loss_threshold"]["per_class"][RARE]
    assert (rare["members"], rare["nonmembers"], rare["auc"]) == (4, 4, None) and "at least 10" in rare["reason"]


def test_classes_are_those_of_the_attacked_records():
    """An attack that learns from a part of the records attacks the others, in an order of its own."""
    report = audit_signals(signals(gap=1.5), attacks=["black_box_partial"], protocol="paper")
    info = audit_info(report)
    assert sum(entry.members for entry in info.primary.classes) == report.primary.roc.members < MEMBERS
    for entry in info.primary.classes:
        chosen = report.primary.records[report.primary.is_member]
        assert entry.members == np.count_nonzero(report.signals.labels[chosen] == entry.label)


def test_csv_has_one_row_an_attack(report, tmp_path):
    text = (write_audit(report, tmp_path).parent / "metrics.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["attack"] for row in rows] == list(report.attacks)
    assert [row["primary"] for row in rows] == ["true", "false", "false"]
    for row, attack in zip(rows, report.attacks.values(), strict=True):
        for key, value in attack.metrics.items():
            assert row[key] == ("" if value is None else str(value))
        rate = attack.rates["1pct"]
        ends = row["mia_tpr_at_1pct_fpr_low"], row["mia_tpr_at_1pct_fpr_high"]
        assert [float(end) for end in ends] == [rate.low, rate.high]
        assert (row["members"], row["nonmembers"]) == (str(MEMBERS), str(NONMEMBERS))
        assert row["mia_tpr_at_01pct_fpr_low"] == "" and row["reason"].startswith("not resolvable: 250")


def test_scores_are_those_of_the_report(report, tmp_path):
    with np.load(write_audit(report, tmp_path).parent / "scores.npz", allow_pickle=False) as saved:
        for name, attack in report.attacks.items():
            assert np.array_equal(saved[f"{name}/scores"], attack.scores)
            assert np.array_equal(saved[f"{name}/is_member"], attack.is_member)


def test_histograms_are_shares_of_each_group(report):
    info = histogram_info(report.attacks["gap"], bins=2, trim=0.0)
    correct, is_member = report.signals.correct, report.signals.is_member
    assert info.members.tolist() == pytest.approx([1 - correct[is_member].mean(), correct[is_member].mean()])
    assert info.nonmembers[1] == pytest.approx(correct[~is_member].mean())
    assert info.overlap == pytest.approx(1 - (info.members[1] - info.nonmembers[1]))
    assert info.counts.members.sum() == MEMBERS and info.counts.nonmembers.sum() == NONMEMBERS


def test_the_numbers_of_the_page(report):
    info = audit_info(report)
    correct, is_member = report.signals.correct, report.signals.is_member
    assert info.member_accuracy == correct[is_member].mean() and info.nonmember_accuracy == correct[~is_member].mean()
    assert (info.members, info.nonmembers, info.num_classes) == (MEMBERS, NONMEMBERS, CLASSES)
    assert info.roc.attacks == tuple(report.attacks) and info.roc.curves[1] is report.attacks["gap"].roc
    assert info.roc.grid[0] == pytest.approx(1 / NONMEMBERS) and info.roc.grid[-1] == pytest.approx(1)
    at_grid = [report.primary.roc.tpr_at(rate * (1 + 1e-9)) for rate in info.roc.grid]
    assert np.mean((info.roc.band_low <= at_grid) & (at_grid <= info.roc.band_high)) > 0.95


def test_the_page_needs_nothing_else_and_runs_only_its_own_scripts(report, tmp_path):
    text = write_audit(report, tmp_path, title="lab").read_text(encoding="utf-8")
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in {"link", "iframe", "object", "base"}
        for name in ("src", "href", "xlink:href"):
            assert re.match(r"#|data:", attributes.get(name) or "#")
    assert not re.search(r"@import|url\((?!#)|@font-face", text)
    assert set(running(page)) < own_scripts()
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labels = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg" and "aria-label" in attributes]
    assert len(labels) == 1 + len(report.attacks)


def test_every_table_has_as_many_cells_as_headings(report):
    widths: list[int] = []
    for tag, attributes in Page(render_audit(audit_info(report))).tags:
        if tag == "tr":
            widths.append(0)
        elif tag in {"th", "td"}:
            widths[-1] += int(attributes.get("colspan") or 1)
    attacks = len(report.attacks) + 1
    assert len(widths) == 2 * attacks + CLASSES + 1 + 20 + 1
    tables = widths[:attacks], widths[attacks : 2 * attacks], widths[2 * attacks : -21], widths[-21:]
    assert all(len(set(table)) == 1 for table in tables)


def test_the_page_shows_the_numbers_of_the_audit(report):
    root = Page(render_audit(audit_info(report), title="lab", facts={"Model": "tiny"})).root
    assert next(root.all("h1")).words.startswith("lab ") and next(root.all("dd")).words == "tiny"
    tables = ([list(row.all("td")) for row in table.all("tr")][1:] for table in root.all("table"))
    attacks, _, classes, exposed = tables
    for cells, (name, attack) in zip(attacks, report.attacks.items(), strict=True):
        metrics, rate = attack.metrics, attack.rates["1pct"]
        auc = f"{metrics['mia_auc']:.3f} [{metrics['mia_auc_low']:.3f}, {metrics['mia_auc_high']:.3f}]"
        assert cells[0].words.startswith(name) and cells[1].words == auc
        assert cells[3].words == f"{metrics['mia_balanced_accuracy']:.3f}"
        assert cells[4].words == f"{rate.tpr:.3f} [{rate.low:.3f}, {rate.high:.3f}]"
        assert cells[5].words == "not resolvable: 250 non-members, an FPR of 0.001 needs 1000"
        assert [cell.words for cell in cells[6:]] == ["300", "250", "12,345" if name == "label_only" else ""]
    for cells, entry in zip(classes, per_class_of(report), strict=True):
        assert [cell.words for cell in cells[:2]] == [str(entry.label), str(entry.members)]
        assert cells[3].words.startswith("not resolvable: 4" if entry.auc is None else f"{entry.auc:.3f} [")
    for cells, one in zip(exposed, audit_info(report).exposed.records[:20], strict=True):
        found = [f"{one.found} of {one.attacked}", f"{one.attacks} of {one.attacks_of}"]
        assert [cell.words for cell in cells] == [str(one.index), str(one.label), f"{one.percentile:.4f}", *found]


def test_attacks_together_are_on_the_page_and_in_json(report, tmp_path):
    path = write_audit(report, tmp_path)
    found = json.loads((path.parent / "metrics.json").read_text())
    combined, together = report.combined, found["agreement"]
    assert {key: found["combined"][key] for key in combined.metrics} == combined.metrics
    assert found["combined"]["members"] == MEMBERS and found["combined"]["rates"]["mia_tpr_at_1pct_fpr"]["tpr"] > 0.01
    assert together["attacks"] == list(report.attacks) and together["records"] == MEMBERS + NONMEMBERS
    root = Page(path.read_text(encoding="utf-8")).root
    assert any(f"AUC {combined.roc.auc:.3f} [" in one.words for one in root.all("p"))
    rows = [[cell.words for cell in row.all("td")] for row in list(root.all("table"))[1].all("tr")][1:]
    for at, (cells, name) in enumerate(zip(rows, report.attacks, strict=True)):
        assert cells[0] == name and cells[at + 1] == ""
        for other in range(at):
            assert cells[other + 1] == f"{together['rank_correlation'][at][other]:.2f}"
            share = together["overlap_at_1pct_fpr"][other][at]
            assert rows[other][at + 1] == ("–" if share is None else f"{share:.2f}")


def test_one_attack_alone_is_not_combined(null, tmp_path):
    path = write_audit(null, tmp_path)
    assert json.loads((path.parent / "metrics.json").read_text())["combined"] is None
    assert "Attacks together" not in path.read_text(encoding="utf-8")


def test_a_null_is_no_evidence(null):
    info = audit_info(null)
    text = render_audit(info)
    assert not info.verdict.leak and info.verdict.outcome == "no evidence of a leak"
    assert 'class="notice"' not in text and "Queries</th>" not in text


def test_a_stronger_attack_than_the_primary_one_is_pointed_out(report):
    weak_first = audit_signals(report.signals, attacks=["gap", "label_only", "loss_threshold"])
    info = audit_info(weak_first)
    assert info.stronger and all(
        attack.report.metrics["mia_auc_low"] > weak_first.primary.metrics["mia_auc_high"] for attack in info.stronger
    )
    assert "Judge the model by the strongest attack" in render_audit(info)
    assert audit_info(report).primary not in audit_info(report).stronger


def test_the_verdict_is_over_all_attacks_on_the_page_and_in_json(report, null, tmp_path):
    """The first attack finds nothing, the second does: the audit is one of a model that leaks."""
    attacks = {"first": null.primary, "rmia": report.primary}
    both = AuditReport(
        {name: dataclasses.replace(one, name=name) for name, one in attacks.items()},
        report.signals,
        max_auc=0.6,
        provenance={"Date": "2026-01-02", "Weights audited": "abc"},
    )
    found = json.loads((write_audit(both, tmp_path, facts={"Seed": "0"}).parent / "metrics.json").read_text())
    verdict = found["verdict"]
    assert verdict["leak"] is True and verdict["leading"] == "rmia" and verdict["level"] == 0.05
    assert verdict["p_values"] == dict(both.verdict.p_values) and verdict["text"] == str(both.verdict)
    assert verdict["threshold"] == {"max_auc": 0.6, "passed": False, "shown": False}
    assert found["provenance"] == {"Date": "2026-01-02", "Weights audited": "abc"}
    root = Page((tmp_path / "report.html").read_text(encoding="utf-8")).root
    (card,) = root.all("div", "verdict")
    assert next(card.all("div", "value")).words == "evidence of a leak"
    assert next(card.all("div", "more")).words.startswith(f"rmia leads: AUC {report.primary.roc.auc:.3f}")
    assert "exceeded" in card.words
    terms, values = ([one.words for one in root.all(tag)] for tag in ("dt", "dd"))
    facts = dict(zip(terms, values, strict=True))
    assert facts["Date"] == "2026-01-02" and facts["Threshold"].startswith("exceeded")
    assert facts["Records"].startswith(f"{MEMBERS} members, {NONMEMBERS} non-members; {CLASSES} classes")


def test_notices_and_class_counts_are_on_the_page_and_in_json(report, tmp_path):
    few = audit_signals(report.signals, attacks=["loss_threshold"], shared=MEMBERS)
    path = write_audit(few, tmp_path)
    found = json.loads((path.parent / "metrics.json").read_text())
    assert found["notices"] == list(few.notices) and len(few.notices) == 1
    shown = [one.words for one in Page(path.read_text(encoding="utf-8")).root.all("p", "notice")]
    assert shown == list(few.notices)
    labels, is_member = report.signals.labels, report.signals.is_member
    for label, (members, others) in found["records"]["classes"].items():
        assert members == np.count_nonzero(labels[is_member] == int(label))
        assert others == np.count_nonzero(labels[~is_member] == int(label))
    assert found["records"]["shared"] == MEMBERS and 0 < found["accuracy"]["balanced"] < 1


def test_hostile_text_stays_text(report, tmp_path):
    name = HOSTILE.replace("\0", "")  # a name in a zip file ends at a NUL, and no font has it
    hostile = named(report, name, "$x_$", "three")
    path = write_audit(hostile, tmp_path, title=HOSTILE, facts={HOSTILE: HOSTILE})
    page = Page(path.read_text(encoding="utf-8"))
    assert "img" not in {tag for tag, _ in page.tags} and set(running(page)) < own_scripts()
    assert "".join(page.text).count("alert(1)") >= 5
    found = json.loads((path.parent / "metrics.json").read_text())
    assert found["facts"] == {HOSTILE: HOSTILE} and found["attacks"][name]["description"] == ""


def test_extremes_can_be_shown(tmp_path):
    """A perfect attack, one whose scores are all equal, and the fewest records that can be audited."""
    labels = np.arange(40) % 2
    is_member = np.arange(40) < 20
    logits = np.zeros((40, 2))
    logits[np.arange(40), labels] = np.where(is_member, 50.0, 1.0)
    few = audit_signals(TargetSignals.from_logits(logits, labels, is_member), attacks=["loss_threshold", "gap"])
    assert few.primary.roc.auc == 1 and few.attacks["gap"].roc.auc == 0.5
    Page(write_audit(few, tmp_path).read_text())
    assert audit_info(few).attacks[1].histogram.overlap == 1


def test_more_attacks_than_colours_are_told_apart_by_their_lines(report):
    from nni_privacy.report.audit_page import draw_attack_rocs

    info = audit_info(named(report, "a", "b", "c"))
    many = dataclasses.replace(info.roc, attacks=info.roc.attacks * 4, curves=info.roc.curves * 4)
    lines = draw_attack_rocs(many).axes[0].get_lines()[1:]
    assert len({(line.get_color(), str(line.get_linestyle())) for line in lines}) == 12


@pytest.mark.parametrize("blocked", ["", "report.html", "scores.npz"])
def test_a_directory_that_cannot_be_written_is_a_data_error(null, tmp_path, blocked):
    folder = tmp_path / "audit"
    if blocked:
        (folder / blocked).mkdir(parents=True)
    else:
        folder.write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        write_audit(null, folder)
    assert list(tmp_path.rglob(".*")) == []


def test_a_full_disk_leaves_no_folder_without_its_page(
    report: AuditReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        if path.name == "report.html":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path.write_text(text)

    monkeypatch.setattr(audit_page, "replace_text", full)
    with pytest.raises(DataError, match="the audit cannot be written"):
        write_audit(report, tmp_path / "audit")
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(DataError):
        write_audit(report, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").exists()


def test_importing_the_page_of_an_audit_does_not_import_matplotlib_or_torch():
    command = "import sys, nni_privacy.report.audit_page; print('matplotlib' in sys.modules, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False"]
