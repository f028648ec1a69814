"""The points of a snapshot as text are what json would write of the same rows."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_sites import make_point as some_point

from mines.clock import NO_TIME_MS
from mines.process_image import ProcessImage
from mines.snapshot_points import PointsPicture, id_texts, points_text


def expected_rows(picture: PointsPicture) -> list[list]:
    def number(value: float) -> float | None:
        return value if np.isfinite(value) else None

    def time(time_ms: int) -> int | None:
        return None if time_ms == NO_TIME_MS else time_ms

    return [
        [
            number(float(picture.value[i])),
            int(picture.quality[i]),
            None if picture.age_ms[i] < 0 else int(picture.age_ms[i]),
            int(picture.freshness[i]),
            time(int(picture.receive_time_ms[i])),
            time(int(picture.source_time_ms[i])),
            number(float(picture.usable_value[i])),
            time(int(picture.usable_time_ms[i])),
        ]
        for i in range(len(picture.value))
    ]


VALUES = st.sampled_from([0.0, -0.0, 20.1, 1e300, 5e-324, float("nan"), float("inf"), float("-inf"), 0.1])
TIMES = st.sampled_from([NO_TIME_MS, 0, 1_700_000_000_000, 1_700_000_000_001])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 600), st.data())
def test_the_text_is_what_json_would_write_of_every_row(n, data):
    def column(values, dtype):
        """A pattern of a few values over all points: whole pieces alike, and mixed ones."""
        few = data.draw(st.lists(values, min_size=1, max_size=3))
        return np.resize(np.array(few, dtype=dtype), n)

    value, receive = column(VALUES, np.float64), column(TIMES, np.int64)
    alike = data.draw(st.booleans())
    picture = PointsPicture(
        value=value,
        quality=column(st.integers(0, 65_535), np.uint16),
        age_ms=column(st.sampled_from([-1, 0, 999, 10**9]), np.int64),
        freshness=column(st.integers(0, 4), np.uint8),
        receive_time_ms=receive,
        source_time_ms=column(TIMES, np.int64),
        usable_value=value if alike else column(VALUES, np.float64),
        usable_time_ms=receive if alike else column(TIMES, np.int64),
    )
    ids = tuple(json.dumps(f"p{i}") for i in range(n))
    read = json.loads("{" + ",".join(points_text(ids, picture)) + "}")
    expected = {f"p{i}": row for i, row in enumerate(expected_rows(picture))}
    assert json.dumps(read) == json.dumps(expected)


def test_a_picture_does_not_change_with_the_image():
    image = ProcessImage([some_point("a"), some_point("b")])
    picture = PointsPicture.of(image, 0)
    before = list(points_text(id_texts([some_point("a"), some_point("b")]), picture))
    for column in (image.value, image.usable_value, image.quality, image.receive_time_ms, image.usable_time_ms):
        column[:] = 7
    assert list(points_text(['"a"', '"b"'], picture)) == before


@pytest.mark.parametrize("name", ["a.1", '引号"', "瓦斯"], ids=["plain", "quote", "chinese"])
def test_an_id_is_escaped_as_json_wants_it(name):
    point = some_point(name)
    text = next(points_text(id_texts([point]), PointsPicture.of(ProcessImage([point]), 0)))
    assert list(json.loads("{" + text + "}")) == [name]
