"""What a run would compute, hold and keep: gathered without its teacher, and without training."""

import shutil
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from distillkit.errors import ModelError
from distillkit.models.hardware import PROBE_SECONDS, Machine, main_memory
from distillkit.models.shapes import Shape, shape_of
from distillkit.pipeline.meta_models import MetaModels
from distillkit.pipeline.run import Run
from distillkit.pipeline.students import StudentVariant
from distillkit.pipeline.tokenizers import learning_source
from distillkit.planning import artifact_status, cost_model
from distillkit.planning.cost_model import Job, Work
from distillkit.planning.tables import RunPlan, Store, Text, text_row
from distillkit.planning.trainings import Training, drops_attention
from distillkit.stages.targets import more_room
from distillkit.stages.teacher import fit_settings
from distillkit.targets import StoreManifest
from distillkit.targets.codecs.codec import Codec, described
from distillkit.targets.codecs.logits import CHUNK, FEWER_LAUNCHES
from distillkit.targets.expected_size import selected_bytes, store_bytes
from distillkit.targets.hidden_states import parts_of, states_bytes
from distillkit.token_table import TokenTable
from distillkit.training import language_scores as language
from distillkit.training.batching import PackedPlan, PaddedPlan, Plan, length_buckets
from distillkit.training.distributed import compute_device
from distillkit.training.probe import share_read, takes_probe
from distillkit.training.settings import TrainSettings
from distillkit.training.trainer import check_batch_size
from distillkit.training.validation import VALIDATION_TOKENS

WEIGHTS = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "auto": 2.0, "8bit": 1.0, "4bit": 0.5}


class CostEstimator:
    """Time, memory and disk of a run. Text and tokens are made where they are not there.

    A rate is probed for half of `probe_seconds`; with `tells`, what is made is said.
    """

    def __init__(
        self,
        run: Run,
        *,
        hardware: str | None,
        probe_seconds: float = PROBE_SECONDS,
        tells: bool = True,
        is_last: bool = True,
        earlier: Collection[str] = (),
    ) -> None:
        self.run, self.context = run, run.context
        self.is_last, self._earlier = is_last, earlier
        self._probe_seconds, self._tells = probe_seconds, tells
        self.machine = Machine(compute_device(), hardware)
        self.needs_teacher = bool(run.context.loss.needs_teacher)
        self.stores_targets = run.context.stores_targets
        self.meta_models = MetaModels(run.context, run.text)
        self.unknown: list[str] = []
        self._rates: dict[tuple[Any, ...], float] = {}

    def plan(self, check: Callable[[], None] | None = None) -> RunPlan:
        """All of it; `check` may refuse the run before text becomes tokens."""
        rows = artifact_status.texts(self.run, tells=self._tells)
        if check:
            check()
        rows.append(artifact_status.tokens(self.run, tells=self._tells))
        rows += artifact_status.models(self.run, is_last=self.is_last, earlier=self._earlier)
        trainings = self._trainings()
        states = {row.name: row.state for row in rows}
        jobs = self._jobs(trainings, states)
        disk = self._disk(trainings, states)
        free = shutil.disk_usage(self.context.workspace.root).free
        return RunPlan(
            artifacts=rows,
            texts=self._text_rows(trainings),
            store=self._store(states["targets"]) if self.stores_targets else None,
            jobs=jobs,
            machine=self.machine,
            host=main_memory(),
            disk=disk,
            free=free,
            workspace=str(self.context.workspace.root),
            more_room=more_room(
                self._codec.name if self.stores_targets else "", self.context.task.family
            ),
            unknown=self.unknown,
            ends_early=any(t.settings.patience is not None for t in trainings.values()),
        )

    # shapes

    @cached_property
    def _teacher_model(self) -> Any:
        try:
            return self.meta_models.teacher
        except ModelError as error:
            self.unknown.append(f"teacher: not described without loading it ({error})")
            return None

    @cached_property
    def _student_model(self) -> Any:
        if self.context.student.is_cut and self._teacher_model is None:
            return None
        try:
            return self.meta_models.student
        except ModelError as error:
            self.unknown.append(f"student: not described without making it ({error})")
            return None

    def _shape(self, name: str) -> Shape | None:
        model = self._teacher_model if name == "teacher" else self._student_model
        return None if model is None else self._shaped(model)

    def _shapes(self, row: str) -> list[Shape | None]:
        """The shapes of all models that answer in a row: of an ensemble there are several."""
        if row != "teacher" or self._teacher_model is None:
            return [self._shape(row)]
        return [self._shaped(model) for model in self.meta_models.teachers]

    def _shaped(self, model: Any) -> Shape:
        shape = shape_of(model)
        # rows of a head that no token belongs to are never multiplied
        head = shape.head * self._width // shape.outputs
        once = 0 if self.context.loss.needs_activations else shape.once
        return replace(shape, head=head, outputs=self._width, once=once)

    @cached_property
    def _width(self) -> int:
        """The outputs of teacher and student: labels, or the tokenizer's real vocabulary."""
        return self.context.task.width(self.meta_models.tokenizer, self.run.text.corpus.labels)

    # how much of it

    def _trainings(self) -> dict[str, Training]:
        context, run = self.context, self.run
        trainings: dict[str, Training] = {}
        if self.needs_teacher and not context.teacher.is_ready:
            source = run.teachers.members[0].reads
            table = run.text.examples(*source, transfer=False)
            settings = fit_settings(context.teacher, len(table))
            trainings["teacher"] = self._training(None, settings, table, source)
        source = learning_source(context)
        for variant in (run.students.student, *(run.beside if self.is_last else ())):
            if variant:
                table = run.text.examples(*source, transfer=variant.from_teacher)
                trainings[variant.name] = self._training(variant, variant.settings, table, source)
        return trainings

    def _training(
        self,
        variant: StudentVariant | None,
        settings: TrainSettings,
        table: TokenTable,
        source: tuple[str, str],
    ) -> Training:
        """Packed where the task packs: that a model keeps texts apart shows when it is there."""
        size, seed, task = settings.batch_size, self.context.seed, self.context.task
        batch_key = "trainer.batch_size" if variant else "teacher.batch_size"
        plan: Plan
        rows, unit = len(table), "examples"
        if task.packs:
            plan = PackedPlan(table.lengths, size=size, seed=seed, block=task.max_length)
            rows, unit = plan.rows_per_epoch, "packed rows"
        else:
            plan = PaddedPlan(table.lengths, size=size, seed=seed)
        if not self.context.cfg.tokens:  # or the data are a sample
            check_batch_size(size, rows, key=batch_key, unit=unit)
        validation = self.run.text.tokens(*source, "validation")
        return Training(variant, settings, plan, table, validation, rows)

    @cached_property
    def _teacher_examples(self) -> TokenTable:
        teacher = self.context.teacher
        return self.run.text.examples(teacher.key, teacher.source, transfer=True)

    @cached_property
    def _asking(self) -> Work:
        table = self._teacher_examples
        return cost_model.work(table.lengths, table.positions, cost_model.alone(self._buckets))

    @cached_property
    def _buckets(self) -> list[np.ndarray]:
        lengths = self._teacher_examples.lengths
        return length_buckets(lengths, tokens=self.context.targets.batch_tokens)

    def _text_rows(self, trainings: dict[str, Training]) -> list[Text]:
        rows = []
        if self.needs_teacher:
            rows.append(
                text_row("asked of the teacher", self._teacher_examples, self._asking, None)
            )
        for name, training in trainings.items():
            label = "fitting the teacher" if name == "teacher" else f"training the {name}"
            rows.append(text_row(label, training.table, training.epoch, training.steps))
        return rows

    # what it costs

    def _jobs(self, trainings: dict[str, Training], states: dict[str, str]) -> list[Job]:
        jobs = []
        if "teacher" in trainings:
            jobs.append(self._learning("teacher", trainings["teacher"], states["teacher"]))
        if self.stores_targets:
            jobs.append(self._capture(states["targets"]))
        if self.needs_teacher and not self.stores_targets:
            jobs.append(self._in_the_loop(trainings["student"], states["student"]))
        for name in ("student", "control", "quantized"):
            if name in trainings:
                jobs.append(self._learning(name, trainings[name], states[name]))
        return [*jobs, *([self._measuring(trainings["student"], states)] if self.is_last else [])]

    def _learning(self, name: str, training: Training, state: str) -> Job:
        shape = self._shape(name)
        settings, steps = training.settings, training.steps
        times = len(self.run.teachers.members) if name == "teacher" else 1
        job = Job(name, state, f"{times} x {steps:,} steps" if times > 1 else f"{steps:,} steps")
        if shape is None:
            return job
        model = self._teacher_model if name == "teacher" else self._student_model
        epoch, precision = training.epoch, self.machine.precision(settings.precision)
        checked = self._validation(training).times(
            cost_model.evaluations(steps, settings.eval_every)
        )
        share = steps / training.plan.steps_per_epoch
        recomputes = settings.gradient_checkpointing
        passes = cost_model.TRAINING + cost_model.RECOMPUTED * recomputes
        flops = passes * cost_model.forward_flops(shape, epoch.times(share))
        if (
            name == "teacher"
            and self.context.teacher.head == "probe"
            and takes_probe(self.context.task)
        ):
            read = share_read(training.table, self._width)
            flops += cost_model.forward_flops(shape, epoch.times(read))
        return replace(
            job,
            shape=shape,
            precision=precision,
            flops=times * (flops + cost_model.forward_flops(shape, checked)),
            rate=self._rate(shape, precision, epoch.most_tokens)
            if state not in cost_model.DONE
            else None,
            memory=cost_model.learning_memory(
                shape,
                epoch,
                heads=int(getattr(model.config, "num_attention_heads", 0) or 0),
                states=self._states(name),
                narrow=precision == "bfloat16",
                memory=self.machine.memory if self.machine.is_device else None,
                recomputes=recomputes,
                keeps_scores=not self.machine.is_device and drops_attention(model.config),
            ),
            steps=steps,
            states=self._states(name),
            grows=settings.epochs is not None,
            rows=share * training.rows,
            micro_rows=training.micro_rows,
            sample_rows=min(training.micro_rows, training.rows),
            micro_batches=training.micro_batches,
            way_out="lower teacher.batch_size"
            if name == "teacher"
            else "set trainer.micro_batch_size to part of trainer.batch_size",
        )

    def _states(self, name: str) -> int:
        if name == "teacher":
            return cost_model.optimizer_states("AdamW")
        settings = self.context.cfg.optimizer
        kind = str(settings["_target_"]).rpartition(".")[2]
        return cost_model.optimizer_states(kind, momentum=float(settings.get("momentum") or 0))

    def _with_teacher(self, job: Job, read: Work) -> Job:
        """What it costs to ask the teacher about texts, and what is in memory meanwhile.

        Of several teachers one is in memory at a time where answers are stored, and all are in a
        student's loop.
        """
        targets, teacher = self.context.targets, self.context.teacher
        shapes = [shape for shape in self._shapes("teacher") if shape is not None]
        if not shapes:
            return job
        shape = max(shapes, key=lambda one: one.parameters)
        precision = self.machine.precision(targets.precision)
        bytes_each = WEIGHTS["float32"]
        if self.context.task.family == "language":
            bytes_each = WEIGHTS[teacher.quantization or teacher.dtype]
        memory = cost_model.asking_memory(
            shape,
            read,
            weight_bytes=bytes_each,
            narrow=precision == "bfloat16",
            chunk=CHUNK * FEWER_LAUNCHES if self.machine.is_device else CHUNK,
        )
        if not self.stores_targets:
            parameters = sum(one.parameters for one in shapes) - shape.parameters
            memory["weights"] += bytes_each * parameters
        return replace(
            job,
            shape=shape,
            precision=precision,
            flops=sum(cost_model.forward_flops(one, read) for one in shapes),
            rate=self._rate(shape, precision, read.most_tokens) if not job.is_done else None,
            memory=memory,
        )

    def _capture(self, state: str) -> Job:
        targets, asking = self.context.store_settings, self._asking
        job = Job("targets", state, f"{int(asking.positions):,} positions")
        job = replace(self._with_teacher(job, asking), grows=True, batches=len(self._buckets))
        if job.shape is None:
            return job
        size = selected_bytes(targets.codec, job.shape.outputs, job.shape.hidden)
        shard = targets.shard_tokens / max(1, len(self._teacher_examples.ids)) * asking.positions
        return replace(
            job,
            host=cost_model.SHARDS * size * min(shard, asking.positions),
            way_out="lower targets.batch_tokens or targets.shard_tokens, or choose a smaller codec",
        )

    def _in_the_loop(self, training: Training, state: str) -> Job:
        """The teacher's share of the student's steps; what the student holds comes on top."""
        share = training.steps / training.plan.steps_per_epoch
        job = Job("teacher in the loop", state, f"{training.steps:,} steps")
        job = self._with_teacher(job, training.epoch.times(share))
        grows = training.settings.epochs is not None
        return replace(job, way_out="lower targets.batch_tokens", grows=grows)

    def _measuring(self, training: Training, states: dict[str, str]) -> Job:
        """Every model over the held-out text, whose tokens follow from the validation text's."""
        counts = self.run.text.labelled.facts()["counts"]
        share = counts["test"] / max(1, counts["validation"])
        once = self._validation(training).times(share)
        models = [row for row in ("teacher", "student", "control", "untrained") if row in states]
        models = [row for row in models if states[row] != "not needed"]
        job = Job("evaluation", states["evaluation"], f"{len(models)} models")
        shapes = [shape for row in models for shape in self._shapes(row)]
        usable = [shape for shape in shapes if shape is not None]
        if len(usable) < len(shapes):
            return job
        largest = max(usable, key=lambda shape: shape.parameters)
        memory = cost_model.asking_memory(
            largest, once, weight_bytes=cost_model.FLOAT, narrow=False, chunk=language.CHUNK
        )
        memory["weights"] = cost_model.FLOAT * sum(shape.parameters for shape in usable)
        return replace(
            job,
            precision="float32",
            flops=sum(cost_model.forward_flops(shape, once) for shape in usable),
            rate=self._rate(largest, "float32", once.most_tokens) if not job.is_done else None,
            memory=memory,
            way_out="its models are in memory together; evaluate on a larger machine",
        )

    @staticmethod
    def _validation(training: Training) -> Work:
        table = training.validation
        buckets = length_buckets(table.lengths, tokens=VALIDATION_TOKENS)
        return cost_model.work(table.lengths, table.positions, cost_model.alone(buckets))

    def _rate(self, shape: Shape, precision: str, rows: int) -> float:
        key = (precision, shape.hidden, shape.neurons)
        if key not in self._rates:
            self._rates[key] = self.machine.rate(
                precision,
                rows=rows,
                width=shape.hidden,
                neurons=shape.neurons,
                seconds=self._probe_seconds / 2,  # as a rule there are two: teacher and student
            )
        return self._rates[key]

    # what it keeps

    @property
    def _codec(self) -> Any:
        return self.context.store_settings.codec

    def _store(self, state: str) -> Store | None:
        if state == "there":
            folder = self.run.target_store.folder
            manifest, *parts = map(StoreManifest.open, [folder, *parts_of(folder)])
            size = sum(shard.bytes for store in (manifest, *parts) for shard in store.shards)
            size += sum(file.bytes for file in manifest.files)
            mean = size / max(1, manifest.positions)
            return Store(described(manifest.codec), mean, size, is_estimate=False)
        expected = self._store_bytes(self._shape("teacher"), self._codec)
        if expected is None:
            return None
        mean = expected / self._asking.positions
        return Store(described(self._codec.settings()), mean, expected, is_estimate=True)

    def _store_bytes(self, shape: Shape | None, codec: Codec) -> float | None:
        if shape is None:
            return None
        states = states_bytes(
            self.run.activations.stored,
            examples=len(self._teacher_examples),
            tokens=len(self._teacher_examples.ids),
            hidden=shape.hidden,
        )
        return states + store_bytes(
            codec,
            examples=len(self._teacher_examples),
            positions=int(self._asking.positions),
            outputs=shape.outputs,
            hidden=shape.hidden,
        )

    def _disk(self, trainings: dict[str, Training], states: dict[str, str]) -> dict[str, float]:
        """Bytes of what is to be made, by what; checkpoints, the largest, are there for a while."""
        sizes: dict[str, float] = {}
        if self.stores_targets and states["targets"] not in cost_model.DONE:
            sizes["targets"] = self._store_bytes(self._shape("teacher"), self._codec) or 0.0
            sizes |= self._disk_of_members()
        passing = [0.0]
        for name in ("teacher", "student", "control", "untrained"):
            shape = self._shape(name) if states.get(name) in ("to be made", "begun") else None
            if shape is None:
                continue
            # the student once more in the run's own folder
            copies = {"student": 2, "teacher": len(self.run.teachers.members)}.get(name, 1)
            sizes[name] = cost_model.kept_disk(shape, copies=copies)
            if name in trainings:
                passing.append(cost_model.passing_disk(shape, states=self._states(name)))
        return sizes | {"checkpoints": max(passing)}

    def _disk_of_members(self) -> dict[str, float]:
        """What the answers of an ensemble's members take that are not there: all logits of each."""
        teachers, targets = self.run.teachers, self.context.store_settings
        codec = teachers.member_settings(targets).codec
        pairs = zip(teachers.member_store_fields(targets), self._shapes("teacher"), strict=False)
        missing = [s for fields, s in pairs if not self.context.workspace.find("targets", fields)]
        sizes = [self._store_bytes(shape, codec) or 0.0 for shape in missing]
        return {"targets of each teacher": sum(sizes)} if sizes else {}
