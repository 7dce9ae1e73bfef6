"""The settings of texts with labels: where they come from, and what unlabelled text is beside."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from distillkit.data.data import Reader
from distillkit.data.duplicates import Duplicates
from distillkit.data.labels import check_names
from distillkit.data.sources import Spec, identity
from distillkit.data.texts import Texts
from distillkit.errors import ConfigError
from distillkit.setting_types import Fraction, NonNegativeInt, PositiveInt


@dataclass(frozen=True, kw_only=True)
class TextSettings(Texts):
    """A text a row, or a pair of them, with its label; and unlabelled text beside.

    `label` may be several columns, of 0 and 1 for one label each. `label_separator` stands between
    several labels of a text where they are one string. Of texts that stand in `train` again with
    another label, `duplicates` says which label counts. With `stratify` each class has about its
    share of the rows that are held out of `train`. `transfer` is unlabelled text; `transfer_unit:
    sentence` cuts it into sentences. Of more than `transfer_size` texts `transfer_choice` takes
    those that the hash of their text ranks first, or those most like the training texts.
    `transfer_spans` adds so many stretches of each training text, of `transfer_span_words` words;
    they need no `transfer`. Of pairs it is one text that is cut, or the other, or both.
    """

    text: str
    label: str | list[str]
    text_pair: str | None = None
    label_names: list[str] | None = None
    label_separator: str | None = None
    validation_fraction: Fraction = 0.1
    test_fraction: Fraction = 0.15
    drop_empty: bool = False
    duplicates: Duplicates = "first"
    stratify: bool = True
    decimal: Literal[".", ","] | None = None
    transfer: str | list[str] | None = None
    transfer_text: str | None = None
    transfer_where: dict[str, Any] | None = None
    transfer_unit: Literal["sentence", "row"] = "sentence"
    transfer_words: list[int] | None = None
    transfer_lowercase: bool = False
    transfer_size: NonNegativeInt | None = 40_000
    transfer_choice: Literal["hash", "like"] = "hash"
    transfer_spans: NonNegativeInt = 0
    transfer_spans_size: PositiveInt | None = None
    transfer_span_words: list[int] = field(default_factory=lambda: [3, 14])

    kind = "files"
    rows = "examples"
    can_be_augmented = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_names(self.label_names)
        if self.label_separator == "":
            raise ConfigError(
                "data.label_separator = '': is empty; write what stands between labels, as ';', or "
                "null"
            )
        if isinstance(self.label, list):
            if not self.label:
                raise ConfigError("data.label = []: names no column")
            check_names(self.label, key="data.label")
            if self.label_separator is not None:
                raise ConfigError(
                    f"data.label_separator = {self.label_separator!r}: stands between labels of "
                    "one column, and data.label names several; set it to null"
                )
        used = {"data.text": self.text, "data.text_pair": self.text_pair, **self.label_columns}
        twice = [key for key, name in used.items() if name == self.text and key != "data.text"]
        if twice:
            raise ConfigError(
                f"{twice[0]} = {self.text}: is data.text, too; each must be a column of its own"
            )
        for name in ("transfer_words", "transfer_span_words"):
            words = getattr(self, name)
            if words is not None and (len(words) != 2 or not 0 < words[0] <= words[1]):
                raise ConfigError(
                    f"data.{name} = {words}: must be the fewest and the most words, as [5, 40]"
                )
        if self.transfer and self.text_pair:
            raise ConfigError(
                "data.transfer: a transfer set of pairs is not supported; set it to null"
            )

    @property
    def label_columns(self) -> dict[str, str]:
        """The label columns, by their settings."""
        if isinstance(self.label, str):
            return {"data.label": self.label}
        return {f"data.label[{place}]": name for place, name in enumerate(self.label)}

    @property
    def names(self) -> list[str] | None:
        """The labels' names in their order, where the config gives them."""
        names = self.label_names or (self.label if isinstance(self.label, list) else None)
        return names and [name.strip() for name in names]

    @property
    def sources(self) -> dict[str, Spec]:
        """Where each split, and the unlabelled text, is read from."""
        return super().sources | ({"transfer": self.transfer} if self.transfer else {})

    @property
    def has_pairs(self) -> bool:
        """True if there is a second column of text."""
        return self.text_pair is not None

    def check_task(self, task: Reader) -> None:
        """Raise `ConfigError` for decimal numbers where labels are none."""
        if self.decimal and task.distribution != "real":
            raise ConfigError(
                f"data.decimal = {self.decimal}: is for real values, and other labels stay as they "
                "are written; choose task=regression, or set it to null"
            )

    @property
    def has_transfer(self) -> bool:
        """Whether there is a transfer set."""
        return bool(self.transfer and self.transfer_size != 0) or self.transfer_spans > 0

    def labelled_fields(self) -> dict[str, Any]:
        """All that decides the labelled splits: sources by content, and how they are cut."""
        fields_of_labels = super().labelled_fields()
        return {k: v for k, v in fields_of_labels.items() if not k.startswith("transfer")}

    def transfer_fields(self) -> dict[str, Any]:
        """All that decides the transfer set, beside the labelled text that it must not hold."""
        fields = asdict(self)
        settings = {k: fields[k] for k in fields if k.startswith("transfer_")}
        settings["transfer_text"] = self.transfer_text or self.text
        source = None
        if self.transfer:
            source = identity(self.transfer, key="data.transfer", repo_type="dataset")
        return {"source": source, **settings}
