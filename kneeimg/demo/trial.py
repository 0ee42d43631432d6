"""The people of the synthetic trial: two arms, every value known at every visit.

No patient is in it. Everything follows from one seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from kneeimg.core.anatomy import Side
from kneeimg.phantoms.cartilage import DenudedPatch, PlateThickness
from kneeimg.phantoms.film import FilmKnee, FilmSetup
from kneeimg.phantoms.grids import random_pose
from kneeimg.phantoms.knee import KneePhantom

SEED = 20250101
BASELINE = date(2025, 1, 13)
ARMS = ("secretome", "secretome + PRGF")


@dataclass(frozen=True)
class DemoVisit:
    """A planned visit.

    Attributes
    ----------
    name, day, window_days : As in the study file.
    share : Share of a year's change that has happened by then.
    """

    name: str
    day: int
    share: float
    window_days: int = 14


#: Visits of the small demo and of the whole trial.
VISITS = (DemoVisit("BL", 0, 0.0), DemoVisit("M06", 182, 0.5, 21), DemoVisit("M12", 365, 1.0, 28))
TRIAL_VISITS = (
    DemoVisit("BL", 0, 0.0),
    DemoVisit("M01", 30, 30 / 365),
    DemoVisit("M03", 91, 91 / 365),
    DemoVisit("M06", 182, 0.5, 21),
    DemoVisit("M12", 365, 1.0, 28),
)

#: Change in mm after a year. The first arm goes on losing cartilage in the medial compartment, the
#: second regains a little. Real changes are smaller; these are large enough to be told apart in
#: six people.
YEAR_CHANGE_MM: Mapping[str, Mapping[str, float]] = {
    "secretome": {"MT": -0.06, "cMF": -0.10, "LT": -0.02, "cLF": -0.02, "P": -0.03},
    "secretome + PRGF": {"MT": 0.04, "cMF": 0.08, "LT": 0.01, "cLF": 0.01, "TrF": 0.02},
}


@dataclass(frozen=True)
class DemoPerson:
    """One participant of the synthetic trial.

    Attributes
    ----------
    participant : Study id.
    patient_id : What the hospital calls them; must not appear in any result.
    side : Index knee.
    arm : Treatment arm; sealed, never read by the pipeline.
    size : Size of the knee relative to the standard phantom.
    thickness : Cartilage thickness per plate at baseline, mm.
    denuded : Bare patches at every visit.
    year_change_mm : Change per plate after a year.
    film : Knee as it projects on the baseline film.
    seed : Poses, noise and scan days.
    """

    participant: str
    patient_id: str
    side: Side
    arm: str
    size: float
    thickness: PlateThickness
    denuded: tuple[DenudedPatch, ...]
    year_change_mm: Mapping[str, float]
    film: FilmKnee
    seed: int

    def scan_day(self, visit: DemoVisit) -> int:
        """Days since baseline: the visit's target day, up to six days late."""
        late = int(np.random.default_rng([self.seed, visit.day]).integers(0, 7)) if visit.day else 0
        return visit.day + late

    def scan_date(self, visit: DemoVisit) -> date:
        """Date of the visit."""
        return BASELINE + timedelta(days=self.scan_day(visit))

    def knee(self, visit: DemoVisit, *, entropy: Sequence[int] | None = None) -> KneePhantom:
        """The knee at a visit, in the pose in which it lay in the scanner.

        Parameters
        ----------
        visit : When.
        entropy : Of the pose; None for that of the visit, something else for a repeated scan.
        """
        rng = np.random.default_rng(entropy or [self.seed, visit.day, 1])
        base = KneePhantom(self.side, self.thickness, denuded=self.denuded)
        change = {plate: mm * visit.share for plate, mm in self.year_change_mm.items()}
        return replace(
            base,
            femur=base.femur.scaled(self.size),
            tibia=base.tibia.scaled(self.size),
            patella=base.patella.scaled(self.size),
            fibula=base.fibula.scaled(self.size),
            thickness_change_mm=change,
            pose=random_pose(rng, max_angle_deg=6.0, max_shift_mm=4.0),
        )

    def film_knee(self, visit: DemoVisit) -> FilmKnee:
        """The joint space on the film at a visit: it follows the cartilage of both bones."""
        change = self.year_change_mm
        medial = change.get("MT", 0.0) + change.get("cMF", 0.0)
        lateral = change.get("LT", 0.0) + change.get("cLF", 0.0)
        return replace(
            self.film,
            medial_jsw_mm=self.film.medial_jsw_mm + visit.share * medial,
            lateral_jsw_mm=self.film.lateral_jsw_mm + visit.share * lateral,
        )

    def film_setup(self, visit: DemoVisit) -> FilmSetup:
        """Technique of the film at a visit; magnification is known to the header."""
        rng = np.random.default_rng([self.seed, visit.day, 2])
        return FilmSetup(
            pixel_mm=0.2,
            magnification=1.08,
            size_mm=(110.0, 130.0),
            rotation_deg=float(rng.uniform(-3, 3)),
            centre_mm=(float(rng.uniform(-4, 4)), float(rng.uniform(-5, 5))),
            seed=int(rng.integers(2**31)),
        )


def demo_people(count: int = 6) -> tuple[DemoPerson, ...]:
    """The participants, alternating between arms and sides."""
    return tuple(_person(number) for number in range(count))


def _person(number: int) -> DemoPerson:
    rng = np.random.default_rng([SEED, number])
    arm = ARMS[number % 2]
    side = Side.RIGHT if number % 3 else Side.LEFT
    spread = {plate: float(rng.normal(0.0, 0.12)) for plate in vars(PlateThickness())}
    year = {plate: mm * float(rng.uniform(0.6, 1.4)) for plate, mm in YEAR_CHANGE_MM[arm].items()}
    bare = (DenudedPatch("cMF", 0.1, 0.0, 4.0),) if number == 4 else ()
    film = FilmKnee(
        side=side,
        femoral_width_mm=float(rng.uniform(74, 88)),
        medial_jsw_mm=float(rng.uniform(2.8, 4.5)),
        lateral_jsw_mm=float(rng.uniform(4.5, 6.5)),
        jlca_deg=float(rng.uniform(-0.5, 1.5)),
    )
    return DemoPerson(
        participant=f"P{number + 1:02d}",
        patient_id=f"DEMO-{rng.integers(10**6, 10**7)}",
        side=side,
        arm=arm,
        size=float(rng.uniform(0.94, 1.05)),
        thickness=PlateThickness().changed(spread),
        denuded=bare,
        year_change_mm=year,
        film=film,
        seed=SEED + number,
    )
