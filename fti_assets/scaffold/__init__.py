"""``fti init``: a small working system to start from."""

from fti_assets.scaffold.system import write_system

__all__ = ["write_system"]
