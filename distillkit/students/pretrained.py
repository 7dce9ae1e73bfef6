"""A student that starts from pretrained weights."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from distillkit.console.progress import say
from distillkit.models.shapes import meta_model
from distillkit.models.vocabularies import fit_to_tokenizer
from distillkit.students.adapters import Adapted, Lora
from distillkit.students.student import Source, Student, StudentContext


@dataclass(frozen=True)
class PretrainedStudent(Adapted, Student):
    """A folder, hub id or pypi:// whose body the student starts from, with its own tokenizer.

    Where ids must mean the same to its teacher, it reads with the teacher's tokenizer and chat
    template, and is saved with them; its own must have the same vocabulary. `labels` is for
    `evaluate`: the names of its outputs. With an `adapter` its weights stay as they are, and what
    `lora` says is trained beside them.
    """

    path: str
    labels: list[str] | None = None
    adapter: Literal["lora"] | None = None
    lora: Lora = field(default_factory=Lora)

    def __post_init__(self) -> None:
        self.check_adapter()

    @property
    def tokenizer_source(self) -> Source:
        """That of the weights."""
        return "student.path", self.path

    @property
    def weights_source(self) -> Source:
        """The folder, hub id or pypi://."""
        return "student.path", self.path

    @property
    def label(self) -> str:
        """The setting that names it."""
        return f"student.path = {self.path}"

    def describe(self, settings: str, short: Callable[[str], str]) -> str:
        """The source, shortened."""
        return f"{short(self.path)}, from its weights on{self.adapter_label()}"

    def make(self, context: StudentContext) -> Any:
        """The body with a new head; a language model with the tokens of its tokenizer."""
        model = self._loaded(context)
        if context.task.one_tokenizer:
            added = fit_to_tokenizer(model, context.tokenizer)
            if added:
                say(f"student: its vocabulary grows by {added:,} tokens that the teacher has")
        return model

    def meta_model(self, context: StudentContext) -> Any:
        """The architecture, told from its config."""
        return self._of_config(context, device="meta")

    def trial_model(self, context: StudentContext, *, weights: bool) -> Any:
        """The model itself, or one of its architecture with new weights."""
        return self._loaded(context) if weights else self._of_config(context, device="cpu")

    def _loaded(self, context: StudentContext) -> Any:
        return context.task.load_body(
            context.folder,
            context.labels,
            key=context.key,
            trust_remote_code=context.trust_remote_code,
        )

    def _of_config(self, context: StudentContext, *, device: str) -> Any:
        return meta_model(
            context.folder,
            context.task.auto_class,
            key=context.key,
            outputs=context.outputs,
            trust_remote_code=context.trust_remote_code,
            device=device,
        )
