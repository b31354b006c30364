"""The overlay: made once, exactly or not at all, and never through the installed package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nni_privacy.errors import RuntimeRepairError
from nni_privacy.nni_runtime import install, make_overlay, overlay, repairs_report
from nni_privacy.nni_runtime.patches.registry import PATCHES

pytestmark = pytest.mark.usefixtures("nni_as_published")

MAKE = "from nni_privacy.nni_runtime import make_overlay; print(make_overlay())"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NNI_PRIVACY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small_source(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files that have patches, small enough to change and copy in each test."""
    installed = overlay.find_node_package()
    copy = tmp_path / "site" / "nni_node"
    names = {"main.js", "package.json", "__init__.py"}
    for patch in PATCHES.values():
        for edit in patch.edits:
            names |= {path.relative_to(installed).as_posix() for path in installed.glob(edit.file)}
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(installed / name, copy / name)
    monkeypatch.setattr(overlay, "find_node_package", lambda: copy)
    return copy


def test_patches_fit_the_installed_nni_and_its_files_stay_as_they_were(cache: Path) -> None:
    source = overlay.find_node_package()
    compat = source / "training_service" / "v3" / "compat.js"
    before = compat.read_bytes()
    made = make_overlay()
    assert compat.read_bytes() == before
    patched = made / "nni_node" / "training_service" / "v3" / "compat.js"
    assert patched.read_bytes() != before
    assert patched.stat().st_nlink == 1
    assert os.access(made / "nni_node" / "node", os.X_OK)


def test_the_overlay_holds_every_file_of_the_source(small_source: Path) -> None:
    made = make_overlay() / "nni_node"
    names = [path.relative_to(small_source) for path in small_source.rglob("*") if path.is_file()]
    assert sorted(names) == sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())


def test_a_second_call_finds_the_first_overlay(small_source: Path) -> None:
    first = make_overlay()
    state = (first / overlay.MARKER).stat()
    assert make_overlay() == first
    assert (first / overlay.MARKER).stat().st_ino == state.st_ino


def test_left_out_patches_make_another_overlay(small_source: Path) -> None:
    whole, partial = make_overlay(), make_overlay(without={"pairing"})
    assert whole != partial
    text = (partial / "nni_node" / "training_service" / "v3" / "compat.js").read_text()
    assert "this.parameters.shift()" in text and "unpairedTrials" not in text


def test_a_changed_source_makes_a_new_overlay(small_source: Path) -> None:
    first = make_overlay()
    (small_source / "package.json").write_text('{"name": "another release"}')
    second = make_overlay()
    assert second != first
    assert (second / "nni_node" / "package.json").read_text() == '{"name": "another release"}'


@pytest.mark.parametrize("name", sorted(PATCHES))
def test_an_anchor_that_is_gone_names_the_patch_and_leaves_nothing(name: str, small_source: Path, cache: Path) -> None:
    edit = PATCHES[name].edits[0]
    (file,) = small_source.glob(edit.file)
    file.write_text(file.read_text().replace(edit.anchor, "/* rewritten */"))
    with pytest.raises(RuntimeRepairError, match=rf"patch '{name}'.*{file.name}.*found 0 time") as caught:
        make_overlay()
    assert "\n" not in str(caught.value)
    assert not list(cache.rglob("*"))


def test_an_anchor_that_stands_twice_is_refused(small_source: Path) -> None:
    file = small_source / "rest_server" / "index.js"
    file.write_text(file.read_text() + "\nthis.server = app.listen(this.port);\n")
    with pytest.raises(RuntimeRepairError, match=r"'loopback'.*found 2 time"):
        make_overlay()


def test_a_missing_file_is_refused(small_source: Path) -> None:
    (small_source / "training_service" / "v3" / "compat.js").unlink()
    with pytest.raises(RuntimeRepairError, match=r"'pairing'.*found 0"):
        make_overlay()


def test_an_unknown_patch_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(RuntimeRepairError, match="did you mean 'pairing'"):
        make_overlay(without={"paring"})


def test_a_failure_while_copying_leaves_nothing_half_made(
    small_source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(shutil, "copymode", fail)
    with pytest.raises(RuntimeRepairError, match=r"no space left.*NNI_PRIVACY_CACHE"):
        make_overlay()
    assert not list((cache / "overlays").iterdir())


def test_without_hard_links_the_files_are_copied(small_source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", fail)
    copied = make_overlay() / "nni_node" / "package.json"
    assert copied.stat().st_nlink == 1
    assert copied.read_bytes() == (small_source / "package.json").read_bytes()


def test_a_damaged_overlay_is_made_anew(small_source: Path) -> None:
    made = make_overlay()
    file = made / "nni_node" / "training_service" / "v3" / "compat.js"
    good = file.read_bytes()
    file.write_text("damaged")
    assert make_overlay() == made
    assert file.read_bytes() == good


def test_two_makers_at_once_end_in_one_good_overlay(cache: Path) -> None:
    makers = [subprocess.Popen([sys.executable, "-c", MAKE], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [maker.communicate(timeout=60)[0].strip() for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0]
    assert outputs[0] == outputs[1]
    assert [path.name for path in (cache / "overlays").iterdir()] == [Path(outputs[0]).name]
    assert str(make_overlay()) == outputs[0]


def test_an_overlay_first_on_the_path_is_not_taken_for_the_source(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, made = overlay.find_node_package(), make_overlay()
    monkeypatch.setattr(sys, "path", [str(made), *sys.path])
    assert overlay.find_node_package() == source
    monkeypatch.setattr(overlay.metadata, "distribution", _not_found)
    assert overlay.find_node_package() == source


def test_install_can_be_called_twice_and_after_nni_is_imported(cache: Path) -> None:
    import nni_node

    assert "overlays" not in nni_node.__path__[0]
    first = install()
    length = len(sys.path)
    assert install() == first
    assert sys.path[0] == str(first) and len(sys.path) == length
    import nni_node  # as NNI's launcher does, when it starts a manager

    assert nni_node.__path__[0] == str(first / "nni_node")
    assert all(status.active and status.why for status in repairs_report())


def test_install_without_a_patch_says_so_in_the_report(cache: Path) -> None:
    install()
    install(without={"pairing", "chart_parameters"})
    assert {status.name for status in repairs_report() if not status.active} == {"pairing", "chart_parameters"}


def test_nothing_is_active_before_install() -> None:
    program = (
        "import sys; from nni_privacy.nni_runtime import repairs_report; assert 'torch' not in sys.modules; "
        "assert not any(status.active for status in repairs_report())"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def _not_found(name: str) -> None:
    raise overlay.metadata.PackageNotFoundError(name)
