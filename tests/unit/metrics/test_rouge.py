"""ROUGE-L in the variant of instruction distillation."""

import random

import numpy as np
import pytest

from distillkit.metrics import rouge
from distillkit.metrics.rouge import readable_share, rouge_l


def one(response: str, *references: str) -> float:
    return float(rouge_l([response], [list(references)])[0])


def by_hand(response: list[str], reference: list[str]) -> float:
    """F1 of the longest common subsequence, from its recursion."""
    table = np.zeros((len(response) + 1, len(reference) + 1), int)
    for i, said in enumerate(response, start=1):
        for j, known in enumerate(reference, start=1):
            longest = table[i - 1, j - 1] + 1 if said == known else 0
            table[i, j] = max(longest, table[i - 1, j], table[i, j - 1])
    return 100 * 2 * table[-1, -1] / (len(response) + len(reference))


def test_value_by_hand() -> None:
    # common, in order: "police", "the", "gunman": 3 of 4 words and 3 of 4
    assert one("police kill the gunman", "police ended the gunman") == pytest.approx(75.0)
    # the same words in another order share "the gunman" alone
    assert one("the gunman kill police", "police kill the gunman") == pytest.approx(50.0)


def test_it_is_the_longest_common_subsequence_of_random_words() -> None:
    rng = random.Random(0)
    words = ["a", "b", "c", "d1", "e2"]  # too short to have a stem
    pairs = [[rng.choices(words, k=rng.randint(1, 9)) for _ in range(2)] for _ in range(60)]
    found = rouge_l([" ".join(s) for s, _ in pairs], [[" ".join(r)] for _, r in pairs])
    np.testing.assert_allclose(found, [by_hand(s, r) for s, r in pairs], rtol=1e-12)


def test_words_are_compared_by_their_stem_in_lower_case_without_marks() -> None:
    assert one("Running dogs!", "(run) DOG") == 100.0


def test_the_best_of_several_references_counts() -> None:
    near, far = "a good film", "nothing like it"
    assert one("a good film", far, near) == one("a good film", near, far) == 100.0
    assert one("a good film", far) == 0.0


def test_line_breaks_do_not_cut_the_sequence() -> None:
    # rougeLsum would score the two lines on their own
    assert one("one two\nthree four", "three four one two") == pytest.approx(50.0)


def test_an_empty_response_scores_0() -> None:
    assert one("", "something") == one("...", "something") == 0.0


def test_other_scripts_score_0_and_are_known_before() -> None:
    assert one("今天天气很好", "今天天气很好") == 0.0
    assert readable_share(["今天天气很好", "Погода хорошая"]) == 0.0
    assert readable_share(["The weather is fine, 23 degrees."]) == 1.0
    assert readable_share(["Le temps est très beau à Paris, voilà"]) == pytest.approx(26 / 29)
    assert readable_share([]) == readable_share(["?!"]) == 0.0


def test_it_is_known_whether_the_package_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rouge.is_installed()
    monkeypatch.setattr(rouge, "PACKAGE", "no_such_package")
    assert not rouge.is_installed()
