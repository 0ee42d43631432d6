"""What is wrong with a knee, drawn from a random generator."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Disease:
    """How ill a tissue map is made. All sizes are aims; the knee's shape bounds them.

    Attributes
    ----------
    thinning : Greatest share of cartilage thickness lost in the worst region, 0 to 0.6.
    denuded_mm2 : Bone area of each patch without cartilage.
    defects : Number of focal defects of 3 to 10 mm, part of the thickness deep.
    narrowing_mm : Loss of joint space in the worse compartment beyond what thinning leaves.
    effusion : 0 dry to 1 tense: fluid in the suprapatellar pouch and around the condyles.
    baker_cyst_mm : Length of a popliteal cyst; 0 for none.
    osteophytes_mm : Size of each osteophyte.
    lesions_mm : Diameter of each marrow lesion.
    cysts_mm : Diameter of each subchondral cyst.
    worn_menisci : Whether the (medial, lateral) meniscus is thin, extruded or partly absent.
    """

    thinning: float = 0.0
    denuded_mm2: tuple[float, ...] = field(default=())
    defects: int = 0
    narrowing_mm: float = 0.0
    effusion: float = 0.0
    baker_cyst_mm: float = 0.0
    osteophytes_mm: tuple[float, ...] = field(default=())
    lesions_mm: tuple[float, ...] = field(default=())
    cysts_mm: tuple[float, ...] = field(default=())
    worn_menisci: tuple[bool, bool] = (False, False)

    @classmethod
    def none(cls) -> Disease:
        """The knee as its label map shows it."""
        return cls()

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Disease:
        """Any stage, from nearly healthy to end stage; all of it grows together with the stage."""
        stage = float(rng.random())

        def count(most: float) -> int:
            return int(rng.poisson(most * stage))

        def sizes(most: float, low: float, high: float) -> tuple[float, ...]:
            return tuple(
                float(np.exp(rng.uniform(np.log(low), np.log(high)))) for _ in range(count(most))
            )

        return cls(
            thinning=float(rng.uniform(0.0, 0.6) * min(1.0, 0.3 + stage)),
            denuded_mm2=sizes(6.0, 20.0, 800.0),
            defects=count(3.0),
            narrowing_mm=float(rng.uniform(0.0, 2.0) * stage),
            effusion=float(rng.choice([0.0, 0.2, 0.5, 1.0], p=[0.25, 0.25, 0.25, 0.25])),
            baker_cyst_mm=float(rng.uniform(15.0, 50.0)) if rng.random() < 0.25 else 0.0,
            osteophytes_mm=sizes(8.0, 2.0, 8.0),
            lesions_mm=sizes(4.0, 3.0, 20.0),
            cysts_mm=sizes(2.0, 2.0, 9.0),
            worn_menisci=(bool(rng.random() < stage), bool(rng.random() < 0.7 * stage)),
        )

    def described(self) -> dict[str, Any]:
        """Plain values for a file."""
        return asdict(self)
