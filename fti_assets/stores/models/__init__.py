"""The model store: builds, their graphs, and which build is champion."""
