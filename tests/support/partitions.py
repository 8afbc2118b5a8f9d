"""What a run over a range of partitions is tagged with."""


def range_tags(first: str, last: str) -> dict[str, str]:
    """The tags of one run from the first key to the last."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
