"""Whether the online store still has the group versions that a build reads."""

from fti_assets.core.manifest import JoinedGroup, ModelManifest
from fti_assets.errors import StoreError, list_some
from fti_assets.stores.models.reader import ModelReader
from fti_assets.stores.online.protocol import OnlineStore


def check_groups_served(
    models: ModelReader, model: str, reference: str, online: OnlineStore, role: str = "champion"
) -> tuple[str, ...]:
    """Refuse a build that reads a group version which is served no longer, so that no request to it could be answered.

    A version is served no longer if the online store has another one of its group in its place, or has all that the champion reads. A
    system without an online store, and groups that are in no version online, predict in batches alone: nothing is refused then, since
    nothing can be told.

    Returns:
        The group versions that the build reads and of which the online store cannot tell whether they were ever served.

    Raises:
        StoreError: the build reads such a version, or a store cannot be read.
    """
    namespaces = set(online.namespaces())
    absent = [join for join in _online_joins(models.manifest(model, reference)) if join.table_name not in namespaces]
    if not absent:
        return ()
    other_versions = {join.group: _versions(join, namespaces) for join in absent}
    gaps = [join for join in absent if other_versions[join.group]] or (
        absent if _champion_is_served(models, model, namespaces) else []
    )
    if not gaps:
        return tuple(join.table_name for join in absent)
    first = gaps[0]
    names = list_some(other_versions[first.group] or sorted(namespaces))
    raise StoreError(
        f"{model}/{reference} cannot be {role}, nothing was changed: it reads {list_some(join.table_name for join in gaps)}, "
        f"which the online store {online} no longer serves: it has {names}. Declare that version beside the newer one and "
        "materialize it, or "
        "take a build that reads what is served"
    )


def _online_joins(manifest: ModelManifest) -> list[JoinedGroup]:
    """An external group is where another system keeps it, and never online."""
    return [join for join in manifest.view.joins if not join.external]


def _versions(join: JoinedGroup, namespaces: set[str]) -> list[str]:
    """The versions of a group that are online."""
    prefix = f"{join.group}_v"
    return sorted(name for name in namespaces if name.startswith(prefix) and name.removeprefix(prefix).isdecimal())


def _champion_is_served(models: ModelReader, model: str, namespaces: set[str]) -> bool:
    champion = models.aliases(model).champion
    if champion is None:
        return False
    try:
        joins = _online_joins(models.manifest(model, champion))
    except StoreError:  # a lost champion says nothing of another build
        return False
    return bool(joins) and all(join.table_name in namespaces for join in joins)
