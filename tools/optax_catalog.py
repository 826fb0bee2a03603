"""The part of the catalogue that is read off the installed optax: `python -m tools.optax_catalog`.

Names, options and defaults are optax's; words and bounds are the ones below. A link that stands
in `catalog/optimizers.py` already, as an entry or as left out, is not written again.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax.flatten_util import ravel_pytree

from ev3lang.backend import optimizers
from ev3lang.catalog.optimizers import BY_HAND, LEFT_OUT
from ev3lang.catalog.signature import LARGEST_SEED, Optimizer, Option, Value
from ev3lang.plan.plan import Link, OptimizerPlan

TABLE = Path(__file__).parents[1] / "ev3lang" / "catalog" / "optax_table.py"

NOT_OFFERED: Mapping[str, str] = {
    **dict.fromkeys(
        ("mu_dtype", "accumulator_dtype", "dtype_momentum", "state_dtype", "param_dtype"),
        "a format of numbers; the language computes in float32",
    ),
    **dict.fromkeys(
        ("mask", "weight_decay_mask", "trust_ratio_mask"), "chooses among a model's weights"
    ),
    **dict.fromkeys(
        ("muon_weight_dimension_numbers", "weight_dimension_numbers", "axis"),
        "tells the dimensions of each of a model's arrays",
    ),
    **dict.fromkeys(("decay_rate_fn", "clip_value_fn"), "a function in Python"),
    **dict.fromkeys(("betas", "ns_coeffs", "init_step"), "several values in one"),
    "base_optimizer": "an optimizer within another",
    "seed": "deprecated; `key` is the same",
}
"""Arguments of optax that a spec can't give, and why; each has its default in optax."""

STRICTER: Mapping[tuple[str, str], str] = {
    ("adadelta", "learning_rate"): "without one optax goes up the gradient",
    ("scale_by_learning_rate", "learning_rate"): "without one optax goes up the gradient",
}
"""Options that optax has a default for and the language does not."""

NUMBERS_ALONE = frozenset(
    {
        ("novograd", "weight_decay"),
        ("optimistic_gradient_descent", "alpha"),
        ("optimistic_gradient_descent", "beta"),
    }
)
"""Options that optax says may be schedules and then computes with as numbers."""

KEY = 0
"""The default of `key`: what optax takes, with a warning, where none is given."""


# ---------------------------------------------------------------- words and bounds


def _real(summary: str, low: float | None = None, high: float | None = None) -> Option:
    return Option("", "real", low=low, high=high, summary=summary)


def _share(summary: str) -> Option:
    return _real(summary, 0.0, 1.0)


def _int(summary: str, low: int = 0) -> Option:
    return Option("", "int", low=low, summary=summary)


def _steps(summary: str, low: int = 0) -> Option:
    return Option("", "steps", low=low, summary=summary)


def _positive(summary: str) -> Option:
    return Option("", "real", low=0.0, is_low_open=True, summary=summary)


def _ratio(summary: str) -> Option:
    return Option("", "ratio", low=0.0, high=1.0, summary=summary)


def _bool(summary: str) -> Option:
    return Option("", "bool", summary=summary)


_LEARNING_RATE = Option("", "schedule", low=0.0, is_low_open=True, summary="step size")
_WEIGHT_DECAY = _real("share of the weights that is added to the update", 0.0)

WORDS: Mapping[str, Option] = {
    "adam_b1": _share("b1 of adam, for weights that are no matrices"),
    "adam_b2": _share("b2 of adam, for weights that are no matrices"),
    "adam_eps_root": _real("eps_root of adam, for weights that are no matrices", 0.0),
    "adam_learning_rate": Option(
        "",
        "schedule",
        low=0.0,
        is_low_open=True,
        summary="step size for weights that are no matrices; without it, learning_rate",
    ),
    "adam_weight_decay": _real("weight decay of weights that are no matrices", 0.0),
    "adaptive": _bool("scale by the size of the gradient's dual norm"),
    "alpha": _real("weight of the main term"),
    "b1": _share("decay of the gradient's running mean"),
    "b2": _share("decay of the squared gradient's running mean"),
    "b3": _share("decay of the third, slowest running mean"),
    "beta": _real("weight of the gradient's running mean"),
    "beta3": _share("decay of the estimate of the distance; without it, the root of b2"),
    "bias_correction": _bool("make up for the running mean's start"),
    "bias_correction_mu": _bool("make up for the start of the gradient's running mean"),
    "bias_correction_nu": _bool("make up for the start of the squared gradient's running mean"),
    "clipping": _positive("largest update as a share of the weights' norm"),
    "clipping_threshold": _positive("root mean square above which an array's update is scaled"),
    "consistent_rms": _positive("root mean square that every matrix's update is scaled to"),
    "debias": _bool("make up for the running mean's start at 0"),
    "decay": _share("share of the running value that is kept at each step"),
    "decay_offset": _int("steps that count as done before the first"),
    "decay_rate": _positive("rate of decay"),
    "div_factor": _positive("the peak over the first value"),
    "end_value": _real("bound where the change ends; without it, none"),
    "eps": _real("keeps a divisor from 0", 0.0),
    "eps_in_sqrt": _bool("whether eps stands under the root"),
    "eps_root": _real("added under the root", 0.0),
    "epsilon": _real("added to the squared gradient", 0.0),
    "estim_lr0": _positive("first estimate of the learning rate"),
    "estim_lr_coef": _positive("factor of the estimated learning rate"),
    "eta": _real("variance of the noise at the first step", 0.0),
    "eta_minus": _share("factor of a step size where the gradient's sign turns"),
    "eta_plus": _real("factor of a step size where the gradient keeps its sign", 1.0),
    "factored": _bool("keep a row and a column for each matrix, not all of its squares"),
    "final_div_factor": _positive("the first value over the last"),
    "flip_sign": _bool("go down the gradient"),
    "gamma": _real("power of the step count by which the noise's variance falls", 0.0),
    "global_scale": _positive("factor of every step size"),
    "init_estim_sq_dist": _positive("first estimate of the squared distance"),
    "init_value": _real("value at the start"),
    "initial_accumulator_value": _real("where the sum of squares starts", 0.0),
    "initial_scale": _real("where the running mean starts", 0.0),
    "k": _steps("steps from one update to the next", 1),
    "key": Option(
        "",
        "int",
        low=0,
        high=LARGEST_SEED,
        summary="seeds the noise, apart from the run's other draws",
    ),
    "learning_rate": _LEARNING_RATE,
    "max_step_size": _positive("largest step size"),
    "memory_size": _int("updates that are remembered", 1),
    "min_dim_size_to_factor": _int("matrices with a smaller side keep all squares", 1),
    "min_norm": _real("smallest norm that is divided by or scaled to", 0.0),
    "min_scale": _real("smallest factor", 0.0),
    "min_step_size": _real("smallest step size", 0.0),
    "mode": _real("how the sign is taken"),
    "momentum": _share("share of the last update that is kept; without it there is none"),
    "multiply_by_parameter_scale": _bool("scale by the root mean square of each array"),
    "nesterov": _bool("look ahead along the momentum (Nesterov 1983)"),
    "ns_steps": _int("rounds of Newton and Schulz's iteration", 1),
    "pct_final": _ratio("share of the steps after which the last fall begins"),
    "pct_start": _ratio("share of the steps up to the peak"),
    "peak_value": _real("value at the peak"),
    "preconditioning": _real("how a matrix is scaled before the iteration"),
    "rank": _int("rank of the space that gradients are projected to", 1),
    "reps_rel": _positive("first step, as a share of the weights' norm"),
    "rho": _share("decay of the running means of squares"),
    "safeguard_warmup": _bool("keep a warm-up out of the estimate of the distance"),
    "scale": _real("factor of the update after it is projected back"),
    "scale_factor": _positive("norm of the update"),
    "scale_init_precond": _bool("scale the first guess by the last change of the gradient"),
    "smooth_beta": _positive("sharpness of the smooth sign"),
    "staircase": _bool("fall in steps, not smoothly"),
    "step_offset": _int("steps that count as done before the first"),
    "step_size_fn": Option("", "schedule", summary="the factor, a number or a schedule"),
    "threshold": _real("where the rule changes", 0.0),
    "transition_begin": _steps("steps before it starts to change"),
    "transition_steps": _steps("steps of the whole change", 1),
    "trust_coefficient": _positive("factor of the ratio of norms"),
    "update_proj_gap": _int("steps from one projection to the next", 1),
    "use_clipping": _bool("keep each number of the scaled gradient within a growing bound"),
    "warmup_steps": _steps("steps to the peak", 1),
    "weight_decay": _WEIGHT_DECAY,
    "weight_decay_rate": _WEIGHT_DECAY,
}
"""An option by its name: what it is, its bounds, and its kind where optax has a bare number."""

OWN_WORDS: Mapping[tuple[str, str], Option] = {
    ("adan", "b1"): _share("decay of the gradient's running mean"),
    ("adan", "b2"): _share("decay of the running mean of the gradient's changes"),
    ("adan", "b3"): _share("decay of the squared gradient's running mean"),
    ("scale_by_adan", "b2"): _share("decay of the running mean of the gradient's changes"),
    ("scale_by_adan", "b3"): _share("decay of the squared gradient's running mean"),
    ("scale_by_lion", "b1"): _share("weight of the running mean in the update"),
    ("scale_by_lion", "b2"): _share("decay of the gradient's running mean"),
    ("adamax", "b2"): _share("decay of the largest gradient"),
    ("adamaxw", "b2"): _share("decay of the largest gradient"),
    ("scale_by_adamax", "b2"): _share("decay of the largest gradient"),
    ("sm3", "momentum"): _share("share of the last update that is kept"),
    ("madgrad", "momentum"): _share("share of the last weights that is kept"),
    ("scale_by_madgrad", "momentum"): _share("share of the last weights that is kept"),
    ("lars", "momentum"): _share("share of the last update that is kept"),
    ("cocob", "alpha"): _positive("share of the largest bet below which bets are held"),
    ("scale_by_cocob", "alpha"): _positive("share of the largest bet below which bets are held"),
    ("ademamix", "alpha"): _real("weight of the slow running mean", 0.0),
    ("scale_by_ademamix", "alpha"): _real("weight of the slow running mean", 0.0),
    ("simplified_ademamix", "alpha"): _real("weight of the gradient beside its mean", 0.0),
    ("scale_by_simplified_ademamix", "alpha"): _real("weight of the gradient beside its mean", 0.0),
    ("ademamix", "b3"): _share("decay of the slow running mean"),
    ("scale_by_ademamix", "b3"): _share("decay of the slow running mean"),
    ("optimistic_gradient_descent", "alpha"): _real("weight of the gradient"),
    ("optimistic_gradient_descent", "beta"): _real("weight of what the gradient changed by"),
    ("scale_by_optimistic_gradient", "alpha"): _real("weight of the gradient"),
    ("scale_by_optimistic_gradient", "beta"): _real("weight of what the gradient changed by"),
    ("optimistic_adam_v2", "alpha"): _real("weight of the gradient"),
    ("optimistic_adam_v2", "beta"): _real("weight of what the gradient changed by"),
    ("muon", "beta"): _share("decay of the gradient's running mean"),
    ("signum", "beta"): _share("decay of the gradient's running mean"),
    ("radam", "threshold"): _real("degrees of freedom below which nothing is rectified", 0.0),
    ("scale_by_radam", "threshold"): _real("degrees of freedom below which nothing is rectified"),
    ("clip_by_block_rms", "threshold"): _positive("largest root mean square of an array"),
    ("rprop", "learning_rate"): _positive("first step size of each weight"),
    ("scale_by_rprop", "learning_rate"): _positive("first step size of each weight"),
    ("adafactor", "learning_rate"): attrs.evolve(
        _LEARNING_RATE, summary="step size; without it, what the scale of the weights gives"
    ),
    ("adafactor", "decay_rate"): _positive("power of the step count that the decay follows"),
    ("scale_by_factored_rms", "decay_rate"): _positive(
        "power of the step count that the decay follows"
    ),
    ("galore", "scale"): _real("factor of the update after it is projected back", 0.0),
    ("warmup_exponential_decay_schedule", "transition_steps"): _steps(
        "steps in which the value falls by the rate once", 1
    ),
}
"""Where an option means something else than its name does elsewhere."""

_ADAM = "Kingma and Ba (2015), arXiv:1412.6980"
_ADABELIEF = "Zhuang et al. (2020), arXiv:2010.07468"
_ADADELTA = "Zeiler (2012), arXiv:1212.5701"
_ADAFACTOR = "Shazeer and Stern (2018), arXiv:1804.04235"
_ADAGRAD = "Duchi, Hazan and Singer (2011), J. Mach. Learn. Res. 12:2121-2159"
_ADAN = "Xie et al. (2022), arXiv:2208.06677"
_AMSGRAD = "Reddi, Kale and Kumar (2018), ICLR"
_ACPROP = "Zhuang et al. (2021), arXiv:2110.05454"
_ADEMAMIX = "Pagliardini, Ablin and Grangier (2024), arXiv:2409.03137"
_SIMPLIFIED = "Morwani et al. (2025), arXiv:2502.02431"
_ADOPT = "Taniguchi et al. (2024), arXiv:2411.02853"
_COCOB = "Orabona and Tommasi (2017), arXiv:1705.07795"
_DOG = "Ivgi, Hinder and Carmon (2023), arXiv:2302.12022"
_FROMAGE = "Bernstein et al. (2020), arXiv:2002.03432"
_GALORE = "Zhao et al. (2024), arXiv:2403.03507"
_LAMB = "You et al. (2020), arXiv:1904.00962"
_LARS = "You, Gitman and Ginsburg (2017), arXiv:1708.03888"
_LBFGS = "Liu and Nocedal (1989), Math. Program. 45:503-528"
_LION = "Chen et al. (2023), arXiv:2302.06675"
_MADGRAD = "Defazio and Jelassi (2021), arXiv:2101.11075"
_MUON = "Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks"
_NADAM = "Dozat (2016), Incorporating Nesterov momentum into Adam, ICLR workshop"
_NOISE = "Neelakantan et al. (2015), arXiv:1511.06807"
_NOVOGRAD = "Ginsburg et al. (2019), arXiv:1905.11286"
_ONE_CYCLE = "Smith and Topin (2017), arXiv:1708.07120"
_OPTIMISM = "Daskalakis et al. (2018), arXiv:1711.00141"
_RADAM = "Liu et al. (2020), arXiv:1908.03265"
_RMSPROP = "Tieleman and Hinton (2012), Neural Networks for Machine Learning, lecture 6"
_RPROP = "Riedmiller and Braun (1993), IEEE Int. Conf. Neural Netw. 1:586-591"
_SIGN = "Bernstein et al. (2018), arXiv:1802.04434"
_SM3 = "Anil et al. (2019), arXiv:1901.11150"
_YOGI = "Zaheer et al. (2018), Adaptive methods for nonconvex optimization, NeurIPS"

SUMMARIES: Mapping[str, tuple[str, str | None]] = {
    "acprop": ("adabelief that scales by what was known before this gradient", _ACPROP),
    "adabelief": ("steps scaled by how far the gradient is from its running mean", _ADABELIEF),
    "adadelta": ("steps scaled by running means of squares, of updates over gradients", _ADADELTA),
    "adafactor": ("adam's scaling with a row and a column for each matrix of squares", _ADAFACTOR),
    "adagrad": ("steps scaled by the root of the sum of all squared gradients", _ADAGRAD),
    "adamax": ("adam with the largest gradient in the place of the mean square", _ADAM),
    "adamaxw": ("adamax with weight decay apart from the gradient", _ADAM),
    "adan": ("adam with a running mean of the gradient's changes", _ADAN),
    "adaptive_grad_clip": (
        "keeps each unit's update below a share of that unit's weights",
        "Brock et al. (2021), arXiv:2102.06171",
    ),
    "add_noise": ("adds normal noise that falls with the step count", _NOISE),
    "ademamix": ("adamw with a second, slow running mean of the gradient", _ADEMAMIX),
    "adopt": ("adam that scales by the squares before this gradient", _ADOPT),
    "amsgrad": ("adam that scales by the largest mean square so far", _AMSGRAD),
    "apply_every": ("adds updates up and applies them every few steps", None),
    "centralize": (
        "takes the mean off each unit's update",
        "Yong et al. (2020), arXiv:2004.01461",
    ),
    "clip_by_block_rms": ("scales each array's update down to a root mean square", _ADAFACTOR),
    "cocob": ("steps by bets on coins, without a learning rate to set", _COCOB),
    "cosine_onecycle_schedule": ("half a cosine up to a peak, then one far down", _ONE_CYCLE),
    "dadapt_adamw": (
        "adamw that estimates its learning rate",
        "Defazio and Mishchenko (2023), arXiv:2301.07733",
    ),
    "dog": ("steps by the distance gone over the gradients seen", _DOG),
    "dowg": (
        "steps by the distance gone over gradients weighted by it",
        "Khaled, Mishchenko and Jin (2023), arXiv:2305.16284",
    ),
    "ema": ("a running mean of the updates", None),
    "fromage": ("updates of each array as long as its weights, times a rate", _FROMAGE),
    "galore": ("adam in a space of low rank for each matrix", _GALORE),
    "identity": ("leaves the update as it is", None),
    "keep_params_nonnegative": ("stops each weight at 0", None),
    "lamb": ("adam with a step as long as each array's weights", _LAMB),
    "lars": ("momentum with a step as long as each array's weights", _LARS),
    "linear_onecycle_schedule": ("straight lines up to a peak, back down and far down", _ONE_CYCLE),
    "madgrad": ("dual averaging scaled by the cube root of a sum of squares", _MADGRAD),
    "muon": ("matrices step by a near orthogonal matrix, all else by adam", _MUON),
    "nadam": ("adam that looks ahead along its momentum", _NADAM),
    "nadamw": ("adamw that looks ahead along its momentum", _NADAM),
    "noisy_sgd": ("gradient descent with noise that falls with the step count", _NOISE),
    "normalize": ("scales the update to length 1", None),
    "normalize_by_update_norm": ("scales the update to a length", None),
    "novograd": ("adam with one mean square for each array", _NOVOGRAD),
    "optimistic_adam_v2": ("adam with weighted steps along and against changes", _OPTIMISM),
    "optimistic_gradient_descent": ("a step that foresees the gradient's change", _OPTIMISM),
    "prodigy": (
        "adamw that estimates its learning rate, faster than dadapt_adamw",
        "Mishchenko and Defazio (2023), arXiv:2306.06101",
    ),
    "radam": ("adam that waits with scaling until its variance is known", _RADAM),
    "rprop": ("a step size for each weight that grows while the sign stays", _RPROP),
    "scale_by_acprop": ("acprop without its learning rate", _ACPROP),
    "scale_by_adadelta": ("adadelta without its learning rate", _ADADELTA),
    "scale_by_adam": ("adam without its learning rate", _ADAM),
    "scale_by_adamax": ("adamax without its learning rate", _ADAM),
    "scale_by_adan": ("adan without its learning rate", _ADAN),
    "scale_by_ademamix": ("ademamix without its learning rate", _ADEMAMIX),
    "scale_by_adopt": ("adopt without its learning rate", _ADOPT),
    "scale_by_amsgrad": ("amsgrad without its learning rate", _AMSGRAD),
    "scale_by_belief": ("adabelief without its learning rate", _ADABELIEF),
    "scale_by_cocob": ("cocob without its learning rate", _COCOB),
    "scale_by_distance_over_gradients": ("a step size from each array's distance gone", _DOG),
    "scale_by_factored_rms": ("scaling by a row and a column of squares", _ADAFACTOR),
    "scale_by_galore": ("galore without its learning rate", _GALORE),
    "scale_by_lbfgs": ("an estimate of the curvature from the last updates", _LBFGS),
    "scale_by_learning_rate": ("multiplies by minus the learning rate", None),
    "scale_by_lion": ("lion without its learning rate", _LION),
    "scale_by_madgrad": ("madgrad with the learning rate inside", _MADGRAD),
    "scale_by_novograd": ("novograd without its learning rate", _NOVOGRAD),
    "scale_by_optimistic_gradient": ("optimistic gradients without a learning rate", _OPTIMISM),
    "scale_by_param_block_norm": ("multiplies by the norm of each array's weights", _ADAFACTOR),
    "scale_by_param_block_rms": ("multiplies by the root mean square of each array", _ADAFACTOR),
    "scale_by_radam": ("radam without its learning rate", _RADAM),
    "scale_by_rms": ("rmsprop without its learning rate", _RMSPROP),
    "scale_by_rprop": ("rprop, up the gradient", _RPROP),
    "scale_by_rss": ("adagrad without its learning rate", _ADAGRAD),
    "scale_by_schedule": ("multiplies by a value over steps", None),
    "scale_by_sign": ("the sign of each number of the update", _SIGN),
    "scale_by_simplified_ademamix": ("simplified_ademamix without its rate", _SIMPLIFIED),
    "scale_by_sm3": ("sm3 without its learning rate", _SM3),
    "scale_by_stddev": ("centred rmsprop without its learning rate", _RMSPROP),
    "scale_by_trust_ratio": ("makes each array's update as long as its weights", _LAMB),
    "scale_by_yogi": ("yogi without its learning rate", _YOGI),
    "set_to_zero": ("no update at all", None),
    "signum": ("the sign of the gradient's running mean", _SIGN),
    "simplified_ademamix": ("ademamix with one running mean", _SIMPLIFIED),
    "sm3": ("adagrad with one sum for each row and column", _SM3),
    "trace": ("adds a share of the last updates: momentum", None),
    "warmup_exponential_decay_schedule": (
        "a straight line up to a peak, then a fall by a rate",
        "Goyal et al. (2017), arXiv:1706.02677",
    ),
    "yogi": ("adam whose mean square changes by a bounded share", _YOGI),
    "zero_nans": ("puts 0 in the place of what is not a number", None),
}
"""What a link does and where it is from; without a paper it is optax's own."""


# ---------------------------------------------------------------- what optax has


def public() -> dict[str, Callable[..., Any]]:
    """All functions of optax and optax.contrib that are neither losses nor work on trees."""
    found: dict[str, Callable[..., Any]] = {}
    for module in (optax.contrib, optax):
        for name in dir(module):
            value = getattr(module, name)
            # A partial, such as nadam, has no module of its own.
            home = getattr(getattr(value, "func", value), "__module__", "")
            if name.startswith("_") or not home.startswith("optax."):
                continue
            is_state = isinstance(value, type) and not hasattr(value, "gradient_transformation")
            if is_state or not callable(value):
                continue
            if not home.startswith(("optax.losses", "optax.tree_utils", "optax.perturbations")):
                found[name] = value
    return found


def catalogued() -> tuple[Optimizer, ...]:
    """An entry for each public function that is neither written by hand nor left out."""
    done = {*BY_HAND, *LEFT_OUT}
    return tuple(entry(name, each) for name, each in sorted(public().items()) if name not in done)


def entry(name: str, function: Callable[..., Any]) -> Optimizer:
    """A link of optax as the catalogue holds it."""
    first = (inspect.getdoc(function) or name).partition("\n")[0].rstrip(".")
    summary, source = SUMMARIES.get(name, (first, None))
    found = Optimizer(
        name=name,
        role=_role(name, function),
        summary=summary,
        options=tuple(options(name, function)),
        source=source or f"optax.{name}",
    )
    return attrs.evolve(found, per_array=found.role != "schedule" and works_per_array(found))


def _role(name: str, function: Callable[..., Any]) -> Any:
    if name.endswith("_schedule") and not name.startswith("scale_by_"):
        return "schedule"
    # The rate of scale_by_rprop and scale_by_madgrad is a setting of the scaling.
    is_scaled = "learning_rate" in inspect.signature(function).parameters
    if name == "scale_by_learning_rate" or (is_scaled and not name.startswith("scale_by_")):
        return "optimizer"
    return "transform"


def options(name: str, function: Callable[..., Any]) -> Iterator[Option]:
    """What a spec can give of a function's arguments; raises ValueError for one without words."""
    for place in inspect.signature(function).parameters.values():
        if place.name in NOT_OFFERED:
            continue
        words = OWN_WORDS.get((name, place.name)) or WORDS.get(place.name)
        if words is None:
            raise ValueError(
                f"optax's {name} has the argument {place.name}: give it words, or leave it out"
            )
        is_required = place.default is place.empty or (name, place.name) in STRICTER
        default = None if is_required else KEY if place.name == "key" else place.default
        kind, choices = _kind(place, words)
        kind = "real" if (name, place.name) in NUMBERS_ALONE else kind
        yield attrs.evolve(
            words,
            name=place.name,
            kind=kind,
            choices=choices,
            default=default,
            is_required=is_required,
        )


def _kind(place: inspect.Parameter, words: Option) -> tuple[str, tuple[str, ...]]:
    annotation = place.annotation
    if isinstance(place.default, str):
        return "name", tuple(annotation.__args__)
    if words.kind == "schedule" and "Callable" not in str(annotation):
        return "real", ()
    if words.kind == "real" and "Callable" in str(annotation):
        return "schedule", ()
    return words.kind, ()


# ---------------------------------------------------------------- what is per array

SENSIBLE: Mapping[str, Value] = {
    "clipping": 0.05,
    "decay": 0.9,
    "decay_rate": 0.5,
    "eta": 0.01,
    "gamma": 0.55,
    "init_value": 0.1,
    "learning_rate": 0.05,
    "peak_value": 0.5,
    "step_size_fn": 0.3,
    "threshold": 0.1,
    "transition_steps": 20,
    "warmup_steps": 4,
}
"""Values of required options for a trial."""

SMALL: Mapping[str, Value] = {"min_dim_size_to_factor": 2, "rank": 2}
"""Sizes for a trial with small arrays, which optax's defaults would pass over."""


def link(entry: Optimizer, **given: Value) -> Link:
    """A link with defaults, sensible values where there is none, and what is given."""
    values = {
        option.name: SENSIBLE[option.name] if option.is_required else option.default
        for option in entry.options
    }
    values |= {name: value for name, value in given.items() if name in values}
    return Link(entry.name, tuple(values.items()))


def trial(seed: int = 0) -> tuple[Any, list[Any]]:
    """Weights of several arrays, and three gradients."""
    shapes = {"first": {"kernel": (6, 5), "bias": (5,)}, "last": {"kernel": (5, 3), "bias": (3,)}}
    trees = []
    for key in jax.random.split(jax.random.key(seed), 4):
        is_shape = lambda each: isinstance(each, tuple)  # noqa: E731
        leaves, shape_of = jax.tree.flatten(shapes, is_leaf=is_shape)
        keys = jax.random.split(key, len(leaves))
        drawn = [jax.random.normal(k, shape) for k, shape in zip(keys, leaves, strict=True)]
        trees.append(jax.tree.unflatten(shape_of, drawn))
    return trees[0], trees[1:]


def followed(chain: optax.GradientTransformation, params: Any, grads: list[Any]) -> Any:
    """The updates of every step, stacked, and the weights in the end."""

    def one_step(carry: Any, grad: Any) -> Any:
        params, state = carry
        updates, state = chain.update(grad, state, params)
        return (optax.apply_updates(params, updates), state), updates

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *grads)
    (ended, _), updates = jax.lax.scan(one_step, (params, chain.init(params)), stacked)
    return updates, ended


def works_per_array(entry: Optimizer) -> bool:
    """Whether a link does something else to several arrays than to one vector of all of them.

    Noise is drawn for each array: other numbers of one distribution, which is no difference.
    """
    if any(option.name == "key" for option in entry.options):
        return False
    params, grads = trial()
    vector, restore = ravel_pytree(params)
    vectors = [ravel_pytree(grad)[0] for grad in grads]
    chain = optimizers.build(OptimizerPlan(entry.name, (link(entry, **SMALL),)))

    def both() -> tuple[Any, Any]:
        apart, _ = followed(chain, params, grads)
        whole, _ = followed(chain, vector, vectors)
        return apart, jax.vmap(restore)(whole)

    apart, whole = (ravel_pytree(each)[0] for each in jax.jit(both)())
    # Some start with steps of a millionth: what counts is a difference beside the updates' size.
    return not bool(jnp.allclose(apart, whole, rtol=1e-3, atol=1e-4 * jnp.max(jnp.abs(whole))))


# ---------------------------------------------------------------- writing

HEAD = f'''"""The links of optax {optax.__version__} without words by hand; written, not edited.

`python -m tools.optax_catalog` writes this file from the installed release.
"""

from __future__ import annotations

from ev3lang.catalog.signature import Optimizer, Option

'''


def text() -> str:
    """The table as Python, in the project's layout."""
    entries = "".join(f"{_written(each)},\n" for each in catalogued())
    shaped = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(TABLE), "-"],
        input=f"{HEAD}ENTRIES = (\n{entries})\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return shaped.stdout


def _written(value: Any) -> str:
    if not isinstance(value, Optimizer | Option):
        if isinstance(value, tuple):
            return f"({''.join(f'{_written(each)},' for each in value)})"
        return repr(value)
    fields = [
        (field.name, getattr(value, field.name), field.default)
        for field in attrs.fields(type(value))
    ]
    given = [(name, each) for name, each, default in fields if each != default]
    if isinstance(value, Option):
        (_, name), (_, kind), *given = given
        rest = "".join(f", {key}={_written(each)}" for key, each in given)
        return f"Option({name!r}, {kind!r}{rest})"
    return f"Optimizer({', '.join(f'{key}={_written(each)}' for key, each in given)})"


def main() -> None:
    TABLE.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
