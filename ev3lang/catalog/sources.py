"""Where data come from: scikit-learn's bundled sets and made-up distributions."""

from __future__ import annotations

from ev3lang.catalog.signature import LARGEST_SEED, DataSource, Option, parse_type

_N = Option(
    "n", "int", low=1, summary="how many examples, drawn once; without it every batch is fresh"
)


def _bundled(
    name: str,
    summary: str,
    rows: int,
    source: str,
    unscaled: tuple[str, ...] = (),
    **fields: str,
) -> DataSource:
    return DataSource(
        name=f"sklearn.{name}",
        summary=summary,
        fields=tuple((field, parse_type(type_)) for field, type_ in fields.items()),
        rows=rows,
        source=source,
        unscaled=unscaled,
    )


SOURCES = (
    _bundled(
        "digits",
        "handwritten digits of 8 x 8 pixels with values from 0 to 16",
        rows=1797,
        image="f32[8, 8, 1]",
        label="class[10]",
        source="Alpaydin and Kaynak (1998), UCI, doi:10.24432/C50P49",
    ),
    _bundled(
        "iris",
        "three kinds of iris by four lengths in cm",
        rows=150,
        features="f32[4]",
        label="class[3]",
        source="Fisher (1936), UCI, doi:10.24432/C56C76",
    ),
    _bundled(
        "wine",
        "wines of three growers by thirteen measurements",
        rows=178,
        unscaled=("features",),
        features="f32[13]",
        label="class[3]",
        source="Aeberhard and Forina (1991), UCI, doi:10.24432/C5PC7J",
    ),
    _bundled(
        "breast_cancer",
        "malignant (0) and benign (1) tumours by thirty measurements of cell nuclei",
        rows=569,
        unscaled=("features",),
        features="f32[30]",
        label="class[2]",
        source="Wolberg et al. (1995), UCI, doi:10.24432/C5DW2B",
    ),
    _bundled(
        "diabetes",
        "how far diabetes has gone after a year, from 25 to 346, by ten measurements",
        rows=442,
        features="f32[10]",
        target="real",
        source="Efron et al. (2004), Ann. Stat. 32:407-499",
    ),
    DataSource(
        name="two_moons",
        summary="two half circles that reach into each other, with normal noise",
        fields=(("point", parse_type("f32[2]")), ("label", parse_type("class[2]"))),
        options=(
            Option(
                "noise",
                "real",
                default=0.1,
                low=0.0,
                summary="standard deviation of what is added; the circles have radius 1",
            ),
            _N,
        ),
        rows_option="n",
        source="Pedregosa et al. (2011), J. Mach. Learn. Res. 12:2825-2830, make_moons",
    ),
    DataSource(
        name="gaussian_clusters",
        summary="normal clouds of variance 1, a class each, around equally spaced points of a "
        "circle in the first two dimensions",
        fields=(
            ("point", parse_type("f32[dimensions]")),
            ("label", parse_type("class[classes]")),
        ),
        options=(
            Option("classes", "int", is_required=True, low=2, summary="how many clouds"),
            Option(
                "distance",
                "real",
                default=4.0,
                low=0.0,
                summary="between the centres of neighbours; two clouds are confused with chance "
                "Phi(-distance / 2) at least",
            ),
            Option("dimensions", "int", default=2, low=2, summary="numbers in a point"),
            _N,
        ),
        rows_option="n",
        source="Fisher (1936), Ann. Eugen. 7:179-188",
    ),
    DataSource(
        name="teacher_network",
        summary="normal points, labelled by one random network with a hidden layer",
        fields=(
            ("point", parse_type("f32[dimensions]")),
            ("label", parse_type("class[classes]")),
        ),
        options=(
            Option("classes", "int", default=4, low=2, summary="how many labels"),
            Option("dimensions", "int", default=16, low=1, summary="numbers in a point"),
            Option("hidden", "int", default=32, low=1, summary="width of the hidden layer"),
            Option(
                "temperature",
                "real",
                default=0.0,
                low=0.0,
                summary="labels are drawn from softmax(logits / temperature); 0 takes the highest",
            ),
            Option(
                "seed",
                "int",
                default=0,
                low=0,
                high=LARGEST_SEED,
                summary="of the network's weights",
            ),
            _N,
        ),
        rows_option="n",
        source="Gardner and Derrida (1989), J. Phys. A 22:1983-1994",
    ),
)
