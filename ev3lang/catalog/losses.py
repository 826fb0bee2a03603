"""Losses: what may be descended, each a real for every example."""

from __future__ import annotations

from ev3lang.catalog.signature import Function, Input, Option, parse_type, types

_REAL = parse_type("real")
_PREDICTION = Input("prediction", types("f32[...]", "real"))
_TARGET = Input("target", types("f32[...]", "real"))

OVER = Option(
    "over",
    "name",
    default="tokens",
    choices=("tokens", "sequences"),
    summary="mean over the tokens of the batch or set, a sequence counting by how many it has; or "
    "over sequences of each one's own mean, for data in which every sequence has a target",
)
"""What a mean over the places of sequences is taken over."""

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
    Function(
        name="weighted_cross_entropy",
        inputs=(
            Input("scores", types("logits[C]", "log_probs[C]")),
            Input("label", types("class[C]")),
        ),
        output=_REAL,
        family="loss",
        options=(
            Option(
                "weights",
                "reals",
                is_required=True,
                low=0.0,
                summary="what an example of each class counts, one for each",
            ),
        ),
        summary="cross entropy times the weight of the label's class; the mean stays over examples",
        source="King and Zeng (2001), Political Analysis 9:137-163",
        better="lower",
        told=("classes",),
    ),
    Function(
        name="decoupled_distillation",
        inputs=(
            Input("target", types("logits[C]")),
            Input("prediction", types("logits[C]")),
            Input("label", types("class[C]")),
        ),
        output=_REAL,
        family="loss",
        options=(
            Option("T", "real", default=4.0, low=0.0, is_low_open=True, summary="temperature"),
            Option("alpha", "real", default=1.0, low=0.0, summary="weight of the label's share"),
            Option("beta", "real", default=8.0, low=0.0, summary="weight of all other classes"),
        ),
        summary="distillation with the label's probability and the others' proportions apart, "
        "times T ^ 2",
        source="Zhao et al. (2022), arXiv:2203.08679, equation 7",
        better="lower",
    ),
    Function(
        name="attention_matching",
        inputs=(
            Input("target", types("f32[H, W, C]")),
            Input("prediction", types("f32[H, W, D]")),
        ),
        output=_REAL,
        family="loss",
        summary="squared distance of two maps of activity, each the norm over channels at every "
        "place, scaled to length 1",
        source="Zagoruyko and Komodakis (2017), arXiv:1612.03928, equation 2",
        better="lower",
    ),
    Function(
        name="cosine_distance",
        inputs=(Input("prediction", types("f32[D]")), Input("target", types("f32[D]"))),
        output=_REAL,
        family="loss",
        summary="1 less the cosine of the angle between two vectors",
        source="Salton and McGill (1983), Introduction to Modern Information Retrieval",
        range=(0.0, 2.0),
        better="lower",
    ),
    Function(
        name="contrastive_loss",
        inputs=(Input("anchor", types("f32[D]")), Input("positive", types("f32[D]"))),
        output=_REAL,
        family="loss",
        options=(
            Option(
                "temperature",
                "real",
                default=0.1,
                low=0.0,
                is_low_open=True,
                summary="what cosines are divided by",
            ),
        ),
        summary="cross entropy of finding an example's own partner among those of the whole batch, "
        "by the cosine; what it is depends on the batch, or on its part where a batch has parts",
        source="van den Oord, Li and Vinyals (2018), arXiv:1807.03748, equation 4",
        better="lower",
        compares_examples=True,
    ),
    Function(
        name="hinge_loss",
        inputs=(Input("scores", types("logits[C]")), Input("label", types("class[C]"))),
        output=_REAL,
        family="loss",
        options=(
            Option(
                "margin",
                "real",
                default=1.0,
                low=0.0,
                is_low_open=True,
                summary="how far the label's score should lead",
            ),
        ),
        summary="how much the label's score falls short of leading all others by the margin",
        source="Crammer and Singer (2001), J. Mach. Learn. Res. 2:265-292",
        better="lower",
    ),
    Function(
        name="quantile_loss",
        inputs=(_PREDICTION, _TARGET),
        output=_REAL,
        family="loss",
        options=(
            Option(
                "quantile",
                "ratio",
                default=0.5,
                low=0.0,
                high=1.0,
                summary="share of the targets that should lie below the prediction",
            ),
        ),
        summary="absolute difference, weighted by the quantile above the prediction and by the "
        "rest below, mean over the example's own dimensions",
        source="Koenker and Bassett (1978), Econometrica 46:33-50",
        better="lower",
    ),
    Function(
        name="log_cosh",
        inputs=(_PREDICTION, _TARGET),
        output=_REAL,
        family="loss",
        summary="logarithm of the hyperbolic cosine of the difference, mean over the example's own "
        "dimensions",
        source="Saleh and Saleh (2022), arXiv:2208.04564",
        better="lower",
    ),
    Function(
        name="ctc_loss",
        inputs=(Input("scores", types("logits[T, C]")), Input("target", types("tokens[C, L]"))),
        output=_REAL,
        family="loss",
        summary="negative log-likelihood of a sequence under all its alignments; token 0 is the "
        "blank and stands in no target",
        source="Graves et al. (2006), ICML 23:369-376",
        better="lower",
    ),
    Function(
        name="token_cross_entropy",
        inputs=(Input("scores", types("logits[T, C]")), Input("target", types("tokens[C, T]"))),
        output=_REAL,
        family="loss",
        options=(
            Option(
                "label_smoothing",
                "ratio",
                default=0.0,
                low=0.0,
                high=1.0,
                summary="share of the target spread evenly over all tokens",
            ),
            OVER,
        ),
        summary="cross entropy of the places that have a target, in nats, mean over all of them",
        source="Bengio et al. (2003), J. Mach. Learn. Res. 3:1137-1155",
        better="lower",
    ),
)
