"""Experiments: assets that judge a model's rollout by what became of its answers, and obey their verdict."""
