"""Settings of the plate model, which recovers bone area lost at the rim of a plate."""

from __future__ import annotations

from pydantic import Field

from kneeimg.settings.base import Settings


class PlateModelSettings(Settings):
    """How the expected outline of a plate is fitted to what is left of its border.

    Lengths are millimetres on a bone of the model's size; they grow with the bone.

    Attributes
    ----------
    enabled : Whether a run uses the model that ships with kneeimg. Off until its error is known on
        knees that had no part in it; `measure_knee` uses a model when it is given one.
    max_misfit_mm : A bone whose joint end differs more than this from the model's (median distance
        after an affine fit) is not of the shapes that the model knows; it keeps its own border.
    max_border_misfit_mm : The same for the border that is taken to be intact (RMS distance from the
        fitted outline).
    max_lost_share : When more than this share of the border seems lost, too little is left to fit
        an outline to, and the border is kept.
    border_step_mm : Spacing of border points.
    border_noise_mm : SD of a border point about a smooth border: drawing of the mask, voxels.
    local_sd_mm, local_length_mm : SD and length of the local variation of a border that the modes
        of the model do not describe.
    lost_mm : A stretch of border that lies this deep inside the outline is lost for sure.
    doubtful_mm : A point beside a lost stretch is lost as well when it lies this deep.
    bite_mm : A short stretch this deep inside the outline of its neighbours is a bite.
    bite_sd : And this many SD of that prediction.
    block_mm : Neighbours nearer than this are left out when a point's outline is predicted.
    min_area_mm2 : Smaller pieces are not recovered, mm².
    min_depth_mm : Nor are pieces that nowhere lie this deep inside the outline: readers draw one
        border up to 2 mm differently, and such bays are no loss.
    """

    enabled: bool = False
    max_misfit_mm: float = Field(default=1.5, gt=0.0)
    max_border_misfit_mm: float = Field(default=1.8, gt=0.0)
    max_lost_share: float = Field(default=0.4, gt=0.0, le=1.0)
    border_step_mm: float = Field(default=1.5, gt=0.2, le=5.0)
    border_noise_mm: float = Field(default=0.35, gt=0.0)
    local_sd_mm: float = Field(default=0.9, gt=0.0)
    local_length_mm: float = Field(default=6.0, gt=0.0)
    lost_mm: float = Field(default=2.8, gt=0.0)
    doubtful_mm: float = Field(default=1.0, gt=0.0)
    bite_mm: float = Field(default=1.5, gt=0.0)
    bite_sd: float = Field(default=2.0, gt=0.0)
    block_mm: float = Field(default=5.0, gt=0.0)
    min_area_mm2: float = Field(default=4.0, ge=0.0)
    min_depth_mm: float = Field(default=3.0, ge=0.0)
