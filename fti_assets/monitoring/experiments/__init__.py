"""Experiments: arms of a rollout compared by what became of their answers, pure over rows."""
