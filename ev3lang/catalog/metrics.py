"""Metrics of classification and regression, and facts about models."""

from __future__ import annotations

from ev3lang.catalog.losses import OVER
from ev3lang.catalog.signature import Function, Input, Option, parse_type, types

_REAL = parse_type("real")
_LABELS = (Input("prediction", types("class[C]")), Input("label", types("class[C]")))
_PROBS = (Input("probs", types("probs[C]")), Input("label", types("class[C]")))
_BINARY = (
    Input("scores", types("real", "logits[2]", "probs[2]", "log_probs[2]")),
    Input("label", types("class[2]")),
)
_NUMBERS = (
    Input("prediction", types("f32[...]", "real")),
    Input("target", types("f32[...]", "real")),
)
_MODEL = (Input("model", ()),)

_POSITIVE = Option(
    "positive",
    "int",
    low=0,
    summary="the class to find; without it, the unweighted mean over the classes that occur, each "
    "taken for the positive one in turn",
    most="C - 1",
)
_POSITIVE_OF_TWO = Option(
    "positive", "int", default=1, low=0, high=1, summary="the class that high scores speak for"
)

CLASSIFICATION = (
    Function(
        name="precision",
        inputs=_LABELS,
        output=_REAL,
        family="metric",
        options=(_POSITIVE,),
        level="set",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        told=("classes",),
        summary="share of true ones among the examples predicted positive; 0 if there are none, "
        "not a number if no example is positive either",
        source="van Rijsbergen (1979), Information Retrieval, chapter 7",
    ),
    Function(
        name="recall",
        inputs=_LABELS,
        output=_REAL,
        family="metric",
        options=(_POSITIVE,),
        level="set",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        told=("classes",),
        summary="share of the positive examples that are predicted positive; not a number if there "
        "are none",
        source="van Rijsbergen (1979), Information Retrieval, chapter 7",
    ),
    Function(
        name="f1",
        inputs=_LABELS,
        output=_REAL,
        family="metric",
        options=(_POSITIVE,),
        level="set",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        told=("classes",),
        summary="harmonic mean of precision and recall; not a number if the class is neither "
        "there nor predicted",
        source="van Rijsbergen (1979), Information Retrieval, chapter 7",
    ),
    Function(
        name="fbeta",
        inputs=_LABELS,
        output=_REAL,
        family="metric",
        options=(
            Option(
                "beta",
                "real",
                is_required=True,
                low=0.0,
                is_low_open=True,
                summary="how many times as much recall counts as precision",
            ),
            _POSITIVE,
        ),
        level="set",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        told=("classes",),
        summary="weighted harmonic mean of precision and recall; not a number if the class is "
        "neither there nor predicted",
        source="van Rijsbergen (1979), Information Retrieval, chapter 7",
    ),
    Function(
        name="balanced_accuracy",
        inputs=_LABELS,
        output=_REAL,
        family="metric",
        level="set",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        told=("classes",),
        summary="recall, mean over the classes that occur",
        source="Brodersen et al. (2010), ICPR 20:3121-3124",
    ),
    Function(
        name="matthews_correlation",
        inputs=_LABELS,
        output=_REAL,
        family="metric",
        level="set",
        is_differentiable=False,
        range=(-1.0, 1.0),
        better="higher",
        told=("classes",),
        summary="correlation between predicted and true classes; 0 if one of them is constant",
        source="Matthews (1975), Biochim. Biophys. Acta 405:442-451; many classes: Gorodkin "
        "(2004), Comput. Biol. Chem. 28:367-374",
    ),
    Function(
        name="cohen_kappa",
        inputs=_LABELS,
        output=_REAL,
        family="metric",
        level="set",
        is_differentiable=False,
        range=(-1.0, 1.0),
        better="higher",
        told=("classes",),
        summary="agreement beyond that of chance; 0 if both are one and the same constant",
        source="Cohen (1960), Educ. Psychol. Meas. 20:37-46",
    ),
    Function(
        name="quadratic_weighted_kappa",
        inputs=_LABELS,
        output=_REAL,
        family="metric",
        level="set",
        is_differentiable=False,
        range=(-1.0, 1.0),
        better="higher",
        told=("classes",),
        summary="agreement on an ordered scale beyond that of chance, errors squared; 0 if both "
        "are one and the same constant",
        source="Cohen (1968), Psychol. Bull. 70:213-220",
    ),
    Function(
        name="confusion_matrix",
        inputs=_LABELS,
        output=parse_type("f32[C, C]"),
        family="metric",
        level="set",
        is_differentiable=False,
        told=("classes",),
        summary="examples of each true class (row) by predicted class (column)",
        source="Townsend (1971), Percept. Psychophys. 9:40-50",
    ),
    Function(
        name="log_loss",
        inputs=(
            Input("probs", types("probs[C]", "log_probs[C]")),
            Input("label", types("class[C]")),
        ),
        output=_REAL,
        family="metric",
        better="lower",
        told=("kinds",),
        summary="negative log-probability of the label, in nats",
        source="Good (1952), J. R. Stat. Soc. B 14:107-114",
    ),
    Function(
        name="brier",
        inputs=_PROBS,
        output=_REAL,
        family="metric",
        range=(0.0, 2.0),
        better="lower",
        summary="squared distance between predicted and true class probabilities",
        source="Brier (1950), Mon. Weather Rev. 78:1-3",
    ),
    Function(
        name="expected_calibration_error",
        inputs=_PROBS,
        output=_REAL,
        family="metric",
        options=(
            Option(
                "bins",
                "int",
                default=15,
                low=1,
                summary="intervals of equal width that confidence is sorted into",
            ),
        ),
        level="set",
        range=(0.0, 1.0),
        better="lower",
        summary="distance between confidence and accuracy, mean over bins of confidence weighted "
        "by their examples",
        source="Naeini et al. (2015), AAAI 29:2901-2907; Guo et al. (2017), arXiv:1706.04599",
    ),
    Function(
        name="roc_auc",
        inputs=_BINARY,
        output=_REAL,
        family="metric",
        options=(_POSITIVE_OF_TWO,),
        level="set",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        told=("kinds",),
        summary="chance that a positive example has a higher score than a negative one, ties "
        "counting half; not a number if a class is absent",
        source="Hanley and McNeil (1982), Radiology 143:29-36",
    ),
    Function(
        name="average_precision",
        inputs=_BINARY,
        output=_REAL,
        family="metric",
        options=(_POSITIVE_OF_TWO,),
        level="set",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        told=("kinds",),
        summary="precision at each positive example's score, mean over the positive ones; not a "
        "number if there are none",
        source="Zhu (2004), Recall, Precision and Average Precision, University of Waterloo",
    ),
)

REGRESSION = (
    Function(
        name="mean_squared_error",
        inputs=_NUMBERS,
        output=_REAL,
        family="metric",
        better="lower",
        summary="squared difference, mean over dimensions and examples",
        source="Gauss (1809), Theoria motus",
    ),
    Function(
        name="mean_absolute_error",
        inputs=_NUMBERS,
        output=_REAL,
        family="metric",
        better="lower",
        summary="absolute difference, mean over dimensions and examples",
        source="Willmott and Matsuura (2005), Clim. Res. 30:79-82",
    ),
    Function(
        name="root_mean_squared_error",
        inputs=_NUMBERS,
        output=_REAL,
        family="metric",
        level="set",
        better="lower",
        summary="root of the squared difference's mean over dimensions and examples",
        source="Willmott and Matsuura (2005), Clim. Res. 30:79-82",
    ),
    Function(
        name="r2_score",
        inputs=_NUMBERS,
        output=_REAL,
        family="metric",
        level="set",
        better="higher",
        summary="share of the target's variance that is explained, at most 1, mean over "
        "dimensions; not a number if the target, or a dimension of it, is constant",
        source="Wright (1921), J. Agric. Res. 20:557-585",
    ),
)

_MULTI = (Input("scores", types("logits[C]")), Input("labels", types("multi[C]")))

OF_MANY = (
    Function(
        name="subset_match",
        inputs=_MULTI,
        output=parse_type("bool"),
        family="metric",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        summary="whether exactly the labels with a logit above 0 are present",
        source="Zhu et al. (2005), SIGIR 28:274-281",
    ),
    Function(
        name="hamming_loss",
        inputs=_MULTI,
        output=_REAL,
        family="metric",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="lower",
        summary="share of the labels for which a logit above 0 is wrong",
        source="Schapire and Singer (2000), Mach. Learn. 39:135-168",
    ),
    Function(
        name="label_f1",
        inputs=_MULTI,
        output=_REAL,
        family="metric",
        options=(
            Option(
                "average",
                "name",
                default="macro",
                choices=("macro", "micro"),
                summary="mean of each label's own, or of all labels counted together",
            ),
        ),
        level="set",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        summary="harmonic mean of precision and recall of logits above 0; 0 for what never occurs",
        source="van Rijsbergen (1979), Information Retrieval, chapter 7",
    ),
    Function(
        name="macro_roc_auc",
        inputs=(
            Input("scores", types("probs[C]", "logits[C]", "log_probs[C]")),
            Input("label", types("class[C]")),
        ),
        output=_REAL,
        family="metric",
        level="set",
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        told=("kinds",),
        summary="chance that an example of a class has higher log-odds of it than one of another, "
        "ties counting half; mean over the classes that some and not all examples have",
        source="Provost and Domingos (2003), Mach. Learn. 52:199-215",
    ),
    Function(
        name="group_gap",
        inputs=(Input("value", types("real")), Input("group", types("class[G]", "text[G]"))),
        output=_REAL,
        family="metric",
        level="set",
        better="lower",
        told=("groups",),
        summary="largest difference between two groups' means of a value, of groups that occur: of "
        "being right, of being predicted positive; not a number of one group alone",
        source="Dwork et al. (2012), arXiv:1104.3913",
    ),
    Function(
        name="pearson_correlation",
        inputs=(Input("prediction", types("real")), Input("target", types("real"))),
        output=_REAL,
        family="metric",
        level="set",
        range=(-1.0, 1.0),
        better="higher",
        summary="linear correlation of prediction and target; 0 where one is constant",
        source="Pearson (1895), Proc. R. Soc. Lond. 58:240-242",
    ),
    Function(
        name="spearman_correlation",
        inputs=(Input("prediction", types("real")), Input("target", types("real"))),
        output=_REAL,
        family="metric",
        level="set",
        is_differentiable=False,
        range=(-1.0, 1.0),
        better="higher",
        summary="correlation of the ranks of prediction and target, of equals their mean rank",
        source="Spearman (1904), Am. J. Psychol. 15:72-101",
    ),
    Function(
        name="token_accuracy",
        inputs=(Input("scores", types("logits[T, C]")), Input("target", types("tokens[C, T]"))),
        output=_REAL,
        family="metric",
        options=(OVER,),
        is_differentiable=False,
        range=(0.0, 1.0),
        better="higher",
        summary="share of the places with a target whose highest score is the target's, of all",
        source="Bengio et al. (2003), J. Mach. Learn. Res. 3:1137-1155",
    ),
)

MODEL_FACTS = (
    Function(
        name="parameters",
        inputs=_MODEL,
        output=parse_type("int"),
        family="model",
        level="model",
        is_differentiable=False,
        better="lower",
        summary="how many numbers the model learns",
        source="counted",
    ),
    Function(
        name="flops",
        inputs=_MODEL,
        output=parse_type("int"),
        family="model",
        level="model",
        is_differentiable=False,
        better="lower",
        summary="operations of one example's forward pass: two for each product with a weight and "
        "each product of attention",
        source="counted",
    ),
    Function(
        name="depth",
        inputs=_MODEL,
        output=parse_type("int"),
        family="model",
        level="model",
        is_differentiable=False,
        summary="hidden layers of an mlp; of a pipe, the dense layers before its last",
        source="counted",
    ),
    Function(
        name="l2",
        inputs=_MODEL,
        output=_REAL,
        family="model",
        level="model",
        better="lower",
        summary="sum of the squares of all parameters",
        source="Hoerl and Kennard (1970), Technometrics 12:55-67",
    ),
)

METRICS = (*CLASSIFICATION, *OF_MANY, *REGRESSION, *MODEL_FACTS)
