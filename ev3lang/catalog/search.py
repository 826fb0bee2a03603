"""What the search is made of beside descent: strategies, growth, augmentations and rules."""

from __future__ import annotations

from ev3lang.catalog.signature import Operation, Option

STRATEGIES = (
    Operation(
        name="evolution_strategy",
        summary="a population around the weights, moved towards its better members",
        options=(
            Option("population", "int", default=32, low=2, summary="members of a generation"),
            Option(
                "sigma",
                "real",
                default=0.05,
                low=0.0,
                is_low_open=True,
                summary="standard deviation of the noise that each member is the weights with",
            ),
            Option(
                "learning_rate",
                "real",
                default=0.1,
                low=0.0,
                is_low_open=True,
                summary="what the members' mean of noise times standing, in which ranks have "
                "standard deviation 1, is multiplied by",
            ),
        ),
        source="Rechenberg (1973); Salimans et al. (2017), arXiv:1703.03864",
    ),
)

PERTURBATIONS = (
    Operation(
        name="gaussian",
        summary="normal noise on every weight",
        options=(
            Option(
                "scale",
                "real",
                is_required=True,
                low=0.0,
                is_low_open=True,
                summary="its standard deviation",
            ),
        ),
        source="Matyas (1965), Autom. Remote Control 26:246-253",
    ),
)

_NOISE = Option(
    "noise",
    "real",
    default=0.5,
    low=0.0,
    summary="what tells copies of a unit apart, in standard deviations of the weights that they "
    "are multiplied by; outputs stay whatever it is, and near 0 copies stay alike",
)
# The bounds above are where an operator's plan is still made at once, whatever its limits say.
_FACTOR = Option(
    "factor", "factor", default=2.0, low=1.0, high=100.0, is_low_open=True, summary="how much"
)
_COUNT = Option("count", "int", default=1, low=1, high=1000, summary="how many")

GROWTH = (
    Operation(
        name="widen",
        summary="more units in every hidden layer, copied so that outputs stay",
        options=(_FACTOR, _NOISE),
        source="Chen, Goodfellow and Shlens (2016), arXiv:1511.05641",
    ),
    Operation(
        name="widen_stage",
        summary="more units in one stage or hidden layer, counted from 1",
        options=(
            Option("stage", "int", is_required=True, low=1, summary="which one"),
            _FACTOR,
            _NOISE,
        ),
        source="Chen, Goodfellow and Shlens (2016), arXiv:1511.05641",
    ),
    Operation(
        name="deepen",
        summary="more layers at the end, each the identity at first; there is no tie to break",
        options=(_COUNT,),
        source="Chen, Goodfellow and Shlens (2016), arXiv:1511.05641",
    ),
    Operation(
        name="deepen_every_stage",
        summary="more blocks in every stage of a residual network, each the identity at first; "
        "there is no tie to break",
        options=(
            _COUNT,
            Option(
                "factor",
                "factor",
                low=1.0,
                high=100.0,
                is_low_open=True,
                summary="how many times as many, instead of `count` more",
            ),
        ),
        source="Chen, Goodfellow and Shlens (2016), arXiv:1511.05641",
    ),
    Operation(
        name="fresh",
        summary="the size that another operator leads to, with weights drawn anew: it doesn't keep "
        "the function",
        options=(
            Option("operator", "operator", is_required=True, summary="what leads to the size"),
        ),
        source="Ding et al. (2023), arXiv:2310.18893",
    ),
)

# An image is padded by so much before it is cut: beyond the bounds nothing of it would be left.
_PADDING = Option("padding", "pixels", default=4, low=1, high=1024, summary="pixels added around")
_SHIFT = Option("most", "pixels", default=1, low=1, high=1024, summary="how far")

AUGMENTATIONS = (
    Operation(
        name="random_crop",
        summary="a window of the same size from the padded image",
        options=(_PADDING,),
        source="Krizhevsky, Sutskever and Hinton (2012), NIPS 25",
    ),
    Operation(
        name="flip_horizontal",
        summary="left and right changed in half of the images",
        source="Krizhevsky, Sutskever and Hinton (2012), NIPS 25",
    ),
    Operation(
        name="shift",
        summary="moved by up to so many pixels along each axis, filled with zeros",
        options=(_SHIFT,),
        source="Simard, Steinkraus and Platt (2003), ICDAR",
    ),
    Operation(
        name="gaussian_noise",
        summary="normal noise on every number",
        options=(
            Option("scale", "real", is_required=True, low=0.0, summary="its standard deviation"),
        ),
        source="Bishop (1995), Neural Comput. 7:108-116",
    ),
    Operation(
        name="cutout",
        summary="a square of the image set to zero",
        options=(Option("size", "pixels", default=8, low=1, summary="its side"),),
        source="DeVries and Taylor (2017), arXiv:1708.04552",
    ),
    Operation(
        name="mixup",
        summary="weighted means of two examples and of their labels",
        options=(
            Option("alpha", "real", default=0.2, low=0.0, is_low_open=True, summary="of the Beta"),
        ),
        source="Zhang et al. (2018), arXiv:1710.09412",
    ),
)

RULES = (
    Operation(
        name="gate",
        summary=(
            "current is tested on the whole adapt split when assess promises that it passes; "
            "what all tests of the run can spend together is bounded"
        ),
        source="McNemar (1947), Psychometrika 12:153-157",
    ),
    Operation(
        name="challenger",
        summary=(
            "frozen candidates gather evidence from every iteration's fresh examples until it "
            "is enough for the run's bound"
        ),
        source="Waudby-Smith and Ramdas (2024), J. R. Stat. Soc. B 86:1-27",
    ),
    Operation(
        name="reference",
        summary=(
            "the published rule: best, current and accepted compete by lower bounds, and the "
            "winner is accepted where its bound lies above accepted's upper one; no promise "
            "over the run"
        ),
        options=(
            Option(
                "assess",
                "real",
                default=0.5,
                low=0.0,
                summary="width of the bounds that rank candidates, in standard errors; 0 ranks by "
                "the mean",
            ),
            Option(
                "decide",
                "real",
                default=1.96,
                low=0.0,
                is_low_open=True,
                summary="width of the bounds on adapt, in standard errors",
            ),
        ),
        source="Ding et al. (2023), arXiv:2310.18893",
    ),
)
