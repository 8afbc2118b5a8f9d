"""What is no file in place of a file is named with what to do, and never waited for."""

import re
import shutil
from pathlib import Path

import pytest

from fti_assets.cli.commands import main
from fti_assets.errors import DamagedError, StoreError
from fti_assets.stores.bundles.archive import unpack
from fti_assets.stores.file_kinds import check_folder, kind_of
from fti_assets.stores.files import read_file
from fti_assets.stores.locks import hold_lock
from fti_assets.stores.models.store import ModelStore
from tests.graphs import constant_graph
from tests.support.odd_files import ODD_FILES

NO_FOLDERS = [kind for kind in ODD_FILES if kind != "a folder"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with a graph that is champion."""
    file = tmp_path_factory.mktemp("graph") / "model.onnx"
    file.write_bytes(constant_graph())
    root = tmp_path_factory.mktemp("stores") / "models"
    main(["publish", "delay_net", str(file), "--models", str(root)])
    return root


@pytest.fixture
def models(published: Path, tmp_path: Path) -> ModelStore:
    return ModelStore(shutil.copytree(published, tmp_path / "models"), lock_timeout=5)


@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_lies_at_a_path_is_told_apart(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "one"
    assert kind_of(path) is None
    ODD_FILES[kind](path)
    assert kind_of(path) == kind
    with pytest.raises(DamagedError, match=f"{path} is {kind} where a file belongs: restore the file from a copy"):
        read_file(path)


def test_links_to_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "other").symlink_to("one")
    assert read_file(tmp_path / "other") == b"1"
    assert read_file(tmp_path / "none") is None


@pytest.mark.parametrize("kind", NO_FOLDERS)
def test_what_is_no_folder_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model"
    ODD_FILES[kind](path)
    expected = f"{path} is {kind} where a folder belongs: move it away"
    with pytest.raises(DamagedError, match=expected):
        check_folder(path)
    with pytest.raises(StoreError, match=re.escape(str(path))), hold_lock(path / ".lock", timeout=5):
        pass


@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_is_in_place_of_a_lock_is_named(tmp_path: Path, kind: str) -> None:
    ODD_FILES[kind](tmp_path / ".lock")
    before = sorted(tmp_path.iterdir())
    with (
        pytest.raises(DamagedError, match=rf"\.lock is {kind} where a file belongs: remove it, and do it again"),
        hold_lock(tmp_path / ".lock"),
    ):
        pass
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ODD_FILES)
def test_aliases_that_are_no_file_are_neither_read_nor_replaced(models: ModelStore, kind: str) -> None:
    reference = models.champion("delay_net").reference
    path = models.aliases_file("delay_net")
    path.unlink()
    ODD_FILES[kind](path)
    expected = f"{path} is {kind} where a file belongs: restore it from a copy, or remove it and promote a build"
    with pytest.raises(DamagedError, match=expected):
        models.champion("delay_net")
    with pytest.raises(DamagedError, match=expected):
        models.promote("delay_net", reference, expected=None, reason="by hand")
    assert kind_of(path) == kind
    path.rmdir() if kind == "a folder" else path.unlink()
    assert models.promote("delay_net", reference, expected=None, reason="by hand").champion == reference


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx"])
@pytest.mark.parametrize("kind", ODD_FILES)
def test_a_builds_file_that_is_none_is_named(models: ModelStore, name: str, kind: str) -> None:
    reference = models.champion("delay_net").reference
    path = models.root / "delay_net" / reference / name
    path.unlink()
    ODD_FILES[kind](path)
    with pytest.raises(
        DamagedError, match=f"{path} is {kind} where a file belongs: restore it from a copy, or make another"
    ):
        models.load("delay_net", reference)


@pytest.mark.parametrize("kind", NO_FOLDERS)
def test_models_folder_that_is_none_is_named(tmp_path: Path, kind: str) -> None:
    models = ModelStore(tmp_path / "models")
    ODD_FILES[kind](models.root)
    for use in (models.models, lambda: models.champion("delay_net")):
        with pytest.raises(DamagedError, match=f"{models.root} is {kind} where a folder belongs"):
            use()


@pytest.mark.parametrize("kind", ODD_FILES)
def test_commands_name_what_is_no_file(models: ModelStore, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = models.aliases_file("delay_net")
    path.unlink()
    ODD_FILES[kind](path)
    publish = ["publish", "delay_net", str(path)]
    for command in (["models"], ["models", "delay_net"], *[publish] * (kind != "a folder")):  # click refuses folders
        assert main([*command, "--models", str(models.root)]) != 0
        assert f"{path} is {kind} where a file belongs" in "".join(capsys.readouterr())


@pytest.mark.parametrize("kind", ODD_FILES)
def test_a_bundle_that_is_no_file_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "one.bundle"
    ODD_FILES[kind](path)
    with pytest.raises(DamagedError, match=f"{path} is {kind} where a file belongs: copy it again"):
        unpack(path)


@pytest.mark.parametrize("name", ["aliases.json", "manifest.json"])
def test_a_cut_file_is_damage_with_what_to_do(models: ModelStore, name: str) -> None:
    (path,) = models.root.rglob(name)
    path.write_bytes(b"")
    with pytest.raises(DamagedError, match=rf"{path} cannot be read as .*It is damaged: restore it from a copy, or "):
        models.champion("delay_net")
