"""The row of values that a build answers: the request's, the groups', what functions make of them, and how it becomes a graph's inputs."""
