"""``fti mcp``: a system as tools for an agent, over the Model Context Protocol; nothing that they do writes."""

from fti_assets.agents.server import server_of
from fti_assets.agents.tools import Tools

__all__ = ["Tools", "server_of"]
