"""Search spaces: what a parameter may be, and parameters that only some choices have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.extras import require
from fti_assets.errors import DeclarationError, excerpt, list_some, one_of

_SCALARS = (str, bool, int, float, type(None))


class Domain:
    """The values that one parameter may have."""

    def distribution(self) -> Any:
        """The same as optuna's distribution."""
        raise NotImplementedError

    def suggest(self, trial: Any, place: str) -> Any:
        """A value that optuna chooses for a trial, under the parameter's place in the space."""
        raise NotImplementedError

    def refuse(self, value: Any) -> str:
        """Why a value is none of these, empty if it is one."""
        raise NotImplementedError


@checked_arguments()
@dataclass(frozen=True)
class Uniform(Domain):
    """Any number between two ends, each equally likely.

    Args:
        low, high: the ends, both included.

    Raises:
        DeclarationError: ``low`` is not below ``high``.

    >>> Uniform(0.0, 0.5)
    Uniform(low=0.0, high=0.5)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends(self)

    def distribution(self) -> Any:
        return require("optuna").distributions.FloatDistribution(self.low, self.high)

    def suggest(self, trial: Any, place: str) -> float:
        return float(trial.suggest_float(place, self.low, self.high))

    def refuse(self, value: Any) -> str:
        return _outside(self, value, (int, float))


@checked_arguments()
@dataclass(frozen=True)
class LogUniform(Domain):
    """A number above 0, sampled on a logarithmic scale, such as a learning rate.

    Args:
        low, high: the ends, both included, above 0.

    Raises:
        DeclarationError: ``low`` is not above 0, or not below ``high``.

    >>> LogUniform(1e-4, 0.1)
    LogUniform(low=0.0001, high=0.1)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_ends(self)
        if self.low <= 0:
            raise DeclarationError(f"{self!r}: the logarithm needs a low end above 0; fti.Uniform takes any numbers")

    def distribution(self) -> Any:
        return require("optuna").distributions.FloatDistribution(self.low, self.high, log=True)

    def suggest(self, trial: Any, place: str) -> float:
        return float(trial.suggest_float(place, self.low, self.high, log=True))

    def refuse(self, value: Any) -> str:
        return _outside(self, value, (int, float))


@checked_arguments()
@dataclass(frozen=True)
class Integers(Domain):
    """Whole numbers from ``low`` to ``high``.

    Args:
        low, high: the ends, both included.
        step: the distance between values; ``high`` must be a whole number of steps from ``low``.
        log: whether to sample on a logarithmic scale, as for a number of trees.

    Raises:
        DeclarationError: ``low`` is not below ``high``, ``step`` does not lead to ``high``, or ``log`` is combined with a low end
            below 1 or a step.

    >>> Integers(4, 64, log=True)
    Integers(low=4, high=64, step=1, log=True)
    """

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        _check_ends(self)
        if self.step < 1 or (self.high - self.low) % self.step:
            raise DeclarationError(f"{self!r}: a step leads from {self.low} to {self.high}; {self.step} does not")
        if self.log and (self.low < 1 or self.step != 1):
            raise DeclarationError(f"{self!r}: log=True needs a low end of 1 or more and no step")

    def distribution(self) -> Any:
        return require("optuna").distributions.IntDistribution(self.low, self.high, log=self.log, step=self.step)

    def suggest(self, trial: Any, place: str) -> int:
        return int(trial.suggest_int(place, self.low, self.high, step=self.step, log=self.log))

    def refuse(self, value: Any) -> str:
        return _outside(self, value, (int,)) or (
            f"is not a step of {self.step} from {self.low}" if (value - self.low) % self.step else ""
        )


@checked_arguments(itself=("options",))
@dataclass(frozen=True)
class Choice(Domain):
    """One of several values; a choice may have parameters of its own.

    Args:
        options: the values: texts, numbers, True, False or None; or a mapping from each text to the parameters that only this
            choice has.

    Raises:
        DeclarationError: there are no values, a value is given twice, or one has another type.

    >>> Choice(["relu", "tanh"]).values
    ('relu', 'tanh')
    >>> Choice({"ridge": {"alpha": LogUniform(0.01, 100.0)}, "forest": {"trees": Integers(10, 200)}}).values
    ('ridge', 'forest')
    """

    options: Sequence[Any] | Mapping[str, Mapping[str, Domain]]

    def __post_init__(self) -> None:
        if isinstance(self.options, str | bytes) or not isinstance(self.options, Sequence | Mapping):
            raise DeclarationError(
                f"fti.Choice({excerpt(self.options)}): write a list of values, or a mapping of spaces"
            )
        strange = [value for value in self.values if type(value) not in _SCALARS or value != value]
        if strange or (isinstance(self.options, Mapping) and not all(isinstance(one, str) for one in self.values)):
            raise DeclarationError(
                f"fti.Choice has the option {excerpt((strange or list(self.values))[0])}: options are texts, numbers, True, False or "
                "None; give others a name, and look them up by it"
            )
        if not self.values:
            raise DeclarationError("fti.Choice([]) has nothing to choose from: write its options")
        # 1, 1.0 and True are equal to Python and one choice to optuna
        if len(set(self.values)) < len(self.values):
            raise DeclarationError(f"fti.Choice has an option twice: {list_some(self.values, limit=20)}")
        for value in self.values:
            if not isinstance(self.space_of(value), Mapping):
                raise DeclarationError(
                    f"fti.Choice has {excerpt(self.space_of(value))} under {value!r}: write the parameters that only it has, "
                    "{} for none"
                )

    @property
    def values(self) -> tuple[Any, ...]:
        """The values that can be chosen."""
        return tuple(self.options)

    def space_of(self, value: Any) -> Mapping[str, Domain]:
        """The parameters that only this choice has."""
        return self.options[value] if isinstance(self.options, Mapping) else {}

    def distribution(self) -> Any:
        return require("optuna").distributions.CategoricalDistribution(self.values)

    def suggest(self, trial: Any, place: str) -> Any:
        return trial.suggest_categorical(place, self.values)

    def refuse(self, value: Any) -> str:
        return "" if value in self.values else f"is not {one_of(self.values)}"


Space = Mapping[str, Domain]


def check_space(space: Any, *, what: str, beside: Sequence[str] = ()) -> None:
    """Raise a DeclarationError if a space is empty or names a parameter that is there already where it is chosen.

    Args:
        space: what was given as one.
        what: whose it is, for errors.
        beside: the parameters that are there already.
    """
    if not isinstance(space, Mapping) or (not space and not beside):
        raise DeclarationError(
            f"{what} has the space {excerpt(space)}, in which nothing can be tried: write such as "
            "space={'alpha': fti.LogUniform(0.01, 100.0)}"
        )
    for name, domain in space.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise DeclarationError(f"{what} has a parameter {excerpt(name)}: its name is one that Python takes")
        if name in beside:
            raise DeclarationError(f"{what} has the parameter {name!r} in a choice and above it: rename one of them")
        if not isinstance(domain, Domain):
            raise DeclarationError(
                f"{what} has {excerpt(domain)} for the parameter {name!r}: write fti.Uniform, fti.LogUniform, fti.Integers or fti.Choice"
            )
    names = [*beside, *space]
    choices = [one for one in space.values() if isinstance(one, Choice)]
    for choice in choices:
        for value in choice.values:
            check_space(choice.space_of(value), what=what, beside=names)
    # Two choices are made at once, so what one brings must not meet what the other brings.
    of_choices = [_names_below(choice) for choice in choices]
    met = sorted(
        name for at, names in enumerate(of_choices) for later in of_choices[at + 1 :] for name in names & later
    )
    if met:
        raise DeclarationError(f"{what} has the parameter {met[0]!r} in two choices that are made at once: rename one")


def names_in(space: Space) -> set[str]:
    """Every parameter of a space, those of its choices too."""
    return {*space}.union(*(_names_below(one) for one in space.values() if isinstance(one, Choice)))


def parameters_of(space: Space, choose: Callable[[str, Domain], Any]) -> dict[str, Any]:
    """The parameters of one trial by name.

    Args:
        space: what they may be.
        choose: gives the value at a place of the space, such as ``family=ridge/alpha``.

    >>> parameters_of({"family": Choice({"a": {}, "b": {"c": Integers(1, 9)}})}, lambda place, _: 5 if "/" in place else "b")
    {'family': 'b', 'c': 5}
    """
    return {name: value for _, name, _, value in _walk(space, choose, "")}


def at_places(space: Space, parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Domain]]:
    """The parameters of a trial by their places in a space, and what they may be there.

    Raises:
        ValueError: they are not those of the space.
    """
    values, domains = {}, {}

    def choose(place: str, domain: Domain) -> Any:
        name = place.rpartition("/")[2]
        if name not in parameters:
            raise ValueError(f"there is no {name}")
        if reason := domain.refuse(parameters[name]):
            raise ValueError(f"{name} {reason}")
        return parameters[name]

    for place, _, domain, value in _walk(space, choose, ""):
        values[place], domains[place] = value, domain
    if len(values) < len(parameters):
        raise ValueError("there are parameters that the space does not have")
    return values, domains


def _walk(space: Space, choose: Callable[[str, Domain], Any], above: str) -> Iterator[tuple[str, str, Domain, Any]]:
    for name, domain in space.items():
        place = f"{above}{name}"
        value = choose(place, domain)
        yield place, name, domain, value
        if isinstance(domain, Choice):
            yield from _walk(domain.space_of(value), choose, f"{place}={value}/")


def _names_below(choice: Choice) -> set[str]:
    return set[str]().union(*(names_in(choice.space_of(value)) for value in choice.values))


def _check_ends(domain: Any) -> None:
    if not domain.low < domain.high:
        raise DeclarationError(f"{domain!r}: its low end is to be below its high end")


def _outside(domain: Any, value: Any, kinds: tuple[type, ...]) -> str:
    is_one = isinstance(value, kinds) and not isinstance(value, bool) and domain.low <= value <= domain.high
    return "" if is_one else f"is not within {domain!r}"
