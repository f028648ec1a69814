"""A point's history stays with the point, whatever happens to the file; a change of the site is told once, in full."""

from __future__ import annotations

import dataclasses
import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_sites import make_point, make_site

from mines.errors import StoreError
from mines.model import Point
from mines.store.disk import SystemDisk, open_reader
from mines.store.points_registry import PointsRegistry, read_key, read_known, read_site_files, read_sites
from mines.store.site_change import SiteChange, point_fields


@pytest.fixture
def registry(tmp_path):
    opened = PointsRegistry(tmp_path / "points.db", SystemDisk())
    yield opened
    opened.close()


class Keeper:
    """Accepts sites one after the other and says which key each point has."""

    def __init__(self, folder: Path, registry: PointsRegistry) -> None:
        self.folder, self.registry, self.time_ms = folder, registry, 1_000

    def accept(self, *points: Point, sources=("s",)) -> tuple[dict[str, int], SiteChange | None]:
        self.time_ms += 1_000
        site = make_site(self.folder / "site", points, sources)
        change = self.registry.accept(site, {"points.csv": site.sha256.encode()}, time_ms=self.time_ms)
        keys = {
            point.id: key
            for source in self.registry.source_keys(site)
            for point, key in zip(site.points_of(source.id), source.keys, strict=True)
        }
        return keys, change


@pytest.fixture
def keeper(tmp_path, registry):
    return Keeper(tmp_path, registry)


def test_keys_outlive_restarts_and_any_order(tmp_path):
    points = [make_point(f"p{i}") for i in range(6)]
    first = PointsRegistry(tmp_path / "points.db", SystemDisk())
    keys, _ = Keeper(tmp_path, first).accept(*points)
    first.close()
    second = PointsRegistry(tmp_path / "points.db", SystemDisk())
    moved = [dataclasses.replace(point, source="t") for point in reversed(points)]
    again, _ = Keeper(tmp_path, second).accept(*moved, sources=("t",))
    second.close()
    assert again == keys
    assert len(set(keys.values())) == 6


def test_rename_keeps_the_key_and_the_column_may_stay(keeper):
    before, _ = keeper.accept(make_point("a"), make_point("x"))
    renamed, change = keeper.accept(make_point("b", formerly="a"), make_point("x"))
    later, _ = keeper.accept(make_point("x"), make_point("b", formerly="a"), make_point("y"))
    assert renamed["b"] == later["b"] == before["a"]
    assert change.renamed == (("a", "b"),)
    assert (change.added, change.removed, change.changed) == ((), (), {})


def test_two_points_may_swap_their_names(keeper):
    before, _ = keeper.accept(make_point("a"), make_point("b"))
    swapped, _ = keeper.accept(make_point("a", formerly="b"), make_point("b", formerly="a"))
    later, _ = keeper.accept(make_point("b", formerly="a"), make_point("a", formerly="b"), make_point("c"))
    assert swapped == {"a": before["b"], "b": before["a"]}
    assert {"a": later["a"], "b": later["b"]} == swapped


def test_names_may_move_along_a_chain(keeper):
    before, _ = keeper.accept(make_point("a"), make_point("b"))
    after, _ = keeper.accept(make_point("b", formerly="a"), make_point("c", formerly="b"))
    assert after == {"b": before["a"], "c": before["b"]}


def test_a_renamed_points_old_name_may_begin_a_new_history(keeper):
    before, _ = keeper.accept(make_point("a"))
    keeper.accept(make_point("b", formerly="a"))
    after, _ = keeper.accept(make_point("b", formerly="a"), make_point("a"))
    assert after["b"] == before["a"]
    assert after["a"] != before["a"]


@pytest.mark.parametrize(
    "claims",
    [[("b", "a"), ("c", "a")], [("a", ""), ("c", "a")]],
    ids=["two points claim it", "it is still there itself"],
)
def test_a_disputed_history_goes_to_nobody_else(keeper, claims):
    before, _ = keeper.accept(make_point("a"))
    after, _ = keeper.accept(*(make_point(point, formerly=formerly) for point, formerly in claims))
    assert {point for point, key in after.items() if key == before["a"]} <= {"a"}
    assert len(set(after.values())) == len(after)


def test_a_new_unit_is_a_new_key_and_the_old_unit_goes_on_with_the_old_one(keeper):
    percent, _ = keeper.accept(make_point("a", unit="%CH4"))
    ppm, change = keeper.accept(make_point("a", unit="ppm"))
    back, _ = keeper.accept(make_point("a", unit="%CH4"))
    assert ppm["a"] != percent["a"]
    assert back["a"] == percent["a"]
    assert change.re_united == (("a", "%CH4", "ppm"),)
    assert (change.added, change.removed) == ((), ())


def test_a_point_that_comes_back_goes_on_with_its_key(keeper):
    before, _ = keeper.accept(make_point("a"), make_point("b"))
    _, change = keeper.accept(make_point("b"))
    after, _ = keeper.accept(make_point("b"), make_point("a"))
    assert change.removed == ("a",)
    assert after == before


def test_a_new_range_is_a_new_row_of_validity_of_the_same_key(keeper, tmp_path):
    first, _ = keeper.accept(make_point("a", range_low=0.0, range_high=4.0, scale=0.01))
    second, change = keeper.accept(make_point("a", range_low=0.0, range_high=10.0, scale=0.01))
    rows = read_all(tmp_path, "SELECT scale, range_high, valid_from_ms, valid_to_ms FROM validity ORDER BY row")
    assert second == first
    assert change.changed == {"a": {"range_high": [4.0, 10.0]}}
    assert rows == [(0.01, 4.0, 2_000, 3_000), (0.01, 10.0, 3_000, None)]


def test_a_limit_is_a_change_of_the_site_but_not_of_the_key(keeper, tmp_path):
    keeper.accept(make_point("a", high_alarm=1.0))
    _, change = keeper.accept(make_point("a", high_alarm=1.5))
    assert change.changed == {"a": {"high_alarm": [1.0, 1.5]}}
    assert len(read_all(tmp_path, "SELECT * FROM validity")) == 1


def test_a_change_is_told_until_it_is_announced(keeper):
    _, first = keeper.accept(make_point("a"))
    _, again = keeper.accept(make_point("a"))
    assert first.previous_sha256 is None
    assert first.added == ("a",)
    assert again == first
    keeper.registry.announced()
    assert keeper.accept(make_point("a"))[1] is None


def test_a_change_goes_through_json_and_back(keeper):
    keeper.accept(make_point("a"), make_point("b", states={1: "开"}), make_point("c"), make_point("d"))
    _, change = keeper.accept(
        make_point("a2", formerly="a"), make_point("b", states={1: "关"}), make_point("c", unit="ppm"), make_point("e")
    )
    document = json.loads(json.dumps(change.to_json(), allow_nan=False))
    assert SiteChange.from_json(document) == change
    assert document["changed"] == {"b": {"states": [{"1": "开"}, {"1": "关"}]}}
    assert (document["added"], document["removed"]) == (["e"], ["d"])


def test_accepted_sites_are_kept_to_the_byte(keeper, tmp_path):
    for points in ([make_point("a")], [make_point("b")], [make_point("a")]):
        keeper.accept(*points)
    database = open_reader(tmp_path / "points.db")
    sites = read_sites(database)
    files = read_site_files(database, sites[0].sha256)
    database.close()
    assert [site.time_ms for site in sites] == [2_000, 3_000, 4_000]
    assert sites[0].sha256 == sites[2].sha256 != sites[1].sha256
    assert files == {"points.csv": sites[0].sha256.encode()}


def test_an_id_means_the_live_point_and_an_old_id_what_it_last_was(keeper, tmp_path):
    first, _ = keeper.accept(make_point("a", unit="%CH4"), make_point("old"), make_point("gone"))
    second, _ = keeper.accept(make_point("a", unit="ppm"), make_point("new", formerly="old"))
    database = open_reader(tmp_path / "points.db")
    meant = {name: read_key(database, name) for name in ("a", "old", "new", "gone", "never")}
    database.close()
    assert meant == {"a": second["a"], "old": first["old"], "new": first["old"], "gone": first["gone"], "never": None}


def test_every_field_of_a_point_can_be_told(keeper):
    """A change of any field must be seen, also of one that is added to the model later."""
    point = make_point("a", sentinels=(1.0, 2.0), states={0: "停", 1: "开"})
    assert set(point_fields(point)) == {field.name for field in dataclasses.fields(Point)}


def test_a_registry_of_another_schema_is_refused(tmp_path, registry):
    registry._database.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="schema 99"):
        PointsRegistry(tmp_path / "points.db", SystemDisk())


def read_all(tmp_path: Path, sql: str) -> list[tuple]:
    database = open_reader(tmp_path / "points.db")
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


@dataclasses.dataclass(eq=False)
class Instrument:
    """A thing in the mine: what it is called may change, what it is does not."""

    id: str
    unit: str = "%CH4"
    formerly: str = ""
    there: bool = True


def change_something(instruments: list[Instrument], rng: random.Random) -> None:
    """One thing that people do to a point list."""
    there = [instrument for instrument in instruments if instrument.there]
    one = rng.choice(instruments)
    what = rng.choice(["add", "remove", "return", "rename", "rotate", "re-unit", "shuffle"])
    if what == "add":
        instruments.append(Instrument(f"p{len(instruments)}"))
    elif what == "remove" and len(there) > 1:
        one.there = False
    elif what == "return":
        one.there = True
    elif what == "rename" and one.there:
        one.id, one.formerly = one.id + "'", one.id
    elif what == "rotate" and len(there) > 2:
        rotate_names(rng.sample(there, rng.choice([2, 3])))
    elif what == "re-unit":
        one.unit = rng.choice(["%CH4", "ppm", "mg/m3"])
    rng.shuffle(instruments)


def rotate_names(chosen: list[Instrument]) -> None:
    names = [instrument.id for instrument in chosen]
    said = {(instrument.id, instrument.formerly) for instrument in chosen}
    moved = list(zip(chosen, names[1:] + names[:1], names, strict=True))
    if all((new, old) not in said for _, new, old in moved):  # else the file says what it said before: no news
        for instrument, new, old in moved:
            instrument.id, instrument.formerly = new, old


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
def test_history_stays_with_its_point_through_any_life_of_the_file(seed):
    rng = random.Random(seed)
    instruments = [Instrument(f"p{i}") for i in range(4)]
    owner: dict[int, tuple[Instrument, str]] = {}
    last: dict[int, tuple[int, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        registry = PointsRegistry(Path(folder) / "points.db", SystemDisk())
        keeper = Keeper(Path(folder), registry)
        for _ in range(12):
            there = [instrument for instrument in instruments if instrument.there]
            keys, _ = keeper.accept(*(make_point(i.id, unit=i.unit, formerly=i.formerly) for i in there))
            assert len(set(keys.values())) == len(there)
            for instrument in there:
                key = keys[instrument.id]
                # no key ever serves two instruments, or one instrument in two units
                assert owner.setdefault(key, (instrument, instrument.unit)) == (instrument, instrument.unit)
                before = last.get(id(instrument))
                if before is not None and before[1] == instrument.unit:
                    assert key == before[0]
                last[id(instrument)] = (key, instrument.unit)
            for instrument in instruments:
                if not instrument.there:
                    last.pop(id(instrument), None)
            change_something(instruments, rng)
        assert len(read_known(registry._database)) == len(owner)
        registry.close()
