"""A process that runs llama.cpp for another one: requests on stdin, responses on stdout.

Started by `llama_cpp.py` as a file of its own: `llama_worker.py LIBRARY MODEL THREADS`. It imports
the standard library alone, so that what memory it takes is llama.cpp's. When stdin ends, so does
it, in the middle of a text too: none outlives the process that started it, however that ended.

A request is a line of JSON, then the token ids of its rows as int32: {"lengths": of each row,
"last": whether only the last token of each row has outputs, "hidden": whether they are last hidden
states, else logits, "keep": whether rows go on from those of the request before}. The response is
{"width"} or {"error"}, then the outputs as float32 [tokens, width]. {"memory": true} gives
{"peak"}: the most bytes in use since the request before that asked for it.
"""

import ctypes
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

INT32 = 4  # bytes
ROOM = 1024  # bytes for settings, whose size is llama.cpp's own; more than it has does no harm
CELLS = 256  # what lengths of contexts are multiples of
TOGETHER = 8  # rows that are read at once, unless they are gone on from
TOKENS = 512  # of a decoding step, whose logits are held at once
ERROR = 4  # of the levels of its log
GPU_LAYERS, ALL = 4, 2**32 - 1  # where settings of a model have the layers on a GPU; -1
Log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Settings(ctypes.Structure):
    """Settings of a model or a context, as llama.cpp gives them: only the first few are looked at.

    Those of a context begin with its length, the tokens of a step twice, and the sequences.
    """

    _fields_ = (("numbers", ctypes.c_uint32 * (ROOM // 4)),)


class Batch(ctypes.Structure):
    """`llama_batch`: tokens of any sequences, and which of them have outputs."""

    _fields_ = (
        ("n_tokens", ctypes.c_int32),
        ("token", ctypes.POINTER(ctypes.c_int32)),
        ("embd", ctypes.c_void_p),
        ("pos", ctypes.POINTER(ctypes.c_int32)),
        ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
        ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))),
        ("logits", ctypes.POINTER(ctypes.c_int8)),
    )


SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {  # name -> result, parameters
    "llama_backend_init": (None, ()),
    "llama_log_set": (None, (Log, ctypes.c_void_p)),
    "llama_model_default_params": (Settings, ()),
    "llama_context_default_params": (Settings, ()),
    "llama_model_load_from_file": (ctypes.c_void_p, (ctypes.c_char_p, Settings)),
    "llama_model_get_vocab": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "llama_vocab_n_tokens": (ctypes.c_int32, (ctypes.c_void_p,)),
    "llama_model_n_embd": (ctypes.c_int32, (ctypes.c_void_p,)),
    "llama_init_from_model": (ctypes.c_void_p, (ctypes.c_void_p, Settings)),
    "llama_free": (None, (ctypes.c_void_p,)),
    "llama_n_ctx": (ctypes.c_uint32, (ctypes.c_void_p,)),
    "llama_n_batch": (ctypes.c_uint32, (ctypes.c_void_p,)),
    "llama_n_seq_max": (ctypes.c_uint32, (ctypes.c_void_p,)),
    "llama_set_n_threads": (None, (ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32)),
    "llama_set_embeddings": (None, (ctypes.c_void_p, ctypes.c_bool)),
    "llama_get_memory": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "llama_memory_clear": (None, (ctypes.c_void_p, ctypes.c_bool)),
    "llama_memory_seq_rm": (
        ctypes.c_bool,
        (ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32),
    ),
    "llama_batch_init": (Batch, (ctypes.c_int32, ctypes.c_int32, ctypes.c_int32)),
    "llama_decode": (ctypes.c_int32, (ctypes.c_void_p, Batch)),
    "llama_get_logits": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "llama_get_embeddings": (ctypes.c_void_p, (ctypes.c_void_p,)),
}


class LlamaCpp:
    """A model of llama.cpp, and a context as long, and for as many rows, as was needed so far."""

    def __init__(self, library: str, model: str, threads: int) -> None:
        self.library = ctypes.CDLL(library)
        for name, (result, parameters) in SIGNATURES.items():
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, parameters
        self.complaints: list[str] = []
        self._log = Log(self._note)  # held, for llama.cpp holds its address alone
        self.library.llama_log_set(self._log, None)
        self.library.llama_backend_init()
        settings = self.library.llama_model_default_params()
        if settings.numbers[GPU_LAYERS] == ALL:  # the processor computes, whatever else is there
            settings.numbers[GPU_LAYERS] = 0
        self.model = self.library.llama_model_load_from_file(os.fsencode(model), settings)
        if not self.model:
            raise RuntimeError(self._reason("it cannot be loaded"))
        vocabulary = self.library.llama_model_get_vocab(self.model)
        self.rows = int(self.library.llama_vocab_n_tokens(vocabulary))
        self.width = int(self.library.llama_model_n_embd(self.model))
        self.threads = threads
        self.batch = self.library.llama_batch_init(TOKENS, 0, 1)
        self.context: Any = None
        self.sequences = self.cells = self.step = 0
        self.contents: list[list[int]] = []  # the tokens that each sequence holds

    def outputs(
        self, rows: Sequence[Sequence[int]], *, last: bool, hidden: bool, keep: bool
    ) -> Iterator[bytes]:
        """The outputs of rows of token ids, in their order, a piece at a time.

        Rows that are not gone on from are read a few at a time: each has memory of its own.
        """
        size = len(rows) if keep else TOGETHER
        for begin in range(0, len(rows), size):
            options = {"last": last, "hidden": hidden, "keep": keep}
            yield from self._of_rows(rows[begin : begin + size], **options)

    def _of_rows(
        self, rows: Sequence[Sequence[int]], *, last: bool, hidden: bool, keep: bool
    ) -> Iterator[bytes]:
        self._make_room(len(rows), max(map(len, rows)))
        self.library.llama_set_embeddings(self.context, hidden)
        starts = [self._start(i, row) if keep else 0 for i, row in enumerate(rows)]
        if not any(starts):
            self._clear()
        self.contents = []  # until all of them are read
        tokens = [
            (i, place, row[place], not last or place == len(row) - 1)
            for i, (row, start) in enumerate(zip(rows, starts, strict=True))
            for place in range(start, len(row))
        ]
        for begin in range(0, len(tokens), self.step):
            yield self._decode(tokens[begin : begin + self.step], hidden=hidden)
        self.contents = [list(row) for row in rows]

    def free(self) -> None:
        """Give back the memory of the context."""
        if self.context:
            self.library.llama_free(self.context)
        self.context, self.contents, self.sequences, self.cells = None, [], 0, 0

    def _make_room(self, sequences: int, length: int) -> None:
        """A context of at least as many sequences of at least this length."""
        cells = -(-length // CELLS) * CELLS
        if sequences <= self.sequences and cells <= self.cells:
            return
        sequences, cells = max(sequences, self.sequences), max(cells, self.cells)
        self.free()
        settings = self.library.llama_context_default_params()
        step = min(TOKENS, cells * sequences)
        settings.numbers[:4] = cells * sequences, step, step, sequences
        self.context = self.library.llama_init_from_model(self.model, settings)
        if not self.context:
            raise RuntimeError(self._reason("no context could be made for it"))
        sizes = [getattr(self.library, f"llama_n_{it}")(self.context) for it in SIZES]
        if sizes != [cells * sequences, step, sequences]:
            raise RuntimeError(f"its library has another interface (sizes {sizes})")
        self.library.llama_set_n_threads(self.context, self.threads, self.threads)
        self.sequences, self.cells, self.step = sequences, cells, step

    def _start(self, sequence: int, row: Sequence[int]) -> int:
        """How many of a row's first tokens its sequence holds, which are not computed again."""
        tokens = self.contents[sequence] if sequence < len(self.contents) else []
        same = 0
        while same < min(len(tokens), len(row) - 1) and tokens[same] == row[same]:
            same += 1
        memory = self.library.llama_get_memory(self.context)
        if self.library.llama_memory_seq_rm(memory, sequence, same, -1):
            return same
        self.library.llama_memory_seq_rm(memory, sequence, -1, -1)  # of what has no parts: all
        return 0

    def _clear(self) -> None:
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), True)

    def _decode(self, tokens: Sequence[tuple[int, int, int, bool]], *, hidden: bool) -> bytes:
        """The outputs of (sequence, place, id, whether it has outputs), in their order."""
        batch, count = self.batch, 0
        batch.n_tokens = len(tokens)
        for i, (sequence, place, token, has_outputs) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, place, has_outputs
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            count += has_outputs
        status = self.library.llama_decode(self.context, batch)
        if status:
            raise RuntimeError(self._reason(f"a text cannot be read (status {status})"))
        if not count:
            return b""
        if hidden:
            start, width = self.library.llama_get_embeddings(self.context), self.width
        else:
            start, width = self.library.llama_get_logits(self.context), self.rows
        return ctypes.string_at(start, count * width * INT32)

    def _note(self, level: int, text: bytes, _: Any) -> None:
        if level == ERROR:
            self.complaints.append(text.decode(errors="replace").strip())

    def _reason(self, default: str) -> str:
        return next((it for it in self.complaints if it), default)


SIZES = ("ctx", "batch", "seq_max")


def peak_memory() -> int:
    """The most bytes of memory in use since the call before; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as status:  # noqa: PTH123
            line = next(line for line in status if line.startswith("VmHWM:"))
        with open("/proc/self/clear_refs", "w") as counter:  # noqa: PTH123
            counter.write("5")
    except (OSError, StopIteration):
        return 0
    return int(line.split()[1]) * 1024


def main() -> None:
    """Serve requests until there are no more."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"):
        if hasattr(signal, name):  # meant for the process that started this one, which may go on
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    library, model, threads = sys.argv[1:]
    requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the library prints is no response
    memory = peak_memory()
    try:
        llama = LlamaCpp(library, model, int(threads))
    except (OSError, AttributeError, RuntimeError) as error:
        _write(out, {"error": str(error)})
        return
    _write(out, {"rows": llama.rows, "width": llama.width, "memory": memory})
    while True:
        request, ids = requests.get()
        if request.get("memory"):
            _write(out, {"peak": peak_memory()})
            llama.free()
        else:
            _respond(out, llama, request, ids)


def _read(requests: Any) -> None:
    """Hand on requests as they come; leave, whatever is being done, when there are no more."""
    source = sys.stdin.buffer
    for line in source:
        request = json.loads(line)
        requests.put((request, source.read(sum(request.get("lengths", ())) * INT32)))
    os._exit(0)


def _respond(out: Any, llama: LlamaCpp, request: dict[str, Any], ids: bytes) -> None:
    flat = memoryview(ids).cast("i").tolist()
    rows, begin = [], 0
    for length in request["lengths"]:
        rows.append(flat[begin : begin + length])
        begin += length
    options = {name: bool(request[name]) for name in ("last", "hidden", "keep")}
    try:
        pieces = list(llama.outputs(rows, **options))
    except RuntimeError as error:
        _write(out, {"error": str(error)})
        return
    _write(out, {"width": llama.width if options["hidden"] else llama.rows}, *pieces)


def _write(out: Any, head: dict[str, Any], *pieces: bytes) -> None:
    out.write(json.dumps(head | {"bytes": sum(map(len, pieces))}).encode() + b"\n")
    for piece in pieces:
        out.write(piece)
    out.flush()


if __name__ == "__main__":
    main()
