"""Records of runs: one line per configuration × split × seed, and what is computed from them."""

from gnnzoo.leaderboard.record import Cost, Key, Record, Result, Tuned
from gnnzoo.leaderboard.stats import Paired, Summary, paired_test, summarize
from gnnzoo.leaderboard.store import Store

__all__ = ["Cost", "Key", "Paired", "Record", "Result", "Store", "Summary", "Tuned", "paired_test", "summarize"]
