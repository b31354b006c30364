"""Caches are this user's alone: whatever another user could have put there is refused before it is used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from nni_privacy.auditing.shadows.cache import ShadowCache
from nni_privacy.errors import ConfigError, RuntimeRepairError
from nni_privacy.files import CACHE_VARIABLE, cache_folder, private_folder
from nni_privacy.nni_runtime import install, make_overlay

NOBODY = 65534


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_all_caches_are_in_one_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    for variable, value, expected in (
        (CACHE_VARIABLE, "~/c", tmp_path / "c"),
        (CACHE_VARIABLE, str(tmp_path / "d"), tmp_path / "d"),
        ("XDG_CACHE_HOME", str(tmp_path / "x"), tmp_path / "x" / "nni-privacy"),
        (CACHE_VARIABLE, "", tmp_path / ".cache" / "nni-privacy"),
    ):
        with monkeypatch.context() as patch:
            patch.delenv("XDG_CACHE_HOME", raising=False)
            patch.setenv(variable, value)
            assert cache_folder() == expected
            assert cache_folder("shadows") == expected / "shadows"


def test_folders_are_made_for_this_user_alone(cache: Path) -> None:
    assert private_folder(cache_folder("a", "b")) == cache / "a" / "b"
    assert [mode(path) for path in (cache, cache / "a", cache / "a" / "b")] == [0o700] * 3


def test_one_of_ours_that_others_may_read_is_closed(cache: Path) -> None:
    (cache / "shadows").mkdir(parents=True)
    cache.chmod(0o755)
    (cache / "shadows").chmod(0o755)
    private_folder(cache / "shadows")
    assert mode(cache / "shadows") == 0o700
    assert mode(cache) == 0o755  # the user has named it and may have other things there


@pytest.mark.parametrize("bits", [0o777, 0o770, 0o707, 0o720, 0o702, 0o1777])
@pytest.mark.parametrize("part", ["", "overlays"])
def test_a_folder_that_others_may_write_to_is_refused_before_it_is_used(cache: Path, bits: int, part: str) -> None:
    (cache / part).mkdir(parents=True, exist_ok=True)
    (cache / part).chmod(bits)
    with pytest.raises(RuntimeRepairError, match=rf"others may write to {cache / part} \(mode {bits:03o}") as caught:
        install()
    assert "\n" not in str(caught.value)
    assert not (cache / "overlays").exists() or not list((cache / "overlays").iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders to others")
@pytest.mark.parametrize("part", ["", "shadows"])
def test_a_folder_of_another_user_is_refused(cache: Path, part: str) -> None:
    (cache / part).mkdir(parents=True, exist_ok=True)
    os.chown(cache / part, NOBODY, NOBODY)
    with pytest.raises(ConfigError, match=f"belongs to another user .uid {NOBODY}.*{CACHE_VARIABLE}"):
        ShadowCache(cache / "shadows")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give links to others")
def test_a_link_of_another_user_is_refused(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o700)
    cache.symlink_to(tmp_path / "mine")
    os.chown(cache, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(ConfigError, match="a link of another user's"):
        private_folder(cache / "shadows")


def test_a_folder_inside_one_that_everybody_may_write_to_is_refused_unless_it_is_sticky(tmp_path: Path) -> None:
    common = tmp_path / "common"
    common.mkdir()
    common.chmod(0o777)
    with pytest.raises(ConfigError, match=f"every user may write to {common}"):
        private_folder(common / "cache")
    common.chmod(0o1777)
    private_folder(common / "cache")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders to others")
@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_folder_inside_another_users_or_a_groups_is_refused(tmp_path: Path, through_a_link: bool) -> None:
    above = tmp_path / "above"
    above.mkdir(mode=0o755)
    cache = above / "cache"
    if through_a_link:
        (tmp_path / "link").symlink_to(above)
        cache = tmp_path / "link" / "cache"
    os.chown(above, NOBODY, 0)
    with pytest.raises(ConfigError, match=f"another user's .uid {NOBODY}"):
        private_folder(cache)
    os.chown(above, 0, NOBODY)
    above.chmod(0o2775)
    with pytest.raises(ConfigError, match="a group may write to"):
        private_folder(cache)
    os.chown(above, 0, 0)  # a group of this user's own
    private_folder(cache)


def test_a_file_in_the_place_of_a_folder_is_refused(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    (cache / "shadows").touch()
    with pytest.raises((ConfigError, FileExistsError)):
        private_folder(cache / "shadows")


PLANTED = {
    "a patched file": "rest_server/index.js",
    "a file that no patch touches": "common/log.js",
    "a further module": "node_modules/planted/index.js",
    "a compiled module": "__pycache__/__init__.cpython-311.pyc",
}


def test_a_link_to_a_folder_in_an_overlay_is_not_followed(cache: Path, tmp_path: Path) -> None:
    made = make_overlay() / "nni_node"
    (tmp_path / "elsewhere").mkdir()
    (made / "node_modules" / "planted").symlink_to(tmp_path / "elsewhere")
    assert make_overlay() / "nni_node" == made
    assert not (made / "node_modules" / "planted").is_symlink()


@pytest.mark.parametrize("kind", PLANTED)
def test_what_somebody_put_into_an_overlay_is_not_run(cache: Path, tmp_path: Path, kind: str) -> None:
    made = make_overlay() / "nni_node"
    planted = made / PLANTED[kind]
    planted.parent.mkdir(parents=True, exist_ok=True)
    good = planted.read_bytes() if planted.exists() else None
    planted.unlink(missing_ok=True)  # it may be a hard link to the installed file
    planted.write_text("process.exit(1)")
    assert make_overlay() / "nni_node" == made
    assert (planted.read_bytes() if planted.exists() else None) == good
