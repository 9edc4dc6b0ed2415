"""Builds what a study may come to, so that what cannot work is refused before a run begins."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sklearn.base import is_classifier

from fmnist_bench._utils.errors import InputError, nearest
from fmnist_bench.config.building import resolve
from fmnist_bench.config.fidelity import ROWS
from fmnist_bench.config.study import Study
from fmnist_bench.pipeline import Pipeline, takes

COMPOSITION_CHECKS = ("_validate_steps", "_validate_transformers", "_validate_estimators")


def check_study(study: Study, allow_import: Sequence[str] = ()) -> None:
    """Build a study with every choice, both ends of every range, every default configuration, on every rung.

    Raises
    ------
    InputError
        Where one of them cannot be built, or its parts cannot do what is asked of them.
    """
    study.learner(allow_import)
    built: list[tuple[dict[str, Any], Any]] = []
    for parameters, where in _configurations(study):
        pipeline = study.pipeline(parameters, allow_import)
        if not built:
            _check_names(study, pipeline)
        _check_parts(pipeline, study, where)
        built.append((parameters, pipeline.model))
    _check_probabilities(built, study)


def compresses_schedule(study: Study, allow_import: Sequence[str] = ()) -> bool:
    """Whether a limit shortens the training of the study's model to a whole one, with a schedule that ends in time.

    Its class declares `compresses_schedule = True`. It takes what the search tells it then: the deadline, and the seed
    with which it is trained once more.
    """
    target = resolve(study.space.model.use, f"study {study.space.name}, [model]", allow_import)
    declared = getattr(target, "compresses_schedule", False) is True
    return declared and takes(target, "deadline") and "random_state" in inspect.signature(target).parameters


def check_student(study: Study, allow_import: Sequence[str] = ()) -> None:
    """Refuse a model that cannot learn from what a teacher says.

    Raises
    ------
    InputError
    """
    use = study.space.model.use
    if not takes(resolve(use, f"study {study.space.name}, [model]", allow_import), "soft_targets"):
        raise InputError(
            f"[distill], student: {use} cannot learn from a teacher; must be a network such as "
            "fmnist_bench.models.CNNClassifier"
        )


def _configurations(study: Study) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield configurations, and what each of them is."""
    ranges, where = study.ranges(), f"study {study.space.name}"
    first = {name: ranges[name].ends[0] for name in ranges}
    yield first, where
    for name, own in ranges.items():
        for value in own.ends[1:]:
            yield {**first, name: value}, f"{where}, {name} = {value!r}"
    for default in study.space.defaults:
        yield {**first, **default.parameters}, f"{where}, [[default]] {default.name}"
    for level in map(study.space.fidelity.at, range(study.space.fidelity.n_rungs)):
        yield {**first, **{name: value for name, value in level.items() if name != ROWS}}, f"{where}, [fidelity]"


def _check_names(study: Study, pipeline: Pipeline) -> None:
    names = list(pipeline.get_params())
    for name in study.space.fidelity.levels:
        own = [name for name in names if not name.startswith("augment")]
        if name not in (ROWS, *own):
            raise InputError(f"study {study.space.name}, [fidelity]: there is no parameter {name}{nearest(name, own)}")
    for name in study.ranges():
        if name not in names:
            raise InputError(f"study {study.space.name}: {name}: its class lets nobody set it; give it a value")


def _check_parts(pipeline: Pipeline, study: Study, where: str) -> None:
    steps = pipeline.features.steps if pipeline.features is not None else []
    for (_, step), spec in zip(steps, study.space.features, strict=True):
        if not hasattr(step, "fit") or not hasattr(step, "transform"):
            raise InputError(f"{where}, [[features]]: {spec.use} has no transform: it cannot be used on new rows")
    if pipeline.augment is not None and not hasattr(pipeline.augment, "fit_resample"):
        raise InputError(f"{where}, [augment]: {study.augments[0].use} has no fit_resample")
    own = type(pipeline.model).__module__.startswith("xgboost.")
    if own and pipeline.model.get_params().get("early_stopping_rounds"):
        raise InputError(f"{where}: early_stopping_rounds: fmnist_bench.models.XGBoostClassifier stops early; use it")
    for part in pipeline.get_params().values():
        if type(part).__module__.startswith("sklearn."):
            _let_scikit_learn_check(part, where)


def _let_scikit_learn_check(part: Any, where: str) -> None:
    """Let an object say of its arguments what it would say in `fit`."""
    names = [*(["_validate_params"] if hasattr(part, "_parameter_constraints") else []), *COMPOSITION_CHECKS]
    for check in (getattr(part, name, None) for name in names):
        if check is not None and not inspect.signature(check).parameters:
            try:
                check()
            except (TypeError, ValueError) as error:
                hint = "; None is written { none = true }" if "got 'none'" in str(error).lower() else ""
                raise InputError(f"{where}: {error}{hint}") from error


def _check_probabilities(built: Sequence[tuple[Mapping[str, Any], Any]], study: Study) -> None:
    """Refuse a model without probabilities, and say with which of its parameters it has none."""
    able = next((parameters for parameters, model in built if _has_probabilities(model)), None)
    for parameters, model in built:
        if _has_probabilities(model):
            continue
        changed = [name for name in parameters if able is not None and able.get(name) != parameters[name]]
        values = f" with {', '.join(f'{name} = {parameters[name]!r}' for name in changed)}" if changed else ""
        raise InputError(
            f"study {study.space.name}, [model]: {study.space.model.use} has no predict_proba{values}{_advice(model)}"
        )


def _has_probabilities(model: Any) -> bool:
    # Without a final estimator `StackingClassifier` takes a LogisticRegression, when it is fitted.
    return hasattr(model, "predict_proba") or getattr(model, "final_estimator", model) is None


def _advice(model: Any) -> str:
    if not is_classifier(model):
        return "; it is no classifier"
    return "; wrap it in sklearn.calibration.CalibratedClassifierCV" if hasattr(model, "decision_function") else ""
