"""Box time follows a wall clock that can be believed and goes on by itself where it cannot."""

from mines.box_time import BoxTime
from mines.clock import ManualClock

T = 1_700_000_000_000


def started(last_sure_ms=0):
    clock = ManualClock(T, 5_000_000_000)
    return clock, BoxTime(clock, last_sure_ms)


def test_box_time_is_the_wall_clock_while_it_runs_on():
    clock, time = started()
    for _ in range(40):
        clock.advance_ms(250)
        assert time.look() == 0
    assert (time.wall_ms(), time.unsure) == (T + 10_000, False)


def test_small_forward_step_is_taken_and_said():
    clock, time = started()
    clock.advance_ms(250)
    clock.set_wall_ms(T + 5_250)
    assert time.look() == 5_000
    assert (time.wall_ms(), time.unsure) == (T + 5_250, False)


def test_backward_step_goes_on_by_the_monotonic_clock_until_the_wall_agrees_again():
    clock, time = started()
    clock.advance_ms(1_000)
    time.look()
    clock.set_wall_ms(T - 3_600_000)
    assert time.look() == -3_601_000
    clock.advance_ms(2_000)
    time.look()
    assert (time.wall_ms(), time.unsure) == (T + 3_000, True)
    clock.set_wall_ms(T + 3_500)
    assert time.look() > 0
    assert (time.wall_ms(), time.unsure) == (T + 3_500, False)


def test_jump_of_years_forward_is_not_believed():
    clock, time = started()
    clock.advance_ms(250)
    clock.set_wall_ms(T + 10 * 365 * 86_400_000)
    assert time.look() > 0
    clock.advance_ms(250)
    assert time.look() == 0
    assert (time.wall_ms(), time.unsure) == (T + 500, True)


def test_boot_at_1970_goes_on_from_the_last_durable_time():
    clock = ManualClock(86_400_000, 1)
    time = BoxTime(clock, T)
    assert (time.wall_ms(), time.unsure) == (T, True)
    clock.advance_ms(4_000)
    clock.set_wall_ms(T + 4_200)
    time.look()
    assert (time.wall_ms(), time.unsure) == (T + 4_200, False)


def test_box_time_never_runs_backward():
    clock, time = started()
    seen = []
    for wall in [T + 100, T - 5_000, T + 50, T + 4_000_000, T + 2, T + 7_300_000_000, T - 1]:
        clock.advance_ms(250)
        clock.set_wall_ms(wall)
        time.look()
        seen.append(time.wall_ms())
    assert seen == sorted(seen)
