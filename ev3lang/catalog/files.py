"""Sources that read files: their fields are declared in the spec and compared with the file."""

from __future__ import annotations

from ev3lang.catalog.signature import DataSource, Option


def _path(name: str, summary: str) -> Option:
    return Option(name, "path", is_required=True, summary=summary)


def _of_files(name: str, summary: str, source: str, *options: Option) -> DataSource:
    return DataSource(
        name=name,
        summary=summary,
        fields=(),
        options=options,
        source=source,
        declares_fields=True,
    )


FILES = (
    _of_files(
        "npz",
        "arrays of a NumPy file; `train/image` is field image of its part train",
        "numpy.load",
        _path("path", "the file, relative to the spec"),
    ),
    _of_files(
        "csv",
        "a text table with a line of names; a column `split` names the part of each row",
        "RFC 4180",
        _path("path", "the file, relative to the spec"),
    ),
    _of_files(
        "parquet",
        "a column store of numbers, text, lists and encoded pictures; a column `split` names the "
        "part of each row",
        "Apache Parquet",
        _path("path", "the file, relative to the spec"),
    ),
    _of_files(
        "idx",
        "the format of MNIST: a file of images and one of labels, fields `image` and `label`; "
        "plain or packed by gzip",
        "LeCun, Cortes and Burges (1998), The MNIST database",
        _path("images", "the file of images, relative to the spec"),
        _path("labels", "the file of labels, relative to the spec"),
    ),
    _of_files(
        "cifar",
        "the binary files of CIFAR-10 and CIFAR-100 in a folder: parts train and test, fields "
        "`image` and `label`, in CIFAR-100 `coarse_label` too",
        "Krizhevsky (2009), Learning multiple layers of features from tiny images",
        _path("path", "the folder, relative to the spec"),
    ),
    _of_files(
        "image_folder",
        "a folder of pictures for each class, fields `image` and `label`; or one for each part "
        "that holds those",
        "torchvision.datasets.ImageFolder",
        _path("path", "the folder, relative to the spec"),
    ),
    _of_files(
        "huggingface",
        "a data set of the Hugging Face hub, or a folder that its library saved; its splits are "
        "parts",
        "the datasets library",
        Option(
            "name",
            "text",
            is_required=True,
            summary="its name on the hub, or the folder, relative to the spec",
        ),
    ),
)
