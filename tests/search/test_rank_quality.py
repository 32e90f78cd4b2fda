"""What is concluded from a ranking: the gate, the noise, the regrets, and the sentence that says it."""

import math

import numpy as np
import pytest

from posesearch.search.rank_quality import RankedNet, rank_quality, seed_noise, sentence


def nets(supernet, alone, *, second=None, macs=None, latency_ms=None):
    """Networks of rising size in four bins, trained alone to these APs."""
    count = len(alone)
    made = []
    for index in range(count):
        seeds = (alone[index],) if second is None or second[index] is None else (alone[index], second[index])
        made.append(
            RankedNet(
                arch_id=f"a{index}",
                code=f"c{index}",
                bin=4 * index // count,
                macs=int(macs[index]) if macs is not None else 100 + index,
                params=100 + index,
                alone=seeds,
                supernet_ap=float(supernet[index]),
                uncalibrated_ap=float(supernet[index]) / 2,
                supernet_loss=-float(supernet[index]),
                latency_ms=latency_ms[index] if latency_ms else None,
            )
        )
    return made


@pytest.fixture
def world():
    """24 networks whose AP is size plus something MACs do not know; seeds move it by 0.005."""
    rng = np.random.default_rng(0)
    alone = np.linspace(0.3, 0.6, 24) + rng.normal(0, 0.03, 24)
    second = [alone[i] + rng.normal(0, 0.005) if i % 3 == 0 else None for i in range(24)]
    return rng, alone, second


def test_a_supernet_that_knows_is_established(world):
    rng, alone, second = world
    quality = rank_quality(nets(alone + rng.normal(0, 0.008, 24), alone, second=second), seed=0)
    assert (quality.verdict, quality.reasons) == ("established", ())
    assert quality.of("supernet_ap").tau.low > 0.4
    assert quality.of("supernet_ap").within_bins.value > quality.of("macs").within_bins.value
    assert quality.lead.value == pytest.approx(
        quality.of("supernet_ap").tau.value - quality.of("macs").tau.value
    )
    assert quality.of("supernet_loss").tau == quality.of("supernet_ap").tau  # the sign is turned
    assert "Ranking quality established" in sentence(quality) and "can be gone by" in sentence(quality)
    assert "MACs alone 0." in sentence(quality) and "two seeds of one training" in sentence(quality)


def test_a_supernet_that_only_knows_size_is_not(world):
    _, alone, second = world
    quality = rank_quality(nets(np.arange(24.0), alone, second=second), seed=0)
    assert quality.verdict == "not established"
    assert quality.reasons[0].startswith("among networks of like size its tau, ")
    assert "is not above that of MACs" in sentence(quality)
    assert sentence(quality).endswith("Retrain the best few before choosing one.")


def test_a_supernet_that_knows_nothing_is_not(world):
    rng, alone, second = world
    quality = rank_quality(nets(rng.normal(size=24), alone, second=second), seed=0)
    assert quality.verdict == "not established"
    assert any("is not above 0.4" in reason for reason in quality.reasons)


def test_where_seeds_drown_the_networks_nothing_is_said_of_the_supernet():
    rng = np.random.default_rng(1)
    alone = 0.5 + rng.normal(0, 0.01, 24)
    second = [ap + rng.normal(0, 0.01) for ap in alone]
    quality = rank_quality(nets(rng.normal(size=24), alone, second=second), seed=0)
    assert quality.verdict == "too noisy to tell" and quality.noise.ratio < 4
    assert "times the seeds' noise (4 needed)" in quality.reasons[-1]
    unknown = rank_quality(nets(rng.normal(size=24), alone), seed=0)
    assert unknown.verdict == "too noisy to tell" and math.isnan(unknown.noise.sd)
    assert "no network was trained with a second seed" in unknown.reasons[-1]
    assert unknown.to_plain()["noise"]["ratio"] is None
    assert "two seeds of one training (not measured)" in sentence(unknown)


def test_a_gate_passed_in_spite_of_noise_is_passed(world):
    rng, alone, _ = world
    quality = rank_quality(nets(alone + rng.normal(0, 0.008, 24), alone), seed=0)
    assert quality.verdict == "established"


def test_noise_by_hand():
    found = seed_noise(nets([1, 2, 3], [0.1, 0.2, 0.3], second=[0.12, 0.2, None]), seed=0)
    assert found.pairs == 2
    assert found.sd == pytest.approx(math.sqrt((0.02**2 + 0) / 2 / 2))
    assert found.spread == pytest.approx(math.sqrt(0.1**2 - found.sd**2))
    assert found.ratio == pytest.approx(found.spread / found.sd)


def test_the_expected_ceiling_is_what_simulation_gives():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 4.0, 1500)
    first, second = true + rng.normal(size=1500), true + rng.normal(size=1500)
    found = seed_noise(nets(first, first, second=list(second)), seed=0)
    assert found.ratio == pytest.approx(4.0, rel=0.1)
    assert found.expected_ceiling == pytest.approx(0.844, abs=0.01)
    from scipy import stats

    assert stats.kendalltau(true, first)[0] == pytest.approx(found.expected_ceiling, abs=0.02)
    assert found.tau.value == pytest.approx(
        0.78, abs=0.02
    )  # between two noisy ones, as the protocol's table has it


def test_equal_seeds_are_no_division_by_zero():
    quality = rank_quality(nets([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4], second=[0.1, 0.2, 0.3, 0.4]), seed=0)
    assert quality.noise.ratio == math.inf and quality.noise.expected_ceiling == 1.0
    assert quality.to_plain()["noise"]["ratio"] is None


def test_regrets_under_budgets():
    alone = [0.1, 0.4, 0.2, 0.3, 0.6, 0.5, 0.55, 0.58]
    supernet = [0.5, 0.1, 0.2, 0.3, 0.2, 0.9, 0.4, 0.3]
    plain = rank_quality(nets(supernet, alone, latency_ms=[float(8 - i) for i in range(8)]), seed=0)
    by_macs = [found for found in plain.regrets if found.kind == "macs"]
    assert [found.nets for found in by_macs] == [2, 4, 6, 8]
    assert by_macs[0].limit == 101 and by_macs[0].top1 == pytest.approx(0.3)  # picks 0.1, 0.4 was there
    assert by_macs[-1].top1 == pytest.approx(0.1) and by_macs[-1].top3 == pytest.approx(0.05)
    by_latency = [found for found in plain.regrets if found.kind == "latency_ms"]
    assert [found.limit for found in by_latency] == [2.0, 4.0, 6.0, 8.0]
    assert by_latency[0].top1 == pytest.approx(0.03)
    without = rank_quality(nets(supernet, alone), seed=0)
    assert {found.kind for found in without.regrets} == {"macs"}
