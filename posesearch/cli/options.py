"""Options that several commands share: which data, which overrides."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from posesearch.errors import UsageError

if TYPE_CHECKING:
    from posesearch.data.source import DataSource
    from posesearch.flows.differentiable import Strategy
    from posesearch.flows.question import Wanted


# A negative number is refused with a sentence, not taken for an option of another name.
Limit = Annotated[str | None, Parameter(allow_leading_hyphen=True)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True, slots=True)
class DataOptions:
    """The data set; without any of these, generated people are used.

    Attributes:
        data: Folder of a COCO-format data set.
        annotations: Name of the annotation files in DIR/annotations (NAME_train.json, NAME_val.json), where the folder
            holds several.
        train_annotations: Annotation file of the training persons, instead of the folder's.
        val_annotations: Annotation file of the validation persons, instead of the folder's.
        images: Folder of the images of both splits, instead of the data set's own.
        train_images: Folder of the training images only.
        val_images: Folder of the validation images only.
    """

    data: str | None = None
    annotations: str | None = None
    train_annotations: str | None = None
    val_annotations: str | None = None
    images: str | None = None
    train_images: str | None = None
    val_images: str | None = None

    def given(self) -> dict[str, str]:
        """Returns the options that were given, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def as_words(self) -> str:
        """Returns the options as they are written on the command line."""
        return " ".join(
            f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in self.given().items()
        )

    def source(self) -> DataSource | None:
        """Returns the data source, or None where no option was given.

        Raises:
            UsageError: What was given names no data set.
        """
        given = self.given()
        if not given:
            return None
        if not {"data", "train_annotations", "val_annotations"} & set(given):
            only = " and ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UsageError(
                f"{only} alone does not name a data set. Give --data DIR too, or --train-annotations FILE, "
                "--val-annotations FILE and --images DIR."
            )
        from posesearch.data.source import DataSource

        return DataSource(**given)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True, slots=True)
class WantedOptions:
    """What a search is asked besides the latency budget.

    Attributes:
        objectives: Two or three of AP, latency_ms, params, macs, loss, separated by commas.
        max_params: Most parameters, e.g. 0.4M.
        max_macs: Most multiply-accumulates of one image, e.g. 60M or 1.2G.
        max_memory_mb: Most memory, millions of bytes, by calculation: parameters and the peak of activations.
    """

    objectives: str = "AP,latency_ms"
    max_params: Limit = None
    max_macs: Limit = None
    max_memory_mb: Limit = None

    def wanted(self) -> Wanted:
        """Returns what `flows.search` takes."""
        from posesearch.flows.question import Wanted

        return Wanted(**{field.name: getattr(self, field.name) for field in fields(self)})


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True, slots=True)
class StrategyOptions:
    """What goes before the sampler.

    Attributes:
        strategy: sample (the sampler alone), or differentiable: first learn by gradients, on a copy of the supernet, what
            to choose. What that finds is evaluated first and counts as evaluations. Needs a latency table.
        theta_epochs: Its passes over the training images; by default a fifth of the recipe's.
    """

    strategy: Literal["sample", "differentiable"] = "sample"
    theta_epochs: int | None = None

    def chosen(self) -> Strategy:
        """Returns what `flows.search` takes."""
        from posesearch.flows.differentiable import Strategy

        return Strategy(name=self.strategy, epochs=self.theta_epochs)


Overrides = Annotated[tuple[str, ...], Parameter(name="--set", negative=())]
Store = Literal["auto", "gpu", "host", "jpeg"]
MemoryFormat = Literal["contiguous", "channels_last"]
Switch = Annotated[bool, Parameter(negative=(), show_default=False)]
