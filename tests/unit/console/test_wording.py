"""Messages stay short, whatever they name, and name the nearest first."""

from distillkit.console.wording import brief, listed, nearest

NAMES = [f"name_{number}" for number in range(50)]


def test_few_names_are_all_named() -> None:
    assert listed(["b", "a", "b"]) == "b, a"
    assert listed([]) == ""


def test_of_many_names_some_and_their_number() -> None:
    assert listed(NAMES, limit=3) == "name_0, name_1, name_2 … 50 in all"
    assert len(listed(["x" * 10_000, *map(str, range(1000))])) < 200


def test_those_like_the_word_stand_first() -> None:
    assert listed([*NAMES, "forward_kl"], limit=2, near="forwrd").startswith("forward_kl, ")


def test_a_near_name_is_proposed_whatever_its_case() -> None:
    assert nearest("Forward-KL", [*NAMES, "forward_kl"]) == "did you mean forward_kl?"
    assert nearest("forwrd_kl", ["forward_kl"], hint="see") == "did you mean forward_kl? (see)"


def test_without_a_near_name_the_names_are_listed_and_how_to_see_all() -> None:
    assert nearest("q", ["aa", "bb"], hint="see") == "it takes aa, bb (see)"
    assert nearest("q", NAMES).endswith("… 50 in all")


def test_long_texts_keep_their_beginning_and_their_end() -> None:
    text = "begins " + "middle\n" * 2000 + "ends"
    assert brief("a\n b") == "a b"
    assert brief(text).startswith("begins ")
    assert brief(text).endswith(" ends")
    assert len(brief(text)) <= 200
