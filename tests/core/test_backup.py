"""Copies of a data folder: made while a box writes, restored elsewhere, equal in all they hold; damage is refused."""

from __future__ import annotations

import dataclasses
import json
import threading

import pytest
from site_folders import write_site
from store_box import Life
from store_hours import life_of_hours
from store_sites import site_of
from typer.testing import CliRunner

import minewatch
from mines.errors import StoreError
from mines.model import Actor
from mines.store.backup import MANIFEST, back_up, logical_hashes, restore
from mines.store.disk import SystemDisk
from mines.store.layout import DataFolder
from mines.store.ledger import Ledger
from mines.store.packing import pack_sealed
from mines.store.proof import extend
from mines.store.verify import verify


@pytest.fixture
def site(tmp_path):
    site = site_of(tmp_path / "site", {"s": 4, "t": 2})
    life_of_hours(site)
    with Ledger(DataFolder(site.data).ledger_db) as ledger:
        ledger.append(Actor("d1", "李", "dispatcher", "desk"), "acknowledge", [("s.0/high_alarm", 1)], time_ms=1)
    pack_sealed(DataFolder(site.data), SystemDisk())
    extend(DataFolder(site.data), SystemDisk(), time_ms=1)
    return site


def test_a_restored_folder_holds_the_same_and_a_box_goes_on_in_it(site, tmp_path):
    manifest = back_up(site.data, tmp_path / "copy")
    elsewhere = tmp_path / "elsewhere"
    assert restore(tmp_path / "copy", elsewhere) == manifest
    assert logical_hashes(elsewhere) == logical_hashes(site.data) == manifest["logical"]
    assert manifest["logical"]["rows"] > 200
    assert verify(DataFolder(elsewhere)).problem == ""
    life = Life(dataclasses.replace(site, data=elsewhere), boot="after")
    life.run(1)
    life.store.close()


def test_a_copy_made_while_the_box_writes_and_packs_is_whole(site, tmp_path):
    stop, life = threading.Event(), Life(site, boot="b2")

    def write() -> None:
        while not stop.is_set():
            life.commit(life.frame(events=[]))
            stop.wait(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = [back_up(site.data, tmp_path / f"copy{k}") for k in range(3)]
    finally:
        stop.set()
        writer.join(20)
        life.store.close()
    for number, manifest in enumerate(copies):
        elsewhere = tmp_path / f"elsewhere{number}"
        assert restore(tmp_path / f"copy{number}", elsewhere) == manifest
        assert verify(DataFolder(elsewhere)).problem == ""
        again = Life(dataclasses.replace(site, data=elsewhere), boot="after")
        assert again.store.recovered == []
        again.store.close()
    assert copies[-1]["logical"]["rows"] >= copies[0]["logical"]["rows"]


@pytest.mark.parametrize("damage", ["altered", "missing", "another row"])
def test_a_damaged_copy_is_refused_and_leaves_nothing(site, tmp_path, damage):
    back_up(site.data, tmp_path / "copy")
    (raw,) = (tmp_path / "copy" / "raw").iterdir()
    if damage == "altered":
        raw.write_bytes(raw.read_bytes()[:-1] + b"\1")
    elif damage == "missing":
        raw.unlink()
    else:
        manifest = json.loads((tmp_path / "copy" / MANIFEST).read_bytes())
        manifest["logical"]["rows"] += 1
        (tmp_path / "copy" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StoreError):
        restore(tmp_path / "copy", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "elsewhere.part").exists()


def test_a_copy_names_no_file_outside_itself(site, tmp_path):
    back_up(site.data, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy" / MANIFEST).read_bytes())
    manifest["files"][0]["name"] = "../escape"
    (tmp_path / "copy" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="outside"):
        restore(tmp_path / "copy", tmp_path / "elsewhere")


def test_nothing_that_is_there_is_written_over(site, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(StoreError, match="already"):
        back_up(site.data, tmp_path / "there")
    back_up(site.data, tmp_path / "copy")
    with pytest.raises(StoreError, match="already"):
        restore(tmp_path / "copy", site.data)


def test_the_commands_print_equal_logical_hashes(site, tmp_path):
    runner, good = CliRunner(), write_site(tmp_path / "good")
    made = runner.invoke(
        minewatch.app, ["backup", str(good), "--data", str(site.data), "--out", str(tmp_path / "copy"), "--json"]
    )
    assert made.exit_code == 0, made.output
    back = runner.invoke(minewatch.app, ["restore", str(tmp_path / "copy"), "--data", str(tmp_path / "e"), "--json"])
    assert back.exit_code == 0, back.output
    first, second = json.loads(made.stdout), json.loads(back.stdout)
    assert first["logical"] == second["logical"]
    assert (first["files"], second["out"]) == (second["files"], str(tmp_path / "e"))
