"""Making a study: optuna chooses the parameters of each trial, the caller trains and judges it."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from fti_assets.core.extras import require
from fti_assets.errors import MissingExtraError, ModelError
from fti_assets.training.tuning.journal import Journal
from fti_assets.training.tuning.pruning import new_pruner, pruning_text
from fti_assets.training.tuning.spaces import at_places, parameters_of
from fti_assets.training.tuning.study import Study, TrialRecord, parameters_text
from fti_assets.training.tuning.trial import Trial, TrialPruned
from fti_assets.training.tuning.tuning import Tuning

RANDOM_TRIALS = 10
"""So many trials are chosen at random before the sampler learns from them."""

_ERROR = 500
_RUNG = "completed_rung_"


@dataclass(frozen=True)
class Search:
    """What makes a study.

    Attributes:
        tuning: what is searched.
        metric: what is judged.
        higher_is_better: which way.
        train: trains a model with a trial's parameters.
        judge: the metric of a trained model on validation.
        log, warn: are told of each trial.
    """

    tuning: Tuning
    metric: str
    higher_is_better: bool
    train: Callable[[Trial], Any]
    judge: Callable[[Any], float]
    log: Callable[[str], object]
    warn: Callable[[str], object]

    def run(self, journal: Journal) -> tuple[Any, Study]:
        """Make every trial that the journal does not have, and give the model of the best one.

        It is the very model that was judged; that of a trial from the journal is trained again.

        Raises:
            ModelError: every trial failed.
            MissingExtraError: what tunes, trains or exports is not installed.
        """
        optuna = require("optuna")
        with _quiet(optuna):
            study = self._new_study(optuna)
            trials, best_model = self._taken_over(optuna, study, journal), None
            resumed = len(trials)
            if resumed:
                self.log(f"the study goes on after {resumed} trials of a run that ended before its build was there")
            for number in range(resumed + 1, self.tuning.trials + 1):
                trial, model = self._make(optuna, study, number, trials)
                trials.append(trial)
                journal.add(trial)
                is_best = self._as_study(optuna, trials).best == trial
                if is_best:
                    best_model = model
                self._tell(trial, trials, is_best=is_best)
                del model  # no more than two models are held at once
            result = self._as_study(optuna, trials)
            best = result.best
            if best is None:
                self._all_failed(trials)
            assert best is not None
            if best.number <= resumed:
                self.log(f"trial {best.number} is trained again, whose model ended with its run")
                best_model = self.train(Trial(best.parameters, number=best.number))
            return best_model, replace(result, importance=_importance(optuna, study, self.tuning.seed), resumed=resumed)

    def _new_study(self, optuna: Any) -> Any:
        return optuna.create_study(
            direction="maximize" if self.higher_is_better else "minimize",
            pruner=new_pruner(optuna, self.tuning.pruning),
            study_name="study",
        )

    def _taken_over(self, optuna: Any, study: Any, journal: Journal) -> list[TrialRecord]:
        """The journal's trials as far as they are this study's, told to optuna."""
        trials: list[TrialRecord] = []
        for trial in journal.trials[: self.tuning.trials]:
            try:
                values, domains = at_places(self.tuning.space, trial.parameters)
                reported = {int(epoch): value for epoch, value in trial.reported.items()}
            except ValueError:
                break
            if trial.number != len(trials) + 1 or trial.seed != _seed(self.tuning.seed, trial.number):
                break
            states = optuna.trial.TrialState
            study.add_trial(
                optuna.trial.create_trial(
                    state={"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[trial.state],
                    value=trial.value,
                    params=values,
                    distributions={place: domain.distribution() for place, domain in domains.items()},
                    intermediate_values=reported,
                    system_attrs={f"{_RUNG}{rung}": value for rung, value in trial.rungs.items()},
                )
            )
            trials.append(trial)
        return trials

    def _make(self, optuna: Any, study: Any, number: int, before: list[TrialRecord]) -> tuple[TrialRecord, Any]:
        """One trial, told to optuna, and its model."""
        seed = _seed(self.tuning.seed, number)
        # A sampler of its own for each trial, so that what it chooses does not depend on whether a run was resumed.
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
        proposal = study.ask()
        parameters = parameters_of(self.tuning.space, lambda place, domain: domain.suggest(proposal, place))
        same = next((one for one in before if _equal(one.parameters, parameters)), None)
        if same is None:
            trial, model = self._train(proposal, parameters, number, seed)
        else:
            for epoch, value in same.reported.items():
                proposal.report(value, int(epoch))
            first = same.number if same.same_as is None else same.same_as
            trial, model = replace(same, number=number, seconds=0.0, seed=seed, same_as=first), None
        states = optuna.trial.TrialState
        if trial.state == "complete":
            study.tell(proposal, trial.value)
        else:
            study.tell(proposal, state=states.PRUNED if trial.state == "pruned" else states.FAIL)
        return replace(trial, rungs=_rungs(study.get_trials(deepcopy=False)[-1])), model

    def _train(self, proposal: Any, parameters: dict[str, Any], number: int, seed: int) -> tuple[TrialRecord, Any]:
        """A trial that trains, whatever the function does."""
        reported: dict[str, float] = {}

        def report(epoch: int, value: float) -> None:
            reported[str(epoch)] = value
            proposal.report(value, epoch)
            if proposal.should_prune():
                raise TrialPruned(f"after epoch {epoch}")

        def ended(state: Literal["complete", "pruned", "failed"], value: float | None, error: str = "") -> TrialRecord:
            seconds = round(time.perf_counter() - started, 3)
            return TrialRecord(number, state, parameters, value, reported, seconds, seed, error)

        started = time.perf_counter()
        try:
            model = self.train(Trial(parameters, number=number, report=report, higher_is_better=self.higher_is_better))
            return ended("complete", self.judge(model)), model
        except TrialPruned:
            return ended("pruned", None), None
        except MissingExtraError:
            raise  # no trial can do without it
        except Exception as error:  # whatever the function of a user raises
            self.warn(f"trial {number} fails:\n{''.join(traceback.format_exception(error))}")
            return ended("failed", None, f"{type(error).__name__}: {error}"[:_ERROR]), None

    def _tell(self, trial: TrialRecord, trials: list[TrialRecord], *, is_best: bool) -> None:
        """A line of the run's log."""
        which = f"trial {trial.number} of {self.tuning.trials}"
        how = f"with {parameters_text(trial.parameters)}"
        if trial.same_as is not None:
            how += f", as trial {trial.same_as}, so it is not trained again"
        if trial.state == "complete" and trial.value is not None:
            best = self._best_of(trials)
            comparison = "the best so far" if is_best else f"the best is {best:.6g}"
            self.log(f"{which}: {self.metric} {trial.value:.6g}, {comparison}, {how}")
        elif trial.state == "pruned":
            self.log(f"{which}: pruned after epoch {max(map(int, trial.reported))}, {how}")
        else:
            self.warn(f"{which}: failed, {how}: {trial.error}")

    def _best_of(self, trials: list[TrialRecord]) -> float:
        values = [one.value for one in trials if one.value is not None and one.state == "complete"]
        return max(values) if self.higher_is_better else min(values)

    def _as_study(self, optuna: Any, trials: list[TrialRecord]) -> Study:
        return Study(
            metric=self.metric,
            higher_is_better=self.higher_is_better,
            pruning=pruning_text(self.tuning.pruning),
            seed=self.tuning.seed,
            sampler=f"TPE of optuna {optuna.__version__}, {RANDOM_TRIALS} trials at random first",
            space={name: repr(domain) for name, domain in self.tuning.space.items()},
            trials=tuple(trials),
        )

    def _all_failed(self, trials: list[TrialRecord]) -> None:
        reasons = list(dict.fromkeys(one.error for one in trials if one.error))
        causes = list[str]()
        if pruned := sum(one.state == "pruned" for one in trials):
            causes.append(
                f" {pruned} were ended early by pruning={pruning_text(self.tuning.pruning)!r}, which lets none of these come to its end."
            )
        if reasons:
            more = f", and {len(reasons) - 1} other reasons" if len(reasons) > 1 else ""
            causes.append(f" {'The others' if pruned else 'They'} failed with {reasons[0]}{more}")
        raise ModelError(f"no trial of {len(trials)} is complete, so there is no model.{''.join(causes)}")


def _seed(seed: int, number: int) -> int:
    """The seed of a trial's sampler, from the study's and the trial's number."""
    return int.from_bytes(hashlib.sha256(f"trial {seed} {number}".encode()).digest()[:4], "big")


def _rungs(trial: Any) -> dict[str, float]:
    """What a trial had reached where halving compared it, by rung, as optuna keeps it beside the trial."""
    attributes = trial.system_attrs
    return {name.removeprefix(_RUNG): float(value) for name, value in attributes.items() if name.startswith(_RUNG)}


def _equal(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether parameters are the same: True is no 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _importance(optuna: Any, study: Any, seed: int) -> dict[str, float]:
    """How much of the metric's variance each parameter that all trials have explains. Source: fANOVA, Hutter et al. (2014)."""
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len({one.value for one in complete}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    try:
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (RuntimeError, ValueError) as error:  # such as values that hardly differ
        logging.getLogger(__name__).info("the importance of parameters cannot be computed: %s", error)
        return {}
    return {name: float(share) for name, share in shares.items()}


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Keep optuna's own lines out of the log for a block."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
