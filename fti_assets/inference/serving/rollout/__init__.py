"""Builds that answer beside the champion: arms that requests are left to, and a shadow that is asked behind the answer."""
