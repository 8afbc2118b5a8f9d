"""The modules of old systems are imported from their own folders, as an app's are."""

collect_ignore_glob = ["stores_of_*/*.py"]
