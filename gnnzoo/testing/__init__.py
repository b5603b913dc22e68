"""Checks for models, ours and plug-ins': the generic suite, parity with the authors' code, tiny graphs."""

from gnnzoo.testing import graphs
from gnnzoo.testing.checks import CHECKS, check_model, model_checks, run_check
from gnnzoo.testing.golden import Report, check_golden

__all__ = ["CHECKS", "Report", "check_golden", "check_model", "graphs", "model_checks", "run_check"]
