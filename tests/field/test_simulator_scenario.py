"""Noise and curves of the simulator: bounded, smooth, and a function of seed and time alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.simulator.scenario import Moments, SmoothNoise, decay, piecewise, ramp, smoothstep

WALL = st.integers(min_value=0, max_value=4_000_000_000_000)
PERIODS = [1_000, 60_000, 10_800_000]


@settings(max_examples=60, deadline=None)
@given(start=WALL, seed=st.integers(0, 2**32))
def test_noise_stays_within_one_and_repeats_for_the_same_seed_and_time(start, seed):
    times = start + np.arange(0, 120_000, 250, dtype=np.int64)
    noise = SmoothNoise(["a", "b", "c"], PERIODS, seed).at(times)
    assert noise.shape == (len(times), 3)
    assert np.abs(noise).max() <= 1.0
    again = SmoothNoise(["a", "b", "c"], PERIODS, seed).at(times[100:101])
    assert (again == noise[100:101]).all()


def test_noise_has_no_step():
    times = np.arange(0, 3_600_000, 50, dtype=np.int64)
    noise = SmoothNoise(["a"], [60_000], 1).at(times)[:, 0]
    # 1.5 is the steepest slope of smoothstep, 2 the widest step of the lattice; a quarter of it in seven seconds.
    steepest = 1.5 * 2.0 * (0.75 * 50 / 60_000 + 0.25 * 50 / 7_000)
    assert np.abs(np.diff(noise)).max() <= steepest


def test_noise_of_a_signal_does_not_depend_on_the_signals_beside_it():
    times = np.arange(0, 60_000, 1_000, dtype=np.int64)
    alone = SmoothNoise(["b"], [60_000], 7).at(times)[:, 0]
    among = SmoothNoise(["a", "b"], [5_000, 60_000], 7).at(times)[:, 1]
    assert (alone == among).all()


def test_noise_differs_between_seeds_and_uses_its_range():
    times = np.arange(0, 86_400_000, 10_000, dtype=np.int64)
    one, other = (SmoothNoise(["a"], [60_000], seed).at(times)[:, 0] for seed in (1, 2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
    assert one.max() > 0.7
    assert one.min() < -0.7
    assert abs(one.mean()) < 0.1


def test_curves_go_where_they_say():
    t = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    assert ramp(t, 0.0, 2.0).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert smoothstep(t / 2.0).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert decay(t, 1.0).tolist() == [1.0, 1.0, 0.5, 0.25, 0.125]
    assert piecewise(t, ((0.0, 5.0), (2.0, 7.0))).tolist() == [5.0, 5.0, 6.0, 7.0, 7.0]


def test_a_run_begins_at_zero_elapsed_and_excludes_its_end():
    moments = Moments.run(1_000_000, 1_000, 250)
    assert moments.elapsed_ms.tolist() == [0, 250, 500, 750]
    assert moments.wall_ms.tolist() == [1_000_000, 1_000_250, 1_000_500, 1_000_750]
