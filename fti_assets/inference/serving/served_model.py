"""A model that is served: one build that stays, or the champion, which is followed, with the arms of its rollout."""

import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Literal

from fti_assets.core.logs import late_logger
from fti_assets.errors import PredictionError
from fti_assets.inference.serving.forks import flights
from fti_assets.inference.serving.refusals import Strictness
from fti_assets.inference.serving.served_build import Serve, ServedBuild
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.models.loaded_build import load_whole_build
from fti_assets.stores.models.reader import ModelReader, Promotions
from fti_assets.stores.online.store import OnlineStore

Follow = Literal["request", "call"]

_log = late_logger(__name__)
_RETRY_SECONDS = 30.0
_LOOK_SECONDS = 0.001
"""How long a look at the aliases file stands, which costs a system call; what this process itself promotes is seen at once."""
_BUCKET_LOOK_SECONDS = 2.0


class ServedModel:
    """The build of a model that answers, from any thread.

    Args:
        model: its name.
        models: where its builds and aliases are.
        online: where its groups are looked up.
        build: the build to stay with; None to follow the champion.
        strictness: what is refused of a request.
        follow: whether each "request" looks for a new champion, or only each "call" of ``follow``.
        providers: what graphs run on.
        serve: what a loaded build becomes.

    Raises:
        FtiError: whatever ``Predictor.load`` says of a build.
    """

    def __init__(
        self,
        model: str,
        models: ModelReader,
        online: OnlineStore,
        *,
        build: str | None,
        strictness: Strictness,
        follow: Follow,
        providers: Sequence[str],
        serve: Serve = ServedBuild,
    ) -> None:
        self.name = model
        self.is_embedded = online.is_embedded
        self._models = models
        self._providers = providers
        self._serve = serve
        self._online: OnlineStore | None = online
        self._strictness = strictness
        # In a bucket a look is a request to it.
        self._look_seconds = _BUCKET_LOOK_SECONDS if isinstance(models.root, BucketPath) else _LOOK_SECONDS
        self._follows = build is None
        self._at_request = self._follows and follow == "request"
        self._switching = threading.Lock()
        _served_models.add(self)
        # Before the champion is read: a promotion between the two is then noticed at the next request.
        self._loaded_signature = self._signature()
        self._failed: tuple[int | str, ...] | None = None
        self._retry_at = self._look_at = 0.0
        self._promotions = 0
        self._serving: ServedBuild | None = None
        if build is not None:
            self._serving = self._load(online, build)
        else:
            champion = self._load(online, models.champion(model).reference)
            self._serving = self._with_arms(champion, online)

    @property
    def last(self) -> ServedBuild | None:
        """The build that served last, None when it is closed; nothing is looked at."""
        return self._serving

    @property
    def build(self) -> ServedBuild:
        """The build that serves, without a look whether it is still the champion.

        Raises:
            PredictionError: the model is closed.
        """
        serving = self._serving
        if serving is None:
            raise PredictionError(f"the predictor of model {self.name!r} is closed: load it again")
        return serving

    def current(self) -> ServedBuild:
        """The build that serves by now: where requests look for a champion, that of now.

        Raises:
            PredictionError: the model is closed.
        """
        # Read before the look: a promotion during it is seen by the next request, and so is one while another thread loads.
        promotions = Promotions.count
        if self._at_request and (time.monotonic() >= self._look_at or promotions != self._promotions) and self.follow():
            self._promotions = promotions
            self._look_at = time.monotonic() + self._look_seconds
        return self._serving or self.build

    def is_current(self) -> bool:
        """Whether a request finds nothing to load."""
        return not self._at_request or self._signature() == self._loaded_signature

    def follow(self) -> bool:
        """Switch to the champion of now, if it is another one. One that cannot be loaded is logged, and the one before it serves on.

        Returns:
            False if another thread is switching just now.
        """
        if not self._follows:
            return True
        signature = self._signature()
        return signature == self._loaded_signature or self._switch(signature)

    def close(self) -> None:
        """Let go of the build and the online store."""
        with self._switching:
            self._serving = self._online = None

    def _signature(self) -> tuple[int | str, ...]:
        return self._models.signature(self.name)

    def _switch(self, signature: tuple[int | str, ...]) -> bool:
        """Switch to the champion of now, in one thread while others keep serving; keep the old one if that fails."""
        # Whoever comes while another thread loads the new champion is answered by the old one and does not wait.
        if not self._switching.acquire(blocking=False):
            return False
        try:
            if self._serving is None or self._online is None:
                return True
            if signature == self._loaded_signature or (signature == self._failed and time.monotonic() < self._retry_at):
                return True
            reference = self._models.champion(self.name).reference
            # Before a build with arms stands the champion itself, which need not be loaded again.
            champion = self._serving.alone
            if reference != champion.reference:
                champion = self._load(self._online, reference)
                _log.info("model %r is now served by its champion %s", self.name, reference)
            self._serving = self._with_arms(champion, self._online)
            self._loaded_signature, self._failed = signature, None
        except Exception as error:
            self._failed, self._retry_at = signature, time.monotonic() + _RETRY_SECONDS
            _log.warning(
                "model %r has a new champion that cannot be loaded, %s keeps serving; next try in %g s: %s",
                self.name,
                self._serving.reference if self._serving else None,
                _RETRY_SECONDS,
                error,
            )
        finally:
            self._switching.release()
        return True

    def _with_arms(self, champion: ServedBuild, online: OnlineStore) -> ServedBuild:
        """The champion with the arms of its rollout, if there is one; for an arm that cannot be loaded the champion answers."""
        rollout = self._models.aliases(self.name).rollout
        if rollout is None:
            return champion
        # Not at the top: most models have no rollout.
        from fti_assets.inference.serving.rollout.arms import ServedArms

        try:
            alone = ServedArms(champion, rollout, {})
        except PredictionError as error:  # a champion that came later, whose requests say no arm, must still serve
            _log.warning("model %r is served without its rollout: %s", self.name, error)
            return champion
        builds_before = {} if self._serving is None else self._serving.builds
        builds: dict[str, ServedBuild] = {}
        for arm in rollout.arms:
            try:
                build = builds_before.get(arm.name)
                if build is None or build.reference != arm.build:
                    build = self._load(online, arm.build)
                alone.check_fields(arm.name, build)
                builds[arm.name] = build
            except Exception as error:
                _log.warning(
                    "arm %r of model %r cannot be loaded, its champion answers for it: %s", arm.name, self.name, error
                )
        return ServedArms(champion, rollout, builds)

    def _load(self, online: OnlineStore, reference: str) -> ServedBuild:
        with flights:
            build = load_whole_build(self._models, self.name, reference, providers=self._providers)
            served = self._serve(build, online, self._strictness)
        view = served.manifest.view
        if view.rules_left_out:
            _log.warning(
                "model %r (%s): out_of_schema does not tell of these checks of the schema of %r: %s",
                self.name,
                served.reference,
                view.spine,
                view.left_out_in_words,
            )
        return served


_served_models: "weakref.WeakSet[ServedModel]" = weakref.WeakSet()


def _unlock() -> None:
    """A thread that held a lock while the process forked is not there in the child."""
    for model in _served_models:
        model._switching = threading.Lock()


os.register_at_fork(after_in_child=_unlock)
