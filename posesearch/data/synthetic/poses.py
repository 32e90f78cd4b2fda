"""Poses: joint angles of people who stand, walk, raise their arms, sit, crouch or bend.

Angles are degrees within human ranges. Flexion swings a limb forward from hanging straight down, abduction
away from the middle of the body, turn rotates it inwards about its own axis (an arm that is bent by 90
degrees and turned by 80 lies across the belly), bend closes the elbow or the knee.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from posesearch.data.synthetic.draws import Draws


@dataclass(frozen=True, kw_only=True, slots=True)
class LimbAngles:
    """One arm or leg: swing at the root joint, turn about its own axis, bend of the middle joint."""

    flexion: float
    abduction: float
    turn: float
    bend: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """All joint angles of a person, in degrees."""

    lean: float
    side_lean: float
    twist: float
    head_yaw: float
    head_nod: float
    head_tilt: float
    left_arm: LimbAngles
    right_arm: LimbAngles
    left_leg: LimbAngles
    right_leg: LimbAngles


def _arm_down(draws: Draws) -> LimbAngles:
    return LimbAngles(
        flexion=draws.uniform(-20, 25),
        abduction=draws.uniform(4, 28),
        turn=draws.uniform(-10, 50),
        bend=draws.uniform(3, 50),
    )


def _arm_on_hip(draws: Draws) -> LimbAngles:
    return LimbAngles(
        flexion=draws.uniform(-15, 5),
        abduction=draws.uniform(35, 55),
        turn=draws.uniform(65, 85),
        bend=draws.uniform(80, 105),
    )


def _arm_out(draws: Draws) -> LimbAngles:
    return LimbAngles(
        flexion=draws.uniform(-15, 20),
        abduction=draws.uniform(50, 100),
        turn=draws.uniform(-90, 40),
        bend=draws.uniform(0, 100),
    )


def _arm_up(draws: Draws) -> LimbAngles:
    return LimbAngles(
        flexion=draws.uniform(-10, 15),
        abduction=draws.uniform(110, 168),
        turn=draws.uniform(-90, 60),
        bend=draws.uniform(0, 80),
    )


def _arm_forward(draws: Draws) -> LimbAngles:
    return LimbAngles(
        flexion=draws.uniform(25, 95),
        abduction=draws.uniform(0, 30),
        turn=draws.uniform(-10, 50),
        bend=draws.uniform(0, 90),
    )


def _leg_straight(draws: Draws) -> LimbAngles:
    return LimbAngles(
        flexion=draws.uniform(-6, 10),
        abduction=draws.uniform(0, 16),
        turn=draws.uniform(-5, 20),
        bend=draws.uniform(0, 14),
    )


def _any_arm(draws: Draws, busy_arms: float) -> LimbAngles:
    rest = busy_arms / 4
    kinds = (_arm_down, _arm_on_hip, _arm_out, _arm_up, _arm_forward)
    return draws.weighted(kinds, (1 - busy_arms, rest, rest, rest, rest))(draws)


def _standing(draws: Draws, busy_arms: float) -> Pose:
    return Pose(
        lean=draws.uniform(-4, 8),
        side_lean=draws.around(0, 10),
        twist=draws.around(0, 15),
        head_yaw=draws.around(0, 30),
        head_nod=draws.uniform(-10, 18),
        head_tilt=draws.around(0, 15),
        left_arm=_any_arm(draws, busy_arms),
        right_arm=_any_arm(draws, busy_arms),
        left_leg=_leg_straight(draws),
        right_leg=_leg_straight(draws),
    )


def _walking(draws: Draws, busy_arms: float) -> Pose:
    # Opposite arm and leg swing together; the trailing knee bends more than the leading one.
    base = _standing(draws, busy_arms)
    swing = draws.uniform(15, 45) * draws.pick((-1.0, 1.0))
    bends = (draws.uniform(5, 25), draws.uniform(20, 75))
    left_bend, right_bend = bends if swing > 0 else bends[::-1]
    arm_bend = draws.uniform(10, 95)

    def leg(flexion: float, bend: float) -> LimbAngles:
        return LimbAngles(
            flexion=flexion, abduction=draws.uniform(0, 6), turn=draws.uniform(-4, 8), bend=bend
        )

    def arm(flexion: float) -> LimbAngles:
        return LimbAngles(
            flexion=flexion, abduction=draws.uniform(4, 18), turn=draws.uniform(0, 30), bend=arm_bend
        )

    return replace(
        base,
        lean=draws.uniform(0, 15),
        left_leg=leg(swing, left_bend),
        right_leg=leg(-0.7 * swing, right_bend),
        left_arm=arm(-swing),
        right_arm=arm(swing),
    )


def _arms_up(draws: Draws, busy_arms: float) -> Pose:
    base = _standing(draws, busy_arms)
    raised = draws.pick(((True, False), (False, True), (True, True)))
    return replace(
        base,
        left_arm=_arm_up(draws) if raised[0] else base.left_arm,
        right_arm=_arm_up(draws) if raised[1] else base.right_arm,
    )


def _sitting(draws: Draws, busy_arms: float) -> Pose:
    base = _standing(draws, busy_arms)

    def leg() -> LimbAngles:
        return LimbAngles(
            flexion=draws.uniform(65, 92),
            abduction=draws.uniform(2, 28),
            turn=draws.uniform(-5, 15),
            bend=draws.uniform(55, 105),
        )

    return replace(base, lean=draws.uniform(-12, 20), left_leg=leg(), right_leg=leg())


def _crouching(draws: Draws, busy_arms: float) -> Pose:
    base = _standing(draws, busy_arms)
    flexion, bend = draws.uniform(75, 115), draws.uniform(95, 140)

    def leg() -> LimbAngles:
        return LimbAngles(
            flexion=draws.around(flexion, 10),
            abduction=draws.uniform(10, 38),
            turn=draws.uniform(0, 20),
            bend=draws.around(bend, 8),
        )

    return replace(base, lean=draws.uniform(10, 45), left_leg=leg(), right_leg=leg())


def _bending(draws: Draws, busy_arms: float) -> Pose:
    base = _standing(draws, busy_arms)
    return replace(
        base, lean=draws.uniform(30, 80), left_arm=_arm_forward(draws), right_arm=_arm_forward(draws)
    )


POSTURES: dict[str, Callable[[Draws, float], Pose]] = {
    "standing": _standing,
    "walking": _walking,
    "arms_up": _arms_up,
    "sitting": _sitting,
    "crouching": _crouching,
    "bending": _bending,
}


def draw_pose(draws: Draws, posture: str, busy_arms: float) -> Pose:
    """Draws joint angles.

    Args:
        draws: where the angles come from.
        posture: family, a key of `POSTURES`.
        busy_arms: chance that an arm does something other than hang or follow its posture.
    """
    return POSTURES[posture](draws, busy_arms)
