"""Search spaces and architectures: identity, membership, moves, and what a broken file is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posesearch.errors import ConfigError, DataError, UsageError
from posesearch.spaces import (
    Architecture,
    SearchSpace,
    crossover,
    list_spaces,
    load_preset,
    load_space,
    mutate,
    neighbours,
    preset_names,
    stages_from_code,
)

SHIPPED = ("demo", "small", "starnet")
seeds = st.integers(0, 2**32 - 1)


def test_the_shipped_spaces_are_all_tested() -> None:
    assert set(SHIPPED) <= set(list_spaces())
    folder = Path(__file__).parents[2] / "search_spaces"
    assert {path.stem for path in folder.glob("*.yaml")} == set(SHIPPED)


def test_starnet_holds_the_published_networks() -> None:
    space = load_space("starnet")
    assert space.cardinality >= 10**9
    for name in ("starnet-pose-t", "starnet-pose-s", "starnet-s1", "starnet-s2", "starnet-s3", "starnet-s4"):
        assert space.problems(load_preset(name)) == ()


def test_published_architectures() -> None:
    assert load_preset("starnet-pose-t").code == "w24-48-96-192_d2-2-8-3_k7-7-7-7_r4-4-4-4_a0000"
    assert load_preset("starnet-pose-s").code == "w32-64-128-256_d2-2-8-4_k7-7-7-7_r4-4-4-4_a0011"
    assert load_preset("s050") == load_preset("starnet-s050")
    with pytest.raises(
        UsageError, match=r"preset 'starnet-pose-z' is not known. Did you mean 'starnet-pose-t'\?"
    ):
        load_preset("starnet-pose-z")


@pytest.mark.parametrize("name", SHIPPED)
@given(seed=seeds)
def test_members_round_trip(name: str, seed: int) -> None:
    space = load_space(name)
    arch = space.sample(np.random.default_rng(seed))
    assert space.contains(arch)
    assert space.decode(space.encode(arch)) == arch
    assert space.nearest(arch) == arch
    assert Architecture.from_plain(json.loads(json.dumps(arch.to_plain()))) == arch
    assert space.arch_from_code(arch.code) == arch
    assert hash(arch) == hash(Architecture.from_plain(arch.to_plain()))


@pytest.mark.parametrize("name", SHIPPED)
@given(seed=seeds)
def test_moves_stay_inside(name: str, seed: int) -> None:
    space = load_space(name)
    rng = np.random.default_rng(seed)
    first, second = space.sample(rng), space.sample(rng)
    mutant = mutate(space, first, rng)
    assert space.contains(mutant) and mutant != first
    child = space.encode(crossover(space, first, second, rng))
    one, two = space.encode(first), space.encode(second)
    assert all(child[gene] in (one[gene], two[gene]) for gene in child)


@pytest.mark.parametrize("name", SHIPPED)
def test_neighbours_differ_in_one_gene(name: str) -> None:
    space = load_space(name)
    arch = space.smallest()
    found = list(neighbours(space, arch))
    assert len(found) == sum(len(choices) - 1 for choices in space.genes().values())
    for other in found:
        assert (
            sum(
                a != b for a, b in zip(space.encode(arch).values(), space.encode(other).values(), strict=True)
            )
            == 1
        )


@pytest.mark.parametrize("name", SHIPPED)
def test_largest_and_smallest(name: str) -> None:
    space = load_space(name)
    genes = space.genes()
    assert space.encode(space.largest()) == {gene: choices[-1] for gene, choices in genes.items()}
    assert space.encode(space.smallest()) == {gene: choices[0] for gene, choices in genes.items()}


def test_identity_ignores_the_description_only() -> None:
    space = load_space("demo")
    plain = space.to_plain()
    assert SearchSpace.from_plain({**plain, "description": "other"}).id == space.id
    assert space.with_joints(14).id != space.id
    assert SearchSpace.from_plain(plain) == space


def test_identity_is_stable() -> None:
    # A changed id orphans every supernet trained before: change these only together with the space.
    assert load_space("starnet").id == "78cdd0e6548d"
    assert load_preset("starnet-pose-t").id == "b077a26c0f14"


def test_a_stranger_is_told_the_gene() -> None:
    space = load_space("starnet")
    with pytest.raises(UsageError, match=r"stage2.depth = 3; choices: \[4, 6, 8, 10, 12\]"):
        space.encode(load_preset("starnet-s050"))
    with pytest.raises(
        UsageError, match=r"gene 'stage0.widht' is not in space 'starnet'. Did you mean 'stage0.width'"
    ):
        space.decode({**space.encode(space.smallest()), "stage0.widht": 3})
    with pytest.raises(UsageError, match=r"gene 'stage0.width' = 17 is not in space"):
        space.decode({**space.encode(space.smallest()), "stage0.width": 17})
    with pytest.raises(UsageError, match=r"it has 4 stages, the space has 3"):
        load_space("demo").encode(load_preset("starnet-pose-t"))


def test_codes() -> None:
    with pytest.raises(UsageError, match=r"not an architecture code. The form is w24-48"):
        stages_from_code("starnet")
    with pytest.raises(UsageError, match=r"different numbers of stages \(w: 2, d: 1"):
        stages_from_code("w8-16_d1_k3-3_r2-2_a00")
    with pytest.raises(UsageError, match=r"kernel: got 4, expected an odd number"):
        stages_from_code("w8_d1_k4_r2_a0")


def test_broken_space_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ninput_size: [130, 96]\nstem_widht: 16\nstages:\n"
        "  - {width: [24, 16], depth: [], kernel: [4], ratio: [2, 2]}\n"
        "  - {width: [16.5], depth: [1], atention: [off, on]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_space(str(path))
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "stem_widht: unknown key. Did you mean 'stem_width'?" in text
    assert "stages[0].width: [24, 16] is not in ascending order; write [16, 24]." in text
    assert "stages[0].depth: the list is empty" in text
    assert "stages[0].ratio: [2, 2] holds a choice twice." in text
    assert "stages[1].width[0]: got 16.5, expected a whole number." in text
    assert "stages[1].atention: unknown key. Did you mean 'attention'?" in text


def test_impossible_combinations(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ninput_size: [130, 90]\nnum_joints: 0\nhead: {kernel: 4, hidden: 0}\n"
        "stages:\n  - {width: [15], depth: [0], kernel: [4]}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_space(str(path))
    text = str(caught.value)
    assert "stages[0].width: got 15, expected a positive multiple of 2." in text
    assert "stages[0].depth: got 0, expected at least 1." in text
    assert "stages[0].kernel: got 4, expected an odd number" in text
    assert "head.kernel: got 4" in text and "head.hidden: got 0" in text
    path.write_text("name: mine\ninput_size: [130, 90]\nstages:\n  - {width: [16], depth: [1]}\n")
    with pytest.raises(ConfigError, match=r"height 130 is not a positive multiple of 4(?s:.)*width 90"):
        load_space(str(path))


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match=r"search space 'starnt' is not known. Did you mean 'starnet'\?"):
        load_space("starnt")
    with pytest.raises(UsageError, match=r"search space file none/of/this.yaml does not exist"):
        load_space("none/of/this.yaml")


def test_stored_architectures_fail_as_data() -> None:
    with pytest.raises(DataError, match="stages"):
        Architecture.from_plain({"input_size": [64, 64], "num_joints": 3, "stages": []})


def test_presets_differ_but_for_their_aliases() -> None:
    # StarNet-Pose-T is StarNet-S1 under the pose head; s050, s100 and s150 are short names.
    assert len({load_preset(name).id for name in preset_names()}) == len(preset_names()) - 1 - 3
