"""Chat templates under limits of steps and size: a template is a program that others wrote.

transformers compiles a template in a sandbox that keeps it from Python's insides, and lets it fill
the memory. Here the same is compiled in a sandbox that counts: calls and turns of loops, the size
of each value before it is made, and all that is made in one rendering.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache, wraps
from typing import Any

from jinja2 import Template, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from distillkit.chat.template_growth import (
    MEMBER,
    MOST_SIZE,
    TemplateLimit,
    check_call,
    check_operation,
    size_of,
    too_large,
)

MOST_STEPS = 5_000_000  # calls and turns of loops in one rendering
CALL = 20  # turns of a loop that a call takes as long as
MOST_MADE = 300_000_000  # characters of all values in one rendering
LONGEST_TEMPLATE = 1_000_000  # characters
_COUNTED = "_counted"


class _Generator(CodeGenerator):
    """Writes Python in which what is put together is counted by the environment."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self._within("environment.joined((", node.nodes, frame)

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self.write("environment.count_literal(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("environment.count_literal(")
        super().visit_Dict(node, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx != "load":
            super().visit_Tuple(node, frame)
            return
        self._within("environment.count_literal((", node.items, frame)

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        is_copy = isinstance(node.arg, nodes.Slice)
        self.write("environment.count_value(" if is_copy else "")
        super().visit_Getitem(node, frame)
        self.write(")" if is_copy else "")

    def _within(self, opening: str, inner: list[nodes.Expr], frame: Frame) -> None:
        self.write(opening)
        for item in inner:
            self.visit(item, frame)
            self.write(", ")
        self.write("))")


class _Template(Template):
    """A template whose rendering begins to count anew."""

    environment: "BoundedEnvironment"

    def render(self, *args: Any, **kwargs: Any) -> str:
        self.environment.begin()
        return super().render(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Iterator[str]:
        self.environment.begin()
        yield from self.environment.bounded_parts(super().generate(*args, **kwargs))


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """transformers' sandbox, with limits. Raises `TemplateLimit`."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])
    code_generator_class = _Generator
    template_class = _Template

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, finalize=self._finalized, **kwargs)
        self.begin()

    def begin(self) -> None:
        """Count anew."""
        self.steps = self.total = 0

    def from_string(self, *args: Any, **kwargs: Any) -> Any:
        """A template of a source, its filters bounded."""
        for name, function in self.filters.items():
            if not hasattr(function, "is_bounded"):
                self.filters[name] = self._bounded_filter(name, function)
        self.filters[_COUNTED] = self._counted
        self.filters.pop("urlize", None)  # whose patterns take as long as they like
        self.globals["lipsum"] = _no_lipsum
        return super().from_string(*args, **kwargs)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        for loop in source.find_all(nodes.For):
            inner = loop.iter
            loop.iter = nodes.Filter(inner, _COUNTED, [], [], None, None, lineno=inner.lineno)
            loop.iter.set_environment(self)
        return super()._generate(source, *args, **kwargs)

    # what is counted

    def step(self, count: int = 1) -> None:
        """Count calls, or turns of a loop."""
        self.steps += count
        if self.steps > MOST_STEPS:
            raise TemplateLimit(f"takes more than {MOST_STEPS:,} steps")

    def count_value(self, value: Any) -> Any:
        """A value that was made, once it is counted."""
        if isinstance(value, (int, float)) or value is None:
            return value
        size = size_of(value)
        if size > MOST_SIZE:
            raise too_large()
        self.total += size if isinstance(value, str) else MEMBER
        if self.total > MOST_MADE:
            raise TemplateLimit(f"makes more than {MOST_MADE:,} characters in all")
        return value

    def count_literal(self, value: Any) -> Any:
        """A list, tuple or mapping that a template wrote."""
        self.total += MEMBER * len(value)
        return self.count_value(value)

    def joined(self, parts: tuple[Any, ...]) -> str:
        """What `~` makes of its parts."""
        if sum(map(size_of, parts)) > MOST_SIZE:
            raise too_large()
        return str(self.count_value("".join(map(str, parts))))

    def concat(self, parts: Iterable[str]) -> str:
        """What a template, a macro or a block wrote."""
        return "".join(self.bounded_parts(parts))

    def bounded_parts(self, parts: Iterable[str]) -> Iterator[str]:
        """The parts of what is written, given up where they become too large."""
        total = 0
        for part in parts:
            total += len(part)
            if total > MOST_SIZE:
                raise TemplateLimit(f"writes more than {MOST_SIZE:,} characters")
            yield part

    def _finalized(self, value: Any) -> Any:
        """A value that is about to be written as text."""
        if not isinstance(value, str) and size_of(value) > MOST_SIZE:
            raise too_large()
        return value

    def _counted(self, values: Any) -> Any:
        """What a loop goes through: its turns are counted before, or as they come."""
        if hasattr(values, "__len__"):
            self.step(len(values))
            return values
        return self._one_by_one(values)

    def _one_by_one(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.step()
            yield value

    # what is intercepted

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The value of `left operator right`."""
        check_operation(operator, left, right)
        return self.count_value(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """What a function or method gives."""
        __self.step(CALL)
        function = getattr(__obj, "__wrapped__", __obj)  # the sandbox wraps str.format
        owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
        if isinstance(owner, str):
            if name == "join" and args:
                args = (_listed(args[0]), *args[1:])
                check_call(name, args[0], (owner,), {})
            else:
                check_call(name, owner, args, kwargs)
            __self.total += len(owner)  # of which split makes parts
        return __self.count_value(super().call(__context, __obj, *args, **kwargs))

    def _bounded_filter(self, name: str, function: Any) -> Any:
        """A filter that looks at what it would make first."""
        place = 1 if hasattr(function, "jinja_pass_arg") else 0

        @wraps(function)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            self.step(CALL)
            before, value, later = args[:place], args[place], args[place + 1 :]
            value = _listed(value) if name in ("join", "list", "sum", "sort") else value
            check_call(name, value, later, kwargs)
            return self.count_value(function(*before, value, *later, **kwargs))

        bounded.__dict__["is_bounded"] = True
        return bounded


def _listed(values: Any) -> Any:
    """The values of an iterator as a list, no more of them than may be."""
    if hasattr(values, "__len__") or not hasattr(values, "__next__"):
        return values
    items: list[Any] = []
    for value in values:
        items.append(value)
        if len(items) * MEMBER > MOST_SIZE:
            raise too_large()
    return items


def _no_lipsum(*_: Any, **__: Any) -> str:
    raise TemplateLimit("writes filler text (lipsum)")


@lru_cache(maxsize=64)
def compiled(template: str) -> Any:
    """A chat template as transformers compiles it, in the sandbox that counts."""
    from transformers.utils import chat_template_utils as theirs

    if len(template) > LONGEST_TEMPLATE:
        raise TemplateLimit(f"has more than {LONGEST_TEMPLATE:,} characters")
    module: Any = theirs
    sandbox = module._cached_compile_jinja_template.__globals__
    before = sandbox["ImmutableSandboxedEnvironment"]
    sandbox["ImmutableSandboxedEnvironment"] = BoundedEnvironment
    try:
        return module._cached_compile_jinja_template(template)
    finally:
        sandbox["ImmutableSandboxedEnvironment"] = before
