"""Links of optimizer chains and schedules, under their optax names and with optax's defaults.

These have their words by hand; the rest of optax stands in `optax_table.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ev3lang.catalog.signature import Optimizer, Option

_LEARNING_RATE = Option(
    "learning_rate",
    "schedule",
    is_required=True,
    low=0.0,
    is_low_open=True,
    summary="step size, a number or a schedule",
)
_NESTEROV = Option(
    "nesterov", "bool", default=False, summary="look ahead along the momentum (Nesterov 1983)"
)
_EPS = Option("eps", "real", default=1e-8, low=0.0, summary="added to the denominator")
_EPS_ROOT = Option("eps_root", "real", default=0.0, low=0.0, summary="added under the root")


def _decay(name: str, default: float, summary: str) -> Option:
    return Option(name, "real", default=default, low=0.0, high=1.0, summary=summary)


def _weight_decay(default: float) -> Option:
    return Option(
        "weight_decay",
        "schedule",
        default=default,
        low=0.0,
        summary="share of the weights that is added to the update, scaled by the learning rate",
    )


def _steps(name: str, summary: str) -> Option:
    return Option(name, "steps", is_required=True, low=1, summary=summary)


def _value(name: str, summary: str, default: float | None = None) -> Option:
    return Option(name, "real", default=default, is_required=default is None, summary=summary)


_MOMENTUM = Option(
    "momentum",
    "real",
    low=0.0,
    high=1.0,
    summary="share of the last update that is kept; without it there is none",
)
_BEGIN = Option(
    "transition_begin", "steps", default=0, low=0, summary="steps before it starts to change"
)
_EXPONENT = Option(
    "exponent", "real", default=1.0, low=0.0, summary="power that the cosine's curve is raised to"
)

_SGD = "Robbins and Monro (1951), Ann. Math. Stat. 22:400-407; Sutskever et al. (2013), ICML 28"
_ADAM = "Kingma and Ba (2015), arXiv:1412.6980"
_COSINE = "Loshchilov and Hutter (2017), arXiv:1608.03983"
_WARMUP = "Goyal et al. (2017), arXiv:1706.02677"

OPTIMIZERS = (
    Optimizer(
        name="sgd",
        role="optimizer",
        summary="stochastic gradient descent, with momentum if wanted",
        options=(_LEARNING_RATE, _MOMENTUM, _NESTEROV),
        source=_SGD,
    ),
    Optimizer(
        name="adam",
        role="optimizer",
        summary="steps scaled by running means of the gradient and of its square",
        options=(
            _LEARNING_RATE,
            _decay("b1", 0.9, "decay of the gradient's running mean"),
            _decay("b2", 0.999, "decay of the squared gradient's running mean"),
            _EPS,
            _EPS_ROOT,
            _NESTEROV,
        ),
        source=_ADAM,
    ),
    Optimizer(
        name="adamw",
        role="optimizer",
        summary="adam with weight decay apart from the gradient",
        options=(
            _LEARNING_RATE,
            _decay("b1", 0.9, "decay of the gradient's running mean"),
            _decay("b2", 0.999, "decay of the squared gradient's running mean"),
            _EPS,
            _EPS_ROOT,
            _weight_decay(1e-4),
            _NESTEROV,
        ),
        source="Loshchilov and Hutter (2019), arXiv:1711.05101",
    ),
    Optimizer(
        name="lion",
        role="optimizer",
        summary="the sign of a running mean of the gradient, with weight decay",
        options=(
            _LEARNING_RATE,
            _decay("b1", 0.9, "weight of the running mean in the update"),
            _decay("b2", 0.99, "decay of the gradient's running mean"),
            _weight_decay(1e-3),
        ),
        source="Chen et al. (2023), arXiv:2302.06675",
    ),
    Optimizer(
        name="rmsprop",
        role="optimizer",
        summary="steps scaled by a running mean of the squared gradient",
        options=(
            _LEARNING_RATE,
            _decay("decay", 0.9, "decay of the squared gradient's running mean"),
            _EPS,
            Option(
                "initial_scale",
                "real",
                default=0.0,
                low=0.0,
                summary="where the running mean starts",
            ),
            Option(
                "eps_in_sqrt", "bool", default=True, summary="whether eps stands under the root"
            ),
            Option(
                "centered",
                "bool",
                default=False,
                summary="take the variance of the gradient rather than its mean square",
            ),
            _MOMENTUM,
            _NESTEROV,
            Option(
                "bias_correction",
                "bool",
                default=False,
                summary="make up for the running mean's start",
            ),
        ),
        source="Tieleman and Hinton (2012), Neural Networks for Machine Learning, lecture 6",
    ),
    Optimizer(
        name="sign_sgd",
        role="optimizer",
        summary="the sign of the gradient times the learning rate",
        options=(_LEARNING_RATE,),
        source="Bernstein et al. (2018), arXiv:1802.04434",
    ),
    Optimizer(
        name="clip_by_global_norm",
        role="transform",
        summary="scales the whole update down to a norm where it is longer",
        options=(
            Option(
                "max_norm",
                "real",
                is_required=True,
                low=0.0,
                is_low_open=True,
                summary="longest Euclidean norm that all parts of the update have together",
            ),
        ),
        source="Pascanu, Mikolov and Bengio (2013), arXiv:1211.5063",
    ),
    Optimizer(
        name="clip",
        role="transform",
        summary="keeps each number of the update between -max_delta and max_delta",
        options=(
            Option(
                "max_delta",
                "real",
                is_required=True,
                low=0.0,
                is_low_open=True,
                summary="largest size of one number",
            ),
        ),
        source="optax.clip",
    ),
    Optimizer(
        name="add_decayed_weights",
        role="transform",
        summary="adds a share of the weights to the update",
        options=(
            Option(
                "weight_decay",
                "schedule",
                default=0.0,
                low=0.0,
                summary="that share, a number or a schedule",
            ),
        ),
        source="Loshchilov and Hutter (2019), arXiv:1711.05101",
    ),
    Optimizer(
        name="scale",
        role="transform",
        summary="multiplies the update by a number",
        options=(_value("step_size", "that number"),),
        source="optax.scale",
    ),
    Optimizer(
        name="params_ema",
        role="transform",
        summary="the candidate is an average of its roll-out's weights, of which the last count "
        "most; stands last",
        options=(
            Option(
                "decay",
                "real",
                is_required=True,
                low=0.0,
                high=0.99999,
                summary="share of the average that is kept each step",
            ),
        ),
        source="Polyak and Juditsky (1992), SIAM J. Control Optim. 30:838-855",
    ),
)

DECAYS_ALL = frozenset({"dadapt_adamw", "madgrad", "novograd", "prodigy", "scale_by_novograd"})
"""Links whose weight decay optax can't keep from some of the weights."""

DECAYS = ("weight_decay", "weight_decay_rate")
"""What the rate of weight decay is called, where a mask may go with it."""

DECAYS_UNMASKED = "adam_weight_decay"
"""The rate at which `muon` decays what it leaves to Adam, for which it takes no mask."""

FIXED: Mapping[str, frozenset[str]] = {
    "adagrad": frozenset({"initial_accumulator_value"}),
    "cocob": frozenset({"eps"}),
    "dadapt_adamw": frozenset({"estim_lr0"}),
    "dowg": frozenset({"init_estim_sq_dist"}),
    "params_ema": frozenset({"decay"}),
    "rmsprop": frozenset({"initial_scale"}),
    "rprop": frozenset({"learning_rate"}),
    "scale_by_cocob": frozenset({"eps"}),
    "scale_by_distance_over_gradients": frozenset({"reps_rel"}),
    "scale_by_lion": frozenset({"smooth_beta"}),
    "scale_by_rms": frozenset({"initial_scale"}),
    "scale_by_rprop": frozenset({"learning_rate"}),
    "scale_by_rss": frozenset({"initial_accumulator_value"}),
    "scale_by_sm3": frozenset({"b2"}),
    "scale_by_stddev": frozenset({"initial_scale"}),
    "scale_by_yogi": frozenset({"initial_accumulator_value"}),
}
"""Numbers that a link takes in before its first step alone, or builds its steps by: no factor that
is drawn later changes them."""

SCHEDULES = (
    Optimizer(
        name="constant_schedule",
        role="schedule",
        summary="one value at every step",
        options=(_value("value", "that value"),),
        source="optax.constant_schedule",
    ),
    Optimizer(
        name="linear_schedule",
        role="schedule",
        summary="a straight line from one value to another, which then stays",
        options=(
            _value("init_value", "value at the start"),
            _value("end_value", "value at the end"),
            _steps("transition_steps", "steps from start to end"),
            _BEGIN,
        ),
        source="optax.linear_schedule",
    ),
    Optimizer(
        name="polynomial_schedule",
        role="schedule",
        summary="a power's curve from one value to another, which then stays",
        options=(
            _value("init_value", "value at the start"),
            _value("end_value", "value at the end"),
            Option("power", "real", is_required=True, low=0.0, is_low_open=True, summary="power"),
            _steps("transition_steps", "steps from start to end"),
            _BEGIN,
        ),
        source="optax.polynomial_schedule",
    ),
    Optimizer(
        name="exponential_decay",
        role="schedule",
        summary="the value times a rate to the power of the share of steps done",
        options=(
            _value("init_value", "value at the start"),
            _steps("transition_steps", "steps in which the value falls by the rate once"),
            Option(
                "decay_rate", "real", is_required=True, low=0.0, is_low_open=True, summary="rate"
            ),
            _BEGIN,
            Option("staircase", "bool", default=False, summary="fall in steps, not smoothly"),
            Option("end_value", "real", summary="bound where the fall ends; without it, none"),
        ),
        source="optax.exponential_decay",
    ),
    Optimizer(
        name="cosine_decay_schedule",
        role="schedule",
        summary="half a cosine from a value down to a share of it, which then stays",
        options=(
            _value("init_value", "value at the start"),
            _steps("decay_steps", "steps to the end"),
            Option("alpha", "real", default=0.0, summary="share of the value left at the end"),
            _EXPONENT,
        ),
        source=_COSINE,
    ),
    Optimizer(
        name="warmup_constant_schedule",
        role="schedule",
        summary="a straight line up to a peak, which then stays",
        options=(
            _value("init_value", "value at the start"),
            _value("peak_value", "value at the end"),
            _steps("warmup_steps", "steps to the peak"),
        ),
        source=_WARMUP,
    ),
    Optimizer(
        name="warmup_cosine_decay_schedule",
        role="schedule",
        summary="a straight line up to a peak, then half a cosine down to the end",
        options=(
            _value("init_value", "value at the start"),
            _value("peak_value", "value at the peak"),
            _steps("warmup_steps", "steps to the peak"),
            _steps("decay_steps", "steps from start to end, the warm-up among them"),
            _value("end_value", "value at the end", default=0.0),
            _EXPONENT,
        ),
        source=_COSINE,
    ),
    Optimizer(
        name="cosine",
        role="schedule",
        summary="half a cosine from a value down to a share of it, which then stays",
        options=(
            _value("init_value", "value at the start"),
            _steps("over", "steps to the end"),
            Option("alpha", "real", default=0.0, summary="share of the value left at the end"),
            _EXPONENT,
        ),
        alias_of="cosine_decay_schedule",
        source=_COSINE,
    ),
    Optimizer(
        name="warmup",
        role="schedule",
        summary="a straight line from 0 up to a peak, which then stays",
        options=(
            _value("peak_value", "value at the end"),
            _steps("over", "steps to the peak"),
            _value("init_value", "value at the start", default=0.0),
        ),
        alias_of="warmup_constant_schedule",
        source=_WARMUP,
    ),
    Optimizer(
        name="warmup_cosine",
        role="schedule",
        summary="a straight line from 0 up to a peak, then half a cosine down to the end",
        options=(
            _value("peak_value", "value at the peak"),
            _steps("warmup_steps", "steps to the peak"),
            _steps("over", "steps from start to end, the warm-up among them"),
            _value("init_value", "value at the start", default=0.0),
            _value("end_value", "value at the end", default=0.0),
            _EXPONENT,
        ),
        alias_of="warmup_cosine_decay_schedule",
        source=_COSINE,
    ),
)

BY_HAND = frozenset(entry.name for entry in (*OPTIMIZERS, *SCHEDULES))
"""The names that are not read off optax."""


def _for_one_reason(reason: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, reason)


LEFT_OUT: Mapping[str, str] = {
    **_for_one_reason(
        "wraps another optimizer, and the options of a link are numbers",
        "MultiSteps",
        "apply_if_finite",
        "flatten",
        "lookahead",
        "mechanize",
        "sam",
        "schedule_free",
        "split_real_and_imaginary",
        "with_extra_args_support",
    ),
    **_for_one_reason("a chain is written with `|`", "chain", "named_chain"),
    **_for_one_reason(
        "asks for a choice among a model's weights",
        "freeze",
        "masked",
        "multi_transform",
        "partition",
        "selective_transform",
    ),
    **_for_one_reason(
        "asks for a function in Python",
        "conditionally_mask",
        "conditionally_transform",
        "inject_hyperparams",
        "inject_stateful_hyperparams",
        "measure_with_ema",
        "microbatch",
        "monitor",
        "snapshot",
        "stateless",
        "stateless_with_tree_map",
        "value_and_grad_from_state",
    ),
    **_for_one_reason(
        "needs the loss again at other weights than a step has computed it at",
        "lbfgs",
        "scale_by_backtracking_linesearch",
        "scale_by_zoom_linesearch",
    ),
    **_for_one_reason(
        "needs the loss's value beside its gradient",
        "momo",
        "momo_adam",
        "polyak_sgd",
        "reduce_on_plateau",
        "scale_by_polyak",
    ),
    **_for_one_reason(
        "needs second derivatives of the loss", "hutchinson_estimator_diag_hessian", "sophia"
    ),
    **_for_one_reason(
        "needs the gradient of each example on its own",
        "differentially_private_aggregate",
        "dpsgd",
        "per_example_global_norm_clip",
        "per_example_layer_norm_clip",
    ),
    **_for_one_reason(
        "its weights are measured at another place than they are trained at",
        "schedule_free_adamw",
        "schedule_free_eval_params",
        "schedule_free_sgd",
    ),
    **_for_one_reason(
        "takes lists of values; a schedule's options are single numbers",
        "join_schedules",
        "piecewise_constant_schedule",
        "piecewise_interpolate_schedule",
        "sgdr_schedule",
    ),
    **_for_one_reason("deprecated; `optimistic_adam_v2` stands for it", "optimistic_adam"),
    **_for_one_reason("takes matrices alone; `muon` has adam for the rest", "scale_by_muon"),
    **_for_one_reason(
        "no link of a chain: a tool for programs in Python",
        "apply_updates",
        "global_norm",
        "incremental_update",
        "init_empty_state",
        "matrix_inverse_pth_root",
        "multi_normal",
        "nnls",
        "periodic_update",
        "power_iteration",
        "safe_increment",
        "safe_int32_increment",
        "safe_norm",
        "safe_root_mean_squares",
        "scale_gradient",
        "skip_large_updates",
        "skip_not_finite",
    ),
}
"""What optax has and the language does not offer as a link or schedule, and why."""
