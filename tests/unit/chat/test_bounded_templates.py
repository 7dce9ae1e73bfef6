"""Chat templates that would fill the memory, or go on for ever: each ends in a line, and soon."""

import json
import resource

import pytest
from transformers.utils import chat_template_utils

from distillkit.chat import bounded_templates
from distillkit.chat.bounded_templates import compiled
from distillkit.chat.template_growth import MOST_SIZE, TemplateLimit, size_of

BIG = "{% set x = 'x' * 9000000 %}"
BOMBS = {
    "times": "{{ 'x' * 10**10 }}",
    "times from the left": "{{ 10**10 * 'x' }}",
    "list times": "{{ ([1] * 10**9)|length }}",
    "list of lists times": "{% set l = [messages] * 1000 %}{% set m = l * 1000 %}{{ m|length }}",
    "power": "{{ 10 ** (10 ** 8) }}",
    "factorial": "{% set ns = namespace(x=3) %}{% for i in range(99) %}"
    "{% set ns.x = ns.x * ns.x %}{% endfor %}{{ ns.x }}",
    "doubling by +": "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "doubling by ~": "{% set ns = namespace(x='ab') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "doubling a list": "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}"
    "{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "nested lists": "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}"
    "{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
    "nested mappings": "{% set ns = namespace(x={}) %}{% for i in range(60) %}"
    "{% set ns.x = {'a': ns.x, 'b': ns.x} %}{% endfor %}{{ ns.x|tojson }}",
    "nested tuples compared": "{% set a = namespace(x=(1,)) %}{% set b = namespace(x=(1,)) %}"
    "{% for i in range(60) %}{% set a.x = (a.x, a.x) %}{% set b.x = (b.x, b.x) %}{% endfor %}"
    "{{ a.x == b.x }}",
    "width of %": "{{ '%1000000000s' % 'x' }}",
    "width beside": "{{ '%*s' % (1000000000, 'x') }}",
    "precision": "{{ '%.1000000000f' % 1.0 }}",
    "width of format": "{{ '{:>1000000000}'.format('x') }}",
    "width beside of format": "{{ '{:{w}}'.format('x', w=1000000000) }}",
    "format filter": "{{ '%1000000000s'|format('x') }}",
    "many fields": BIG + "{{ ('%(x)s' * 1000) % {'x': x} }}",
    "many fields of format": BIG + "{{ ('{x}' * 1000).format(x=x) }}",
    "center filter": "{{ 'x'|center(10**9) }}",
    "center": "{{ 'x'.center(10**9) }}",
    "ljust": "{{ 'x'.ljust(10**9) }}",
    "zfill": "{{ 'x'.zfill(10**9) }}",
    "center of a word": "{{ 'x'.center(width) }}",
    "expandtabs": "{{ ('\\t' * 1000).expandtabs(10**6) }}",
    "indent": "{{ 'x'|indent(10**9, true) }}",
    "indent of lines": "{{ ('x\\n' * 10000)|indent(10000) }}",
    "indent by a word": "{{ ('x\\n' * 10000)|indent('y' * 10000) }}",
    "join": BIG + "{{ [x, x, x]|join }}",
    "join with": BIG + "{{ range(1000)|join(x) }}",
    "join of a map": BIG + "{{ range(1000)|map('string')|join(x) }}",
    "join of str": BIG + "{{ x.join(['a', 'b', 'c', 'd']) }}",
    "replace filter": "{{ ('x' * 100000)|replace('x', 'y' * 100000) }}",
    "replace": "{{ ('x' * 100000).replace('', 'y' * 100000) }}",
    "translate": "{{ ('x' * 100000).translate({120: 'y' * 100000}) }}",
    "batch": "{{ [1]|batch(10**9, 'x')|list }}",
    "slice": "{{ [1]|slice(10**9)|list }}",
    "round": "{{ 1|round(10**9) }}",
    "round down": "{{ 5|round(-10**9, 'ceil') }}",
    "tojson": "{{ messages|tojson(indent=10**9) }}",
    "wordwrap": "{{ ('x' * 100000)|wordwrap(1, true, 'y' * 100000) }}",
    "map with center": "{{ ['x']|map('center', 10**9)|list }}",
    "lipsum": "{{ lipsum(n=10**9) }}",
    "list of a text": "{{ ('x' * 9000000)|list|length }}",
    "split": "{{ ('x ' * 4000000).split()|length }}",
    "loops": "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
    "calls": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ f(40) }}",
    "writing": BIG + "{% for i in range(1000) %}{{ x }}{% endfor %}",
    "a block": BIG + "{% set y %}{% for i in range(1000) %}{{ x }}{% endfor %}{% endset %}",
    "a macro": BIG + "{% macro f() %}{% for i in range(99) %}{{ x }}{% endfor %}{% endmacro %}"
    "{{ f() }}",
    "slices": BIG + "".join(f"{{% set a{n} = x[{n}:] %}}" for n in range(60)),
    "a list of slices": BIG + "{% set l = [x[1:], x[2:], x[3:]] %}",
    "names": BIG + "{% set ns = namespace() %}{% set ns.a = x %}{% set ns.b = x %}{{ ns }}",
    "itself": "{% set ns = namespace() %}{% set ns.a = ns %}{{ [ns] }}",
    "length": "x" * 1_000_001,
}
CHAT = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi\nyou"}]


@pytest.mark.parametrize("name", BOMBS)
def test_a_template_that_makes_or_takes_too_much_is_given_up(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF)
    with pytest.raises(TemplateLimit, match=r"^(makes|writes|takes|asks for|has) "):
        compiled(BOMBS[name]).render(messages=CHAT, width=10**9)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_utime - before.ru_utime < 15
    assert after.ru_maxrss - before.ru_maxrss < 1_500_000  # kB


def test_tokens_of_the_answer_are_written_under_the_same_limits() -> None:
    template = (
        BIG + "{% for i in range(99) %}{% generation %}{{ x }}{% endgeneration %}{% endfor %}"
    )
    with pytest.raises(TemplateLimit, match="characters"):
        list(compiled(template).generate(messages=CHAT))


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages|tojson(indent=2) }}",
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }} {% endfor %}",
        "{% for m in messages if m.role == 'user' %}{{ m.content ~ loop.revindex }}{% endfor %}",
        "{% for k, v in messages[0].items() %}{{ k + '=' + v }}{{ '%5s|%d' % (v, 3) }}{% endfor %}",
        "{{ messages|map(attribute='content')|join('\n')|indent(4, true) }}",
        "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ no|default('d') }}",
        "{{ ('-' * 20) + 'a b'.split()[1] + 'x'.center(9) + '{:>5}'.format(7) }}{{ 2 ** 10 }}",
        "{% set ns = namespace(n=0, l=[]) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
        "{% set ns.l = ns.l + [m.content] %}{% endfor %}{{ ns.n }}{{ ns.l }}",
        "{% macro f(a, b=(1, 2)) %}<{{ a }}{{ b }}>{% endmacro %}{{ f('x') }}{{ f(a='y', b={}) }}",
        "{% for a in nothing %}x{% else %}none{% endfor %}{{ messages[::-1] }}{{ 7 % 3 }}",
        "{% for a in [[1, [2]], 3] recursive %}{{ loop(a) if a is iterable else 1 }}{% endfor %}",
        "{{ range(3)|list }}{{ ['b', 'a']|sort|join(', ') }}{{ 3.14159|round(2) }}{{ 'a'|upper }}",
        "{% for m in messages %}{{ m.content|trim|replace('\n', '⏎') }}{% if loop.first %}"
        "{% continue %}{% endif %}{{ loop.previtem.role }}{% break %}{% endfor %}",
    ],
)
def test_a_template_of_a_common_kind_writes_what_transformers_writes(template: str) -> None:
    theirs = chat_template_utils._cached_compile_jinja_template(template)
    assert compiled(template).render(messages=CHAT) == theirs.render(messages=CHAT)


def test_a_long_conversation_is_within_the_limits() -> None:
    template = (
        "{% set ns = namespace(text='') %}{% for m in messages %}"
        "{% set ns.text = ns.text ~ '<' ~ m.role ~ '>' ~ m.content|trim %}{% endfor %}{{ ns.text }}"
    )
    chat = [{"role": "user", "content": "word " * 200}] * 500
    expected = ("<user>" + ("word " * 200).strip()) * 500
    assert compiled(template).render(messages=chat) == expected


def test_each_rendering_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_templates, "MOST_STEPS", 40)
    template = compiled("{% for i in range(6) %}{{ i }}{% endfor %}{# counted #}")
    assert [template.render() for _ in range(3)] == ["012345"] * 3
    with pytest.raises(TemplateLimit, match="takes more than 40 steps"):
        compiled("{% for i in range(21) %}{{ i }}{% endfor %}").render()


def test_a_size_is_that_of_what_would_be_written() -> None:
    nested: list[object] = ["ab"]
    for _ in range(40):
        nested = [nested, nested]
    assert size_of(nested) > MOST_SIZE
    assert size_of("abc") == 3
    assert size_of(["ab", {"c": "def"}]) == 3 * 50 + 6
    assert len(json.dumps(CHAT)) < size_of(CHAT) < 10 * len(json.dumps(CHAT))
