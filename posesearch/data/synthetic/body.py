"""Body: proportions of one person, and the 3D joints that follow from a pose.

Frame of a body: origin at the middle of the pelvis, x to the person's own left, y up, z forward; the unit
is the person's stature. The camera looks along -z, so at yaw 0 the person faces it and the person's left is
on the right of the image: left and right are person-centric without a special case.
Segment lengths start from the stature fractions of Drillis and Contini (1966) as printed in Winter,
"Biomechanics and Motor Control of Human Movement", figure 4.1; the head is enlarged (cartoon and child
proportions) so that a face still has several pixels in a 128x96 crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from posesearch.data.synthetic.draws import Draws
from posesearch.data.synthetic.poses import LimbAngles, Pose

Vector = np.ndarray
"""Three float64 numbers: right, up, towards the camera; in statures."""
Rotation = np.ndarray
"""A 3x3 float64 matrix acting on column vectors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proportions:
    """Segment lengths and half widths, in statures, and how stout the person is."""

    upper_arm: float
    forearm: float
    hand: float
    thigh: float
    shank: float
    foot: float
    torso: float
    neck: float
    half_shoulders: float
    half_hips: float
    head: float
    stoutness: float


def draw_proportions(draws: Draws) -> Proportions:
    """Draws a build: one size factor for the limbs, another for the widths, small independent changes."""
    length = draws.around(1.0, 0.08)
    width = draws.around(1.0, 0.15)
    return Proportions(
        upper_arm=0.186 * length * draws.around(1.0, 0.06),
        forearm=0.146 * length * draws.around(1.0, 0.06),
        hand=0.075,
        thigh=0.245 * length * draws.around(1.0, 0.06),
        shank=0.246 * length * draws.around(1.0, 0.06),
        foot=0.115 * draws.around(1.0, 0.1),
        torso=0.288 * draws.around(1.0, 0.08),
        neck=0.075,
        half_shoulders=0.122 * width * draws.around(1.0, 0.06),
        half_hips=0.078 * width * draws.around(1.0, 0.1),
        head=0.095 * draws.around(1.0, 0.15),
        stoutness=draws.around(1.2, 0.3),
    )


def rotate_x(degrees: float) -> Rotation:
    """Turns y towards z."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array(((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))


def rotate_y(degrees: float) -> Rotation:
    """Turns z towards x."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array(((c, 0.0, s), (0.0, 1.0, 0.0), (-s, 0.0, c)))


def rotate_z(degrees: float) -> Rotation:
    """Turns x towards y."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array(((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """How the camera sees the person, in degrees: yaw about the vertical, pitch down, tilt in the image."""

    yaw: float
    pitch: float
    tilt: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PosedBody:
    """Joints in camera axes (right, up, towards the camera), in statures from the middle of the pelvis.

    Attributes:
        points: named 3D points: `neck`, `head`, `pelvis`, and with the prefix `left_` or `right_`
            `shoulder`, `elbow`, `wrist`, `fingertips`, `hip`, `knee`, `ankle`, `heel`, `toes`.
        head_axes: columns are the head's own left, up and forward in camera axes.
        chest_axes: the same for the chest.
        pelvis_axes: the same for the pelvis.
    """

    points: dict[str, Vector]
    head_axes: Rotation
    chest_axes: Rotation
    pelvis_axes: Rotation


def _limb_chain(
    root: Vector,
    axes: Rotation,
    angles: LimbAngles,
    side: float,
    lengths: tuple[float, float],
    bend_sign: float,
) -> tuple[Vector, Vector, Rotation]:
    """Middle joint, end joint and axes of the lower segment of an arm (bend forward) or leg (backward)."""
    upper = (
        axes @ rotate_z(side * angles.abduction) @ rotate_x(-angles.flexion) @ rotate_y(-side * angles.turn)
    )
    lower = upper @ rotate_x(bend_sign * angles.bend)
    middle = root - lengths[0] * upper[:, 1]
    return middle, middle - lengths[1] * lower[:, 1], lower


def pose_body(proportions: Proportions, pose: Pose, view: View) -> PosedBody:
    """Forward kinematics: from joint angles to 3D joints as the camera sees them."""
    pelvis_axes = rotate_z(view.tilt) @ rotate_x(view.pitch) @ rotate_y(view.yaw)
    spine = pelvis_axes @ rotate_z(pose.side_lean) @ rotate_x(pose.lean)
    chest_axes = spine @ rotate_y(pose.twist)
    # The head keeps half of the lean: people who bend still look ahead rather than at their feet.
    head_axes = (
        chest_axes
        @ rotate_y(pose.head_yaw)
        @ rotate_x(pose.head_nod - 0.5 * pose.lean)
        @ rotate_z(pose.head_tilt)
    )
    pelvis = np.zeros(3)
    neck = pelvis + proportions.torso * spine[:, 1]
    points = {
        "pelvis": pelvis,
        "neck": neck,
        "head": neck + 0.4 * proportions.neck * chest_axes[:, 1] + 1.25 * proportions.head * head_axes[:, 1],
    }
    for name, side, arm, leg in (
        ("left", 1.0, pose.left_arm, pose.left_leg),
        ("right", -1.0, pose.right_arm, pose.right_leg),
    ):
        shoulder = neck + side * proportions.half_shoulders * chest_axes[:, 0]
        hip = pelvis + side * proportions.half_hips * pelvis_axes[:, 0]
        elbow, wrist, forearm_axes = _limb_chain(
            shoulder, chest_axes, arm, side, (proportions.upper_arm, proportions.forearm), -1.0
        )
        knee, ankle, shank_axes = _limb_chain(
            hip, pelvis_axes, leg, side, (proportions.thigh, proportions.shank), 1.0
        )
        heel = ankle - 0.026 * shank_axes[:, 1] - 0.012 * shank_axes[:, 2]
        # Toes point a little outwards and down, so that a foot seen from the front is not a dot.
        toe_direction = shank_axes @ np.array((0.25 * side, -0.12, 0.95))
        points |= {
            f"{name}_shoulder": shoulder,
            f"{name}_elbow": elbow,
            f"{name}_wrist": wrist,
            f"{name}_fingertips": wrist - proportions.hand * forearm_axes[:, 1],
            f"{name}_hip": hip,
            f"{name}_knee": knee,
            f"{name}_ankle": ankle,
            f"{name}_heel": heel,
            f"{name}_toes": heel + proportions.foot * toe_direction,
        }
    return PosedBody(points=points, head_axes=head_axes, chest_axes=chest_axes, pelvis_axes=pelvis_axes)
