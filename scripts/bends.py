"""How much the tests notice: the code is bent in many places, one at a time, and each bend must fail the tests that are named with it.

``make bends``, or ``python -m scripts.bends`` with the names of some. The tree is copied first, so that only the copy is bent, and
the named tests must pass on it as it is. The exit status is 1 if a bend survives a test, or its text is not in the code any more.
Source: mutation testing (DeMillo, Lipton and Sayward, 1978), with chosen mutants in place of all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".fti", ".dagster", ".hypothesis", ".*_cache", "__pycache__")
_LIBRARIES = (
    "dagster",
    "duckdb",
    "hypothesis.strategies",
    "onnxruntime",
    "pandera.pandas",
    "pytest",
    "sklearn.ensemble",
    "torch",
)
_LOG = "bends.log"


@dataclass(frozen=True)
class Bend:
    """One wrong line.

    Args:
        name: what it makes of the code, in a few words.
        file: the module, below ``fti_assets``.
        text: a piece of it that occurs once.
        instead: what stands there instead.
        tests: the tests that must fail, ``file::function`` below ``tests``.
    """

    name: str
    file: str
    text: str
    instead: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The module, from the root of the tree."""
        return Path("fti_assets", self.file)


BENDS = (
    Bend(
        "a spine row is as it was last corrected",
        "features/spine_rows.py",
        'visible = f"coalesce({available} <= {time}, false)"',
        'visible = "true"',
        (
            "features/test_spine_rows.py::test_any_corrections_are_those_of_brute_force",
            "training/test_dataset_rows.py::test_rows_labels_features_and_splits_are_those_of_brute_force",
        ),
    ),
    Bend(
        "a spine row that was never visible is its last version",
        "features/spine_rows.py",
        'f"{available} ASC NULLS LAST"',
        'f"{available} DESC NULLS LAST"',
        ("features/test_spine_rows.py::test_any_corrections_are_those_of_brute_force",),
    ),
    Bend(
        "a joined row is visible just after its time",
        "features/point_in_time/asof.py",
        "{at} >= f.{VISIBLE}",
        "{at} > f.{VISIBLE}",
        ("features/test_point_in_time.py::test_join_is_what_brute_force_finds",),
    ),
    Bend(
        "a joined row is visible when it is true",
        "features/point_in_time/frontier.py",
        "greatest({event}, {available}) AS {VISIBLE}",
        "{event} AS {VISIBLE}",
        (
            "features/test_point_in_time.py::test_join_is_what_brute_force_finds",
            "features/test_online_rows.py::test_what_wins_from_instant_on_is_kept",
            "training/test_ad_hoc.py::test_features_equal_brute_force_in_row_order",
        ),
    ),
    Bend(
        "a late row of an older event wins",
        "features/point_in_time/frontier.py",
        "AND {EVENT} >= max({EVENT}) OVER ({window} ROWS UNBOUNDED PRECEDING)",
        "",
        ("features/test_point_in_time.py::test_join_is_what_brute_force_finds",),
    ),
    Bend(
        "a row lives a microsecond too short in memory",
        "features/point_in_time/asof.py",
        "[winners] < at - lasts]",
        "[winners] <= at - lasts]",
        ("features/test_point_in_time.py::test_join_is_what_brute_force_finds",),
    ),
    Bend(
        "a row lives a microsecond too short online",
        "inference/serving/rows/online_features.py",
        "if age_us <= ttl_us:",
        "if age_us < ttl_us:",
        ("inference/test_predictor.py::test_the_online_winner_is_the_brute_force_one",),
    ),
    Bend(
        "a row lives a microsecond too short online, beside others",
        "inference/serving/rows/online_features.py",
        "is_stale = at_us - winners.event_us > group.ttl_us",
        "is_stale = at_us - winners.event_us >= group.ttl_us",
        ("inference/test_predictor.py::test_the_online_winner_is_the_brute_force_one",),
    ),
    Bend(
        "an older version of a key is not found online",
        "stores/online/blobs.py",
        "result = bisect_right(rows, at_us, key=lambda row: _VISIBLE.unpack_from(blob, row * width)[0]) - 1",
        "result = 0",
        ("stores/test_online.py::test_newest_visible_event_wins_whatever_order_data_arrives_in",),
    ),
    Bend(
        "a window holds its own start",
        "features/windows/axis.py",
        "greatest({self._leaving(time, length)}, __fti_entering)",
        "greatest({self._leaving(time, length)} + 1, __fti_entering)",
        (
            "features/test_windows.py::test_windows_are_what_brute_force_finds",
            "features/test_windows.py::test_own_windows_are_what_brute_force_finds",
        ),
    ),
    Bend(
        "a window counts rows before they are visible",
        "features/windows/axis.py",
        "epoch_us(greatest({self.event}, {self.available}))",
        "epoch_us({self.event})",
        ("features/test_windows.py::test_windows_are_what_brute_force_finds",),
    ),
    Bend(
        "a row's own window holds the row",
        "features/windows/axis.py",
        "({EVENT} = {VISIBLE})::BIGINT",
        "0",
        ("features/test_windows.py::test_own_windows_are_what_brute_force_finds",),
    ),
    Bend(
        "a day sees what arrived after it",
        "features/windows/arrivals.py",
        "{quote(arrives)} < {timestamp(end)} AND {event} <= {timestamp(part[1])}",
        "{event} <= {timestamp(part[1])}",
        ("features/test_arrival_windows.py::test_a_range_equals_its_days_in_any_order",),
    ),
    Bend(
        "a delayed window by event time forgets what came since",
        "features/windows/axis.py",
        'if self.axis.delay and self.rows_by == "event_time":',
        "if False:",
        ("features/test_window_kinds.py::test_kinds_are_what_brute_force_finds",),
    ),
    Bend(
        "a delayed window leaves out a row that became visible as it ended",
        "features/windows/axis.py",
        "own_left_out=False)",
        "own_left_out=self.own_left_out)",
        ("features/test_window_kinds.py::test_delayed_window_of_a_row_holds_what_became_visible_as_it_ended",),
    ),
    Bend(
        "a percentile does not lie between two values",
        "features/windows/ordering/places.py",
        "low * (1 - part) + high * part",
        "low",
        ("features/test_window_kinds.py::test_kinds_are_what_brute_force_finds",),
    ),
    Bend(
        "rows that come late stand in the order in which they came",
        "features/windows/ordering/standing.py",
        "(self._entering == rows).all() and (self._leaving == rows).all()",
        "True",
        ("features/test_window_kinds.py::test_kinds_are_what_brute_force_finds",),
    ),
    Bend(
        "a session that loses its first row is gone",
        "features/windows/ordering/sessions.py",
        "np.maximum(enters, before))",
        "leaves)",
        ("features/test_window_kinds.py::test_a_session_goes_on_when_its_first_row_has_left",),
    ),
    Bend(
        "a late row does not join two sessions",
        "features/windows/ordering/sessions.py",
        "(joined.astype(np.int64) - across)",
        "(joined.astype(np.int64) * 0)",
        ("features/test_window_kinds.py::test_a_late_row_joins_two_sessions",),
    ),
    Bend(
        "a tile of a delayed window counts before it is visible",
        "features/windows/tiles.py",
        "(axis.start if by_event else axis.first) // DAY",
        "axis.first // DAY + 2",
        ("features/test_window_tiles.py::test_tiles_of_windows_that_end_before_and_of_lifetimes_give_what_rows_give",),
    ),
    Bend(
        "tiles of replaced rows are used",
        "features/windows/tiles.py",
        "versions = {key: partitions.versions[key] for key in whole}",
        'versions = dict.fromkeys(whole, "")',
        ("features/test_window_tiles.py::test_tiles_give_what_rows_give",),
    ),
    Bend(
        "what is cut off a sum is not rounded",
        "features/windows/exact.py",
        'f"{more} OR (NOT ({room}) AND {digit} <> 0)"',
        'f"{more}"',
        ("features/test_exact_sums.py::test_a_sum_is_the_nearest_float",),
    ),
    Bend(
        "a sum of floats is DuckDB's own",
        "features/windows/exact.py",
        'finite = _round(totals, _unit(bins[0]) - down, prepare) if bins else "0::DOUBLE"',
        'finite = " + ".join(_scale(f"({one})::DOUBLE", _unit(n) - down) for n, one in zip(bins, totals)) or "0::DOUBLE"',
        ("features/test_exact_sums.py::test_a_sum_is_the_nearest_float",),
    ),
    Bend(
        "a large whole number is rounded as DuckDB does",
        "features/windows/results.py",
        "total = nearest_double(total)",
        "pass",
        ("features/test_exact_sums.py::test_whole_numbers_add_up_exactly_or_are_refused",),
    ),
    Bend(
        "objects are typed from the first of them",
        "features/rows/frames/object_columns.py",
        "    families = {kind: _family(kind) for kind in kinds}",
        "    families = {kind: _family(kind) for kind in set(map(type, values[:3]))}",
        ("features/test_object_columns.py::test_what_is_stored_equals_what_was_given_or_names_column",),
    ),
    Bend(
        "whole numbers are stored as floats",
        "features/rows/frames/object_columns.py",
        'if present == {"integer"}:\n        return _integers(values)',
        'if present == {"integer"}:\n        return pa.array(values, pa.float64(), from_pandas=True)',
        ("features/test_object_columns.py::test_what_is_stored_equals_what_was_given_or_names_column",),
    ),
    Bend(
        "large categories are one",
        "core/types/column_types.py",
        "EXACT = 2**53",
        "EXACT = 2**63",
        ("training/test_encoders.py::test_whole_numbers_are_told_apart_or_refused",),
    ),
    Bend(
        "large numbers of a request are floats",
        "inference/serving/requests/values.py",
        "            value = int(value)",
        "            value = int(float(value))",
        ("inference/test_request_offline.py::test_request_values_of_every_size_match_rows_or_are_refused",),
    ),
    Bend(
        "keys of two parts are put together without their lengths",
        "stores/online/keys.py",
        'parts.append(b"%d:%b" % (len(text), text))',
        "parts.append(text)",
        ("stores/test_online.py::test_different_keys_are_never_encoded_alike",),
    ),
    Bend(
        "a checksum does not cover the key",
        "stores/online/blobs.py",
        "from zlib import crc32\n",
        "from zlib import crc32 as _crc32\n\n\ndef crc32(data, start=None):\n    return 0 if start is None else _crc32(data)\n\n",
        (
            "stores/test_online.py::test_another_keys_blob_is_damage",
            "stores/test_online_sqlite.py::test_no_flipped_bit_makes_a_known_key_unknown",
        ),
    ),
    Bend(
        "kept rows are answered from after their namespace was written",
        "stores/online/row_cache.py",
        "return monotonic() < self._look_until and self._writes == Writes.count",
        "return True",
        ("stores/test_row_cache.py::test_what_another_process_writes_is_seen_after_a_look",),
    ),
    Bend(
        "a row is kept that is not what was written",
        "stores/online/reader.py",
        "are_all = are_whole(own_keys, whole)  # type: ignore[arg-type]",
        "are_all = True",
        ("stores/test_row_cache.py::test_damage_is_not_kept",),
    ),
    Bend(
        "aliases of another model are taken",
        "stores/models/reader.py",
        "if aliases.model != model:",
        "if False:",
        ("stores/test_models.py::test_the_aliases_of_another_model_are_refused",),
    ),
    Bend(
        "there is no gap between train and validation",
        "training/datasets/splits/split.py",
        "train_end = validation_start - maturity",
        "train_end = validation_start",
        (
            "training/test_split.py::test_parts_are_as_long_as_declared_with_maturity_between_them",
            "training/test_dataset_rows.py::test_rows_labels_features_and_splits_are_those_of_brute_force",
        ),
    ),
    Bend(
        "keys that read alike together have one share",
        "training/datasets/splits/hash_split.py",
        "strlen({text}), ':', ",
        "",
        ("training/test_split_share.py::test_shares_are_those_of_pythons_md5",),
    ),
    Bend(
        "a champion is compared on rows that it has trained on",
        "training/models/champions/champion.py",
        'f"SELECT {share} < {parts.test!r} AS test FROM',
        'f"SELECT true AS test FROM',
        ("training/test_random_champion.py::test_another_seed_is_compared_on_rows_champion_never_had",),
    ),
    Bend(
        "a label may be a correction of after the cutoff",
        "training/datasets/labels.py",
        'f"WHERE {visible} <= {timestamp(cutoff)} "',
        '"WHERE true "',
        ("training/test_dataset_rows.py::test_rows_labels_features_and_splits_are_those_of_brute_force",),
    ),
    Bend(
        "a correction asks for a day less than its reach",
        "orchestration/conditions/reach.py",
        "else end + self.back",
        "else end + max(self.back - _DAY, timedelta(0))",
        ("assets/test_reach.py::test_exactly_the_windows_that_reach_a_span_are_touched",),
    ),
    Bend(
        "a reach in partitions is measured by the first of them",
        "orchestration/conditions/reach.py",
        "return max(n - (bisect_right(starts, at - reach) - 1) for n, at in enumerate(starts) if at >= start)",
        "return math.ceil(reach / (starts[1] - starts[0]))",
        ("assets/test_reach.py::test_dagsters_mapping_reaches_exactly_far_enough",),
    ),
    Bend(
        "files of killed writers stay when somebody is forgotten",
        "stores/lake/upkeep/forgetting.py",
        "strays = delete_unnamed(lake)",
        "strays = 0",
        ("forgetting/test_forget.py::test_nothing_of_a_killed_writer_or_forget_holds_it",),
    ),
    Bend(
        "a new catalog is made beside files of a lost one",
        "stores/lake/folder.py",
        'if number := sum(1 for _ in files_under(self.folder / "data")):',
        "if number := 0:",
        ("stores/test_lost_catalog.py::test_a_lost_catalog_beside_files_is_refused",),
    ),
    Bend(
        "upkeep deletes most of a lake",
        "stores/lake/upkeep/unnamed_files.py",
        "if (other_bytes := sum(rows.values())) > known_bytes and len(rows) > len(sizes.by_catalog):",
        "if False:",
        ("stores/test_lost_catalog.py::test_upkeep_refuses_to_delete_most_of_a_lake",),
    ),
    Bend(
        "the only copies of partitions are deleted as if killed writers had left them",
        "stores/lake/upkeep/unnamed_files.py",
        "if lacking := _partitions_lacking(lake, strays, tables_compared):",
        "if lacking := list[str]():",
        ("stores/test_lost_catalog.py::test_upkeep_refuses_to_delete_partitions_the_catalog_lacks",),
    ),
    Bend(
        "a journal that lost commits is no loss",
        "orchestration/upkeep/recorded.py",
        "if snapshot is not None and (partition not in ledger or since[partition] <= snapshot):",
        "if False:",
        ("automation/test_recorded.py::test_flipped_bit_in_journal_of_catalog_is_told",),
    ),
    Bend(
        "a missing value goes to the right in each tree",
        "training/models/cores/estimators.py",
        "np.asarray(tree.missing_go_to_left, dtype=np.int64)",
        "0",
        ("training/test_export.py::test_missing_numbers_go_where_the_fitted_tree_sends_them",),
    ),
    Bend(
        "no row with a missing value is compared",
        "training/models/graphs/comparison_rows.py",
        '{"missing": np.nan}',
        "{}",
        ("training/test_export.py::test_branch_that_only_missing_value_takes_is_found",),
    ),
    Bend(
        "what float32 merges is not said",
        "training/encoders/float32.py",
        "if after < (before if is_whole else before * _LEAST_SHARE):",
        "if after < 2:",
        ("training/test_float32.py::test_whole_numbers_that_merge_are_told_of_and_no_others",),
    ),
    Bend(
        "a second name of a constant does not count",
        "core/on_demand/reach.py",
        "for other in sorted(second):",
        "for other in ():",
        ("stores/test_on_demand_bends.py::test_programs_that_answer_differently_have_different_identities",),
    ),
    Bend(
        "helpers of a function do not count",
        "core/on_demand/reach.py",
        "        for name in sorted(mentions):\n            self.name(module.name, name)",
        "",
        (
            "stores/test_on_demand_bends.py::test_programs_that_answer_differently_have_different_identities",
            "stores/test_on_demand_meaning.py::test_whatever_the_function_reaches_changes_its_meaning",
        ),
    ),
    Bend(
        "a function of another meaning is run",
        "core/on_demand/call.py",
        "if call.meaning and not has_meaning(call.module, call.function, call.meaning, requires):",
        "if False:",
        ("inference/test_predictor.py::test_another_meaning_of_an_on_demand_function_is_refused",),
    ),
    Bend(
        "rows that a writer put aside are rows",
        "stores/sources/put_aside.py",
        'part.startswith(".") or (part.startswith("_") and "=" not in part)',
        'part.startswith(".")',
        ("stores/test_external.py::test_what_a_writer_put_aside_is_no_row",),
    ),
    Bend(
        "two values have one content hash",
        "stores/duckdb/content_hash.py",
        "return f\"strlen({text}) || ':' || {text}\"",
        "return text",
        ("stores/test_content_hash.py::test_a_hash_is_the_one_that_python_gives",),
    ),
    Bend(
        "a load leaves the keys whose rows are gone",
        "features/online/load.py",
        "yield from sorted(keys)",
        "yield from ()",
        ("features/test_online_load.py::test_partitions_replaced_in_any_order_leave_what_whole_load_would",),
    ),
    Bend(
        "an offset of ISO text is dropped",
        "stores/duckdb/iso_text.py",
        "return None if text is None else instant(text)",
        "return None if text is None else instant(text[:19])",
        ("stores/test_iso_text.py::test_a_column_reads_each_text_as_a_request_does",),
    ),
)


class Tree:
    """A copy of the repository in a folder, whose code is bent and whose tests are run."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        self.cpu_seconds = 0.0
        shutil.copytree(ROOT, self.root, ignore=_LEFT_OUT)
        # Each run is forked from a process that has imported what the tests rest on, which takes longer than most of them do.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(_LIBRARIES))

    def failing_tests(self, tests: Sequence[str], examples: str = "all") -> set[str]:
        """Which of some tests fail, with any of their parameters.

        Args:
            tests: as in a bend.
            examples: of random tests all, as in ``make soak``, or fewer.

        Raises:
            RuntimeError: pytest did not run them.
        """
        ours, theirs = self._context.Pipe(duplex=False)
        run = self._context.Process(target=_run, args=(self.root, tests, examples, theirs))
        run.start()
        theirs.close()
        try:
            failed: set[str]
            status, failed, cpu_seconds = ours.recv()
        except EOFError:
            status, failed, cpu_seconds = "no status", set(), 0.0
        run.join()
        self.cpu_seconds += cpu_seconds
        if status not in (0, 1) or not failed <= set(tests):
            raise RuntimeError(
                f"pytest ended with {status}, {sorted(failed)} failed:\n{(self.root / _LOG).read_text()[-4000:]}"
            )
        return failed

    def surviving_tests(self, bend: Bend) -> list[str]:
        """The tests that do not fail although the code is bent."""
        file = self.root / bend.path
        before = file.read_text()
        file.write_text(before.replace(bend.text, bend.instead))
        try:
            failed = self.failing_tests(bend.tests)
        finally:
            file.write_text(before)
        return [test for test in bend.tests if test not in failed]


class _Failures:
    """A plugin of pytest that notes which tests failed, and what failed before or after one, which no bend is for."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            test = report.nodeid.removeprefix("tests/").partition("[")[0]
            self.failed.add(test if report.when == "call" else f"{test} in its {report.when}")


def _run(root: Path, tests: Sequence[str], examples: str, results: Any) -> None:
    """Run tests of a tree in this process, which has imported nothing of any."""
    import pytest

    log = os.open(root / _LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.chdir(root)
    sys.path.insert(0, str(root))
    os.environ |= {"PYTHONPATH": str(root), "FTI_EXAMPLES": examples}
    failures = _Failures()
    # Examples are not made smaller once one has failed, and are the same ones in each run.
    command = [
        "-n0",
        "--tb=short",
        "-W",
        "ignore:Module already imported",
        "-p",
        "no:cacheprovider",
        "--hypothesis-profile=unshrunk",
        "--hypothesis-seed=0",
    ]
    status = pytest.main([*command, *(f"tests/{test}" for test in tests)], plugins=[failures])
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    results.send((int(status), failures.failed, sum(one.ru_utime + one.ru_stime for one in used)))


def out_of_date(bends: Iterable[Bend] = BENDS) -> list[str]:
    """A sentence for each bend whose text does not occur exactly once in its file."""
    counted = [(bend, (ROOT / bend.path).read_text().count(bend.text)) for bend in bends]
    return [f"{bend.path} has the text of {bend.name!r} {count} times" for bend, count in counted if count != 1]


def main(names: Sequence[str]) -> int:
    """Bend the code in each place, or in those that are named, and print which tests fail; 1 if one does not."""
    if unknown := set(names) - {bend.name for bend in BENDS}:
        sys.exit(f"there is no bend {', '.join(map(repr, sorted(unknown)))}")
    chosen = [bend for bend in BENDS if not names or bend.name in names]
    if old := out_of_date(chosen):
        sys.exit("\n".join(old))
    os.environ |= {"OMP_NUM_THREADS": "1", "FTI_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="fti-bends-") as folder:
        tree = Tree(Path(folder))
        tests = sorted({test for bend in chosen for test in bend.tests})
        if failed := tree.failing_tests(tests, examples="few"):
            sys.exit(f"without a bend there are failures already: {', '.join(sorted(failed))}")
        print(f"{len(tests)} tests pass on the code as it is, in {tree.cpu_seconds:.0f} s of CPU", flush=True)
        survivors = 0
        for bend in chosen:
            left = tree.surviving_tests(bend)
            survivors += bool(left)
            print(f"{'SURVIVES' if left else 'noticed '} {bend.name}", flush=True)
            print(*(f"         by {test}" for test in left or bend.tests), sep="\n", flush=True)
        print(f"{len(chosen) - survivors} of {len(chosen)} bends were noticed, in {tree.cpu_seconds:.0f} s of CPU")
    return 1 if survivors else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="the bends to try, all by default")
    sys.exit(main(parser.parse_args().names))
