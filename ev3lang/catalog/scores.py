"""Functions of class scores: from one kind to another, and to labels."""

from __future__ import annotations

from ev3lang.catalog.signature import SAME, Function, Input, Option, parse_type, types

_ANY_SCORES = Input("scores", types("logits[C]", "probs[C]", "log_probs[C]"))
_UNNORMALISED = Input("scores", types("logits[C]", "log_probs[C]"))

SCORES = (
    Function(
        name="softmax",
        inputs=(_UNNORMALISED,),
        output=parse_type("probs[C]"),
        family="scores",
        summary="probabilities of the classes",
        source="Bridle (1990), NIPS 2:211-217",
        range=(0.0, 1.0),
    ),
    Function(
        name="log_softmax",
        inputs=(_UNNORMALISED,),
        output=parse_type("log_probs[C]"),
        family="scores",
        summary="log-probabilities of the classes, in nats, exact where softmax rounds to 0",
        source="Bridle (1990), NIPS 2:211-217",
    ),
    Function(
        name="argmax",
        inputs=(_ANY_SCORES,),
        output=parse_type("class[C]"),
        family="scores",
        summary="the class with the highest score, the first of equals",
        source="the maximum-score decision rule",
        is_differentiable=False,
    ),
    Function(
        name="top_k",
        inputs=(_ANY_SCORES,),
        output=parse_type("classes[C]"),
        family="scores",
        options=(
            Option("k", "int", is_required=True, low=1, summary="how many classes", most="C"),
        ),
        summary="the k classes with the highest scores, the first of equals",
        source="Russakovsky et al. (2015), arXiv:1409.0575, section 4",
        is_differentiable=False,
    ),
    Function(
        name="stop_gradient",
        inputs=(
            Input(
                "value",
                types("f32[...]", "real", "logits[...]", "probs[...]", "log_probs[...]"),
            ),
        ),
        output=SAME,
        family="scores",
        summary="the same value, taken as a constant by every gradient",
        source="jax.lax.stop_gradient",
        is_differentiable=False,
    ),
    Function(
        name="straight_through",
        inputs=(
            Input("hard", types("f32[...]", "real")),
            Input("soft", types("f32[...]", "real")),
        ),
        output=SAME,
        family="scores",
        summary="the value of hard with the gradient of soft: a biased gradient, on purpose, of "
        "what has none",
        source="Bengio, Leonard and Courville (2013), arXiv:1308.3432",
        gradient_to="soft",
    ),
    Function(
        name="next_token",
        inputs=(Input("tokens", types("tokens[V, T]")),),
        output=parse_type("tokens[V, T]"),
        family="scores",
        summary="at each place the token that follows, the target of a language model; at the last "
        "one, and before padding, none",
        source="Bengio et al. (2003), J. Mach. Learn. Res. 3:1137-1155",
        is_differentiable=False,
    ),
)
