"""The ensemble teaches a small network, beside a twin that learns from labels alone, each for as long as the other."""

import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmnist_bench._utils.digests import digest_of_file
from fmnist_bench._utils.environment import cores
from fmnist_bench._utils.errors import InputError
from fmnist_bench._utils.probabilities import read_probabilities
from fmnist_bench.config.fidelity import EPOCHS
from fmnist_bench.config.study import DISTILLED, UNDISTILLED, WITH_SYNTHETIC, DistillConfig, Study
from fmnist_bench.data.dataset import Dataset
from fmnist_bench.ensemble.choose import about_of, combination_of, members_of
from fmnist_bench.ensemble.saved import write_bundle
from fmnist_bench.ensemble.selection import learn_combination
from fmnist_bench.search.loop import Search
from fmnist_bench.search.training import with_epochs_made
from fmnist_bench.storage.lesson import Lesson
from fmnist_bench.storage.run_folder import LESSONS, MANIFEST
from fmnist_bench.storage.trial import DISTILL, Trial, best, trial_fault
from fmnist_bench.trials.job import Job
from fmnist_bench.trials.predictor import predict_in_worker
from fmnist_bench.trials.process import answer_of_worker
from fmnist_bench.trials.questions import draw

LEAST_SECONDS = 10.0  # that each student must have
MOST_EPOCHS = 1000  # of a student in a budget: the clock ends its schedule before
MEMBERS = 4  # models that an ensemble is likely to have, for the time that its answers take
STUDENT_SECONDS = 15.0  # to predict the test rows with a student; also to draw synthetic images


class Teaching:
    """The last phase before the report: the chosen ensemble is the teacher, and nothing of it changes.

    A student learns from the train rows, and perhaps from synthetic images of a GAN that learnt from these. Where the
    teacher is the same as in an earlier call, students of that call are kept.

    Parameters
    ----------
    search : Search
        Of the run: where it is stored, tracked and shown, where trials run.
    config : DistillConfig
    dataset : Dataset
    """

    def __init__(self, search: Search, config: DistillConfig, dataset: Dataset) -> None:
        self.search, self.config, self.dataset = search, config, dataset
        self.run, self.clock = search.run, search.clock

    def seconds(self, records: Sequence[Trial]) -> float:
        """Give the time to keep aside: what students have, what the teacher's answers take, the test rows for each.

        `records` are the trials that may become members. Nothing is kept where the share is too short to teach in.
        """
        if self._share < LEAST_SECONDS * len(self.config.students):
            return 0.0
        rows = len(self._train) * (2 if self.config.synthetic else 1) / len(self.search.settings.split.validation)
        each = [r.fixed_seconds + rows * r.result.predict_seconds for r in best(records, MEMBERS)]
        answers = max(sum(each) / cores(), max(each, default=0.0))
        drawing = STUDENT_SECONDS if self.config.synthetic else 0.0
        return self._share + answers + drawing + self._report_seconds

    @property
    def _share(self) -> float:
        return self.config.share * (self.clock.budget or 0.0)

    @property
    def _report_seconds(self) -> float:
        return STUDENT_SECONDS * len(self.config.students) / cores()

    @property
    def _train(self) -> NDArray[np.int64]:
        return self.search.settings.split.train

    def teach(self, reserve: float) -> None:
        """Teach whom this ensemble has not taught yet; `reserve` are the seconds that the report needs without them.

        Whoever cannot be taught is a row of the report that says why.
        """
        wanted = self._not_taught()
        lessons = self.run.folder / LESSONS
        try:
            why = self._teach(wanted, lessons, reserve) if wanted else {}
        finally:
            shutil.rmtree(lessons, ignore_errors=True)
        self.run.save_state(not_begun={**self.run.state.get("not_begun", {}), **why})
        self._save()

    def _not_taught(self) -> list[Study]:
        """Forget students of another ensemble; give those that are to be taught."""
        manifest = self.run.ensemble_folder / MANIFEST
        teacher = digest_of_file(manifest) if members_of(self.run) else ""
        same = bool(teacher) and self.run.state.get("distillation", {}).get("teacher") == teacher
        wanted = [student for student in self.config.students if not (same and self._is_taught(student.name))]
        for student in wanted:
            self.search.tracker.forget_trial(student.name, 0)
            shutil.rmtree(self.run.trial_folder(student.name, 0), ignore_errors=True)
        if not same:
            self.run.save_state(distillation={"teacher": teacher})
        return wanted

    def _is_taught(self, name: str) -> bool:
        record = self.run.record(name, 0)
        if record is None or not record.is_complete or not self.run.model_file(name, 0).is_file():
            return False
        return not trial_fault(self.run.trial_folder(name, 0), record, self.run.y_valid())

    def _teach(self, students: Sequence[Study], lessons: Path, reserve: float) -> dict[str, str]:
        """Teach one after the other, each on all cores; give the reasons of those that were not begun."""
        names = [student.name for student in students]
        if not members_of(self.run):
            return dict.fromkeys(names, "there is no ensemble to learn from")
        if self.search.stop.is_set():
            return dict.fromkeys(names, "the run was stopped")
        if too_short := self._too_short(self._each(reserve, len(students))):
            return dict.fromkeys(names, too_short)
        lessons.mkdir(exist_ok=True)
        try:
            given, why = self._lessons(names, lessons)
        except InputError as error:
            return dict.fromkeys(names, f"the ensemble gave no answers: {error}")
        students = [student for student in students if student.name not in why]
        seconds = self._each(reserve, len(students))
        if too_short := self._too_short(seconds):
            return why | dict.fromkeys(names, too_short)
        long = "" if seconds is None else f" for {seconds:.0f} s each"
        said = ", ".join(student.name for student in students)
        self.search.progress.message(f"The ensemble teaches {self.config.student.name}{long}: {said}")
        for student in students:
            if self.search.stop.is_set():
                why[student.name] = "the run was stopped"
            else:
                self._train_one(student, given.get(student.name), seconds)
        return why

    def _each(self, reserve: float, n: int) -> float | None:
        """Seconds of each of `n` students that are not taught yet; None where nothing limits them."""
        left = self.clock.left(reserve + self._report_seconds)
        if left is None or n == 0:
            return None
        each = left / n
        return each if self.search.phases.is_counted else min(each, self._share / len(self.config.students))

    def _too_short(self, seconds: float | None) -> str:
        if seconds is None or seconds >= LEAST_SECONDS:
            return ""
        return f"a student would have {seconds:.0f} s of the budget, at least {LEAST_SECONDS:.0f} s are needed"

    def _lessons(self, names: Sequence[str], folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
        """Write what the teacher says, for those who learn from it; give the files, and why there is none."""
        given, why = dict[str, Path](), dict[str, str]()
        if all(name == UNDISTILLED for name in names):
            return given, why
        began, generator = time.monotonic(), ""
        images = np.empty((0, self.dataset.X.shape[1]), dtype=np.uint8)
        if WITH_SYNTHETIC in names:
            generator, fault = self._draw(folder / "images.npy")
            if fault:
                why[WITH_SYNTHETIC] = fault
            else:
                images = np.load(folder / "images.npy")
        answers = self._answers(np.concatenate([self.dataset.X[self._train], images]), folder)
        of_train, of_images = np.split(answers, [len(self._train)])
        for name in names:
            if name != UNDISTILLED and name not in why:
                n = len(images) if name == WITH_SYNTHETIC else 0
                given[name] = folder / f"{name}.npz"
                Lesson(of_train, images[:n], of_images[:n]).save(given[name])
        found = {"seconds": time.monotonic() - began, "synthetic": len(of_images), "generator": generator}
        self.run.save_state(distillation={**self.run.state["distillation"], **found})
        return given, why

    def _draw(self, target: Path) -> tuple[str, str]:
        """Draw as many synthetic images as there are train rows; give the study whose GAN did, or why none could."""
        shared = self.search.settings
        for study in (search.study for search in self.search.studies if search.study.augmented):
            if (generator := self.run.generator_file(study.name)) is not None:
                question = study, generator, shared.rows(), shared.split, shared.seed, shared.allow_import, target
                return study.name, str(answer_of_worker(draw, question))
        return "", "no augmentation of the run has learnt to draw images"

    def _answers(self, X: NDArray[Any], folder: Path) -> NDArray[np.float32]:
        """Ask the ensemble, each member in a worker of its own; of shape (n, n_classes)."""

        def ask(member: tuple[str, int, float]) -> NDArray[np.float32]:
            study, number, _ = member
            answers = folder / f"{study}-{number}.npy"
            predict_in_worker(self.run.model_file(study, number), X, answers, self.search.settings.allow_import)
            found = read_probabilities(answers, len(X), self.run.valid_probabilities(study, number).shape[1])
            if found is None:
                raise InputError(f"{study} trial {number}: its prediction of the rows cannot be read")
            return found

        with ThreadPoolExecutor(cores()) as threads:
            members = np.stack(list(threads.map(ask, members_of(self.run))))
        return combination_of(self.run).apply(members).astype(np.float32)

    def _train_one(self, student: Study, lesson: Path | None, seconds: float | None) -> None:
        """Run a student's trial on all cores, record it, log it."""
        search, name, began = self.search, student.name, time.monotonic()
        job = self._job(student, lesson, seconds)
        search.progress.trial_started(name, 0)

        def on_report(step: int | str, score: float) -> bool:
            if isinstance(step, str):
                search.progress.trial_stage(name, 0, step, score)
            else:
                search.progress.trial_progress(name, 0, step, score)
            return False

        result = search.workers.run(job, on_report, search.stop)
        ended = replace(job.trial, result=result, seconds=time.monotonic() - began, ended=self.clock.elapsed)
        self.run.save_record(record := with_epochs_made(ended))
        search.tracker.log_trial(record)
        self.run.save_state(seconds=self.clock.elapsed)
        how = record.status, record.result.accuracy, record.seconds, record.result.reason
        search.progress.trial_ended(name, 0, *how)

    def _job(self, student: Study, lesson: Path | None, seconds: float | None) -> Job:
        every = self.search.workers.capacity
        parameters = {name: value for each in student.space.defaults for name, value in each.parameters.items()}
        trial = Trial(
            student.name,
            0,
            parameters,
            default=self.config.student.name,
            fidelity=self._epochs(student, parameters),
            phase=DISTILL,
            places=every if self.search.workers.speedup(every) > 1 else 1,  # a network learns on one machine
        )
        return replace(self.search.job(student, trial, seconds), lesson=lesson)

    def _epochs(self, student: Study, parameters: Mapping[str, Any]) -> dict[str, int]:
        """More than there is time for; without a budget what the study says, and on twice the rows half of them."""
        if not self.search.phases.is_counted:
            return {EPOCHS: MOST_EPOCHS}
        said = student.settings(parameters).get(EPOCHS)
        return {} if said is None else {EPOCHS: max(1, said // 2) if student.name == WITH_SYNTHETIC else said}

    def _save(self) -> None:
        """Save the network that was taught on train rows as an ensemble of one, which can be used and exported."""
        folder, (study, number) = self.run.folder / DISTILLED, (DISTILLED, 0)
        if not self._is_taught(study):
            shutil.rmtree(folder, ignore_errors=True)
            return
        found = learn_combination(self.run.valid_probabilities(study, number)[None], self.run.y_valid())
        temperature = 1.0 if found.temperatures is None else float(found.temperatures[0])
        files = [(f"{study}-{number}", 1.0, temperature, self.run.model_file(study, number))]
        write_bundle(folder, files, about_of(self.dataset, "greedy", found.temperature), own_place=True)
