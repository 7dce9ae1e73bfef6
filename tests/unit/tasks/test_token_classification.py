"""Words and their tags: which sub-word speaks for a word, what counts, how entities are scored."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distillkit.data import Split
from distillkit.errors import ConfigError, DataError
from distillkit.metrics import entities
from distillkit.tasks import HeldOut, TokenClassification
from distillkit.types import LabelSpace
from tests import tiny
from tests.tables import of_words

WORDS = [["good", "xyz", "film", "."], ["bad"]]
LABELS = np.array([1, 2, 0, 3, 4])
TAGS = LabelSpace(("B-A", "I-A", "O"))


@pytest.fixture(scope="module")
def tokenizer(body: Path) -> Any:
    return TokenClassification().load_tokenizer(str(body), key="k")


def split(words: list[list[str]], labels: np.ndarray) -> Split:
    return Split(np.zeros(len(words), "S16"), [""] * len(words), None, labels, None, words)


def table_of(tokenizer: Any, words: list[list[str]], labels: np.ndarray, most: int = 32) -> Any:
    return TokenClassification(most).tokenise(split(words, labels), tokenizer, label="texts")


def test_the_first_sub_word_of_each_word_counts_and_has_its_label(tokenizer: Any) -> None:
    table, cut = table_of(tokenizer, WORDS, LABELS)
    counted = tokenizer.convert_ids_to_tokens(table.ids[table.loss_mask].tolist())
    assert counted == ["good", "x", "film", "[UNK]", "bad"]  # x ##y ##z
    assert len(table.ids) > table.loss_mask.sum()
    np.testing.assert_array_equal(table.labels, LABELS)
    assert table.positions.tolist() == [4, 1]
    assert cut == 0


def test_words_beyond_the_context_are_left_out_and_the_sentence_counted(tokenizer: Any) -> None:
    table, cut = table_of(tokenizer, WORDS, LABELS, most=6)  # [CLS] good x ##y ##z [SEP]
    assert cut == 1
    np.testing.assert_array_equal(table.labels, [1, 2, 4])
    whole, _ = table_of(tokenizer, WORDS, LABELS)
    np.testing.assert_array_equal(table.keys, whole.keys)  # of the same sentences
    assert table.word_index.tolist() == [0, 1, 0] and whole.word_index.tolist() == [0, 1, 2, 3, 0]


def test_a_word_without_a_token_leaves_the_others_their_labels(tokenizer: Any) -> None:
    table, cut = table_of(tokenizer, [["good", "\u200b", "film"]], np.array([5, 6, 7]))
    counted = tokenizer.convert_ids_to_tokens(table.ids[table.loss_mask].tolist())
    assert [counted[0], counted[-1]] == ["good", "film"]
    assert [table.labels[0], table.labels[-1]] == [5, 7]
    assert cut == (len(counted) < 3)


def test_a_byte_level_token_that_carries_the_blank_belongs_to_the_word_after_it() -> None:
    from distillkit.tasks.tokenize.words import first_tokens

    spans = np.array([[0, 0], [0, 2], [2, 5], [5, 6], [0, 0]])  # "ab" " cd" "e"
    first, of = first_tokens(["ab", "cde"], spans, np.array([1, 0, 0, 0, 1], bool))
    assert first.tolist() == [False, True, True, False, False]
    assert of.tolist() == [0, 1]


def test_another_tokenizer_says_the_same_words_under_the_same_keys(
    tokenizer: Any, tmp_path: Path
) -> None:
    tiny.write_tokenizer(tmp_path, extra=["xyz"])
    other = TokenClassification().load_tokenizer(str(tmp_path), key="k")
    ours, theirs = (table_of(it, WORDS, LABELS)[0] for it in (tokenizer, other))
    assert len(theirs.ids) < len(ours.ids)
    for name in ("keys", "labels", "positions"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


@pytest.mark.parametrize(
    ("tags", "names", "said"),
    [
        (["NN", "O"], None, "data.tags: holds 'NN', which is no tag of an entity"),
        ([0, 1], None, "data.tags: holds '0', which is no tag of an entity"),
        (["O", "O"], None, "data.tags: every row has the label 'O'"),
        (["O", "B-A"], ["O"], "the data also has B-A"),
    ],
)
def test_what_are_no_tags_is_refused(tags: list[Any], names: list[str] | None, said: str) -> None:
    with pytest.raises(DataError, match=said):
        TokenClassification().read_labels(tags, names)


def test_any_tags_will_do_where_words_are_scored() -> None:
    space, ids = TokenClassification(entities=False).read_labels(["NN", "DT", "NN"])
    assert space.names == ("DT", "NN")
    assert ids.tolist() == [1, 0, 1]


def test_whole_entities_are_scored_and_half_of_one_is_wrong() -> None:
    # there: A(0-1) | A(0), A(2); predicted: A(0) | A(0), A(2): 2 of 3 right both ways
    table = of_words([[0, 1, 2], [0, 2, 0]])
    logits = np.eye(3)[[0, 2, 2, 0, 2, 0]]
    task, held_out = TokenClassification(), HeldOut(table, TAGS)
    outcomes = task.outcomes(logits, held_out)
    assert outcomes.tolist() == [[0, 1, 1], [2, 2, 2]]
    found = task.scores(logits, outcomes, held_out)
    assert found["f1"] == task.headline_score(outcomes) == pytest.approx(2 / 3)
    assert found["token_accuracy"] == pytest.approx(5 / 6)


def test_without_entities_the_headline_is_the_accuracy_of_words() -> None:
    held_out = HeldOut(of_words([[0, 1, 2], [0, 2, 0]]), TAGS)
    task = TokenClassification(entities=False)
    logits = np.eye(3)[[0, 2, 2, 0, 2, 0]]
    assert task.headline == "token_accuracy"
    assert task.headline_score(task.outcomes(logits, held_out)) == pytest.approx(5 / 6)


def test_a_missing_seqeval_is_said_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entities, "is_installed", lambda: False)
    with pytest.raises(ConfigError, match=r"distillkit\[ner\]"):
        TokenClassification()
    TokenClassification(entities=False)


def test_tags_are_matched_by_name(tmp_path: Path) -> None:
    import transformers

    from distillkit.errors import ModelError
    from distillkit.models.saved import SavedModel

    folder = tiny.write_model(tmp_path / "body")
    task = TokenClassification()
    backwards = LabelSpace(TAGS.names[::-1])
    task.save(
        task.load_body(str(folder), backwards, key="k"),
        task.load_tokenizer(str(folder), key="k"),
        tmp_path / "tagger",
    )
    saved = SavedModel(str(tmp_path / "tagger"), "teacher.path")
    loaded = task.load(saved, TAGS)
    assert isinstance(loaded.model, transformers.BertForTokenClassification)
    assert loaded.order is not None and loaded.order.tolist() == [2, 1, 0]
    with pytest.raises(ModelError, match=r"its labels are \[O, I-A, B-A\], but the data's are"):
        task.load(saved, LabelSpace(("B-X", "I-X", "O")))


def test_answers_are_written_sentence_by_sentence() -> None:
    held_out = HeldOut(of_words([[0, 1], [2]]), TAGS)
    found = TokenClassification().answers_as_text(np.array([2, 0, 1]), held_out)
    assert found == ['["O", "B-A"]', '["I-A"]']
