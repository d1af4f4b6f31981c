"""Slow twins: each rule with mathematics, written a second time.

A slow twin computes what one function of fc7 computes, straight from the paper: loops, float64, NumPy at most,
nothing clever. A test in `tests/property` feeds random cases to both and compares the results.

How to add one:

- one module per subject, named after it (`lrn.py`, `deconvnet.py`, `ridge.py`);
- the docstring names the paper and the section;
- it imports nothing from `fc7`, `fc7_service` or `fc7_models`;
- no test in here: pytest does not collect this folder.
"""
