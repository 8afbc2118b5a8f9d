"""Where a store lies: a folder of this machine, or a path in a bucket."""

import os
from pathlib import Path, PurePosixPath

from fti_assets.core.home import folder_of
from fti_assets.stores.buckets.path import SCHEME, BucketPath

Place = Path | BucketPath


def place_of(location: str | Path | BucketPath, *, what: str, instead: str = "a folder or s3://bucket/folder") -> Place:
    """The place of a store: a folder, or a path in a bucket; an address of something else is refused.

    >>> str(place_of("s3://team/models", what="model")), str(place_of("stores/models", what="model"))
    ('s3://team/models', 'stores/models')

    Raises:
        StoreError: it is an address of something else, or a mistyped one, or no path at all.
    """
    if isinstance(location, BucketPath):
        return location
    if isinstance(location, str) and location.startswith(SCHEME):
        return BucketPath.of(location, what=f"{what} store")
    return folder_of(location, what=what, instead=instead)


def within(place: Place, folder: Place) -> PurePosixPath:
    """A place as seen from a folder above it.

    >>> str(within(Path("data/features/x"), Path("data")))
    'features/x'
    """
    if isinstance(place, BucketPath) and isinstance(folder, BucketPath):
        return place.relative_to(folder)
    return PurePosixPath(Path(str(place)).relative_to(str(folder)))


def absolute(place: Place) -> str:
    """A place as text that means the same wherever a process was started.

    >>> absolute(BucketPath.of("s3://team/models"))
    's3://team/models'
    """
    return str(place if isinstance(place, BucketPath) else place.absolute())


def real_place(place: Place) -> Place:
    """A place without symbolic links.

    >>> real_place(BucketPath.of("s3://team/lake"))
    BucketPath('s3://team/lake')
    """
    return place if isinstance(place, BucketPath) else Path(os.path.realpath(place))
