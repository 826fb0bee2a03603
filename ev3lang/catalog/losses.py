"""Losses: what may be descended, each a real for every example."""

from __future__ import annotations

from ev3lang.catalog.signature import Function, Input, Option, parse_type, types

_REAL = parse_type("real")
_PREDICTION = Input("prediction", types("f32[...]", "real"))
_TARGET = Input("target", types("f32[...]", "real"))

LOSSES = (
    Function(
        name="cross_entropy",
        inputs=(
            Input("scores", types("logits[C]", "log_probs[C]")),
            Input("label", types("class[C]")),
        ),
        output=_REAL,
        family="loss",
        options=(
            Option(
                "label_smoothing",
                "ratio",
                default=0.0,
                low=0.0,
                high=1.0,
                summary="share of the target spread evenly over all classes",
            ),
        ),
        summary="negative log-likelihood of the label, in nats",
        source="Good (1952), J. R. Stat. Soc. B 14:107-114; label smoothing: Szegedy et al. "
        "(2016), arXiv:1512.00567",
        better="lower",
    ),
    Function(
        name="focal_loss",
        inputs=(
            Input("scores", types("logits[C]", "log_probs[C]")),
            Input("label", types("class[C]")),
        ),
        output=_REAL,
        family="loss",
        options=(
            Option(
                "gamma",
                "real",
                is_required=True,
                low=0.0,
                summary="how strongly well classified examples are played down; 0 for not at all",
            ),
        ),
        summary="cross entropy times (1 - probability of the label) ^ gamma",
        source="Lin et al. (2017), arXiv:1708.02002, equation 4",
        better="lower",
    ),
    Function(
        name="sigmoid_binary_cross_entropy",
        inputs=(Input("scores", types("logits[C]")), Input("labels", types("multi[C]"))),
        output=_REAL,
        family="loss",
        summary="negative log-likelihood of each label's presence, mean over the labels, in nats",
        source="Bishop (2006), Pattern Recognition and Machine Learning, equation 4.90",
        better="lower",
    ),
    Function(
        name="kl_divergence",
        inputs=(
            Input("target", types("probs[C]", "log_probs[C]")),
            Input("prediction", types("probs[C]", "log_probs[C]")),
        ),
        output=_REAL,
        family="loss",
        summary="KL(target || prediction): nats lost by taking the prediction for the target",
        source="Kullback and Leibler (1951), Ann. Math. Stat. 22:79-86",
        better="lower",
        told=("kinds",),
    ),
    Function(
        name="squared_error",
        inputs=(_PREDICTION, _TARGET),
        output=_REAL,
        family="loss",
        summary="squared difference, mean over the example's own dimensions",
        source="Legendre (1805), Nouvelles méthodes pour la détermination des orbites",
        better="lower",
    ),
    Function(
        name="absolute_error",
        inputs=(_PREDICTION, _TARGET),
        output=_REAL,
        family="loss",
        summary="absolute difference, mean over the example's own dimensions",
        source="Boscovich (1757); Bloomfield and Steiger (1983), Least Absolute Deviations",
        better="lower",
    ),
    Function(
        name="huber_loss",
        inputs=(_PREDICTION, _TARGET),
        output=_REAL,
        family="loss",
        options=(
            Option(
                "delta",
                "real",
                default=1.0,
                low=0.0,
                is_low_open=True,
                summary="difference from which on the loss grows linearly",
            ),
        ),
        summary="half the squared difference up to delta, linear beyond, mean over the "
        "example's own dimensions",
        source="Huber (1964), Ann. Math. Stat. 35:73-101",
        better="lower",
    ),
)
