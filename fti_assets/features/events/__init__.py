"""Events of a stream as rows of a group: the same for a service and for a run that replays the stream."""
