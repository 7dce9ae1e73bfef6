"""How the files of a run are written, where they show it themselves: one way for all of them."""

from dataclasses import dataclass, field

from distillkit.errors import DataError


@dataclass(slots=True)
class Agreement:
    """What the first file shows of a form; those of the training rows are read first."""

    _forms: dict[str, tuple[str, str]] = field(default_factory=dict)

    def form(self, subject: str) -> str | None:
        """The form that is settled; None where no file has shown any."""
        return self._forms.get(subject, (None, ""))[0]

    def settle(self, subject: str, form: str, *, at: str, advice: str) -> None:
        """Take the form, or raise `DataError` where another file has another one.

        `subject` goes before "are", and `at` says which file shows the form.
        """
        settled, first_place = self._forms.setdefault(subject, (form, at))
        if settled != form:
            raise DataError(f"{at}: {subject} are {form}, and in {first_place} {settled}; {advice}")
