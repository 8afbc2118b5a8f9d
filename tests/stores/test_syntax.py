"""SQL is parsed by one database of each thread, in whichever process."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

from fti_assets.stores.duckdb.syntax import syntax_trees

TEXTS = [f"SELECT {number} AS x, y FROM rows_{number}" for number in range(50)]


def names(texts: list[str]) -> list[str]:
    return [tree["from_table"]["table_name"] for tree in syntax_trees(texts)]


def test_each_text_has_its_tree_or_its_error() -> None:
    one, other = syntax_trees(["SELECT 1 AS a", "SELEC 1"])
    assert (one["type"], one["select_list"][0]["alias"]) == ("SELECT_NODE", "a")
    assert "syntax error" in other["error_message"]
    assert names(["FROM a"]) == ["a"]  # an error before does not stay


def test_threads_and_forks_parse_alike() -> None:
    whole = names(TEXTS)
    assert whole == [f"rows_{number}" for number in range(50)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(names, [TEXTS] * 8)) == [whole] * 8
    processes = multiprocessing.get_context("fork").Pool(2)
    try:
        assert processes.map(names, [TEXTS] * 2) == [whole] * 2
    finally:
        # A pool's own end is a SIGTERM, which a child outlives if some test before left a handler for it here.
        processes.close()
        processes.join()
