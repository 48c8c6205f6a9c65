# Each target installs what it lacks (and says so before it does), then does one thing.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WORKERS = -n 2 --dist loadfile --no-loadscope-reorder  # most tests wait for daemons; the long ones come first

demo:         ; @$(PYTHON) tools/install.py --venv $(VENV) demo  && exec $(BIN)/salt-lab demo
test:         ; @$(PYTHON) tools/install.py --venv $(VENV) test  && exec $(BIN)/pytest $(WORKERS) -m "not soak" $(ARGS)
test-matrix:  ; @$(PYTHON) tools/install.py --venv $(VENV) test  && exec tools/test-matrix $(BIN) $(ARGS)
soak:         ; @$(PYTHON) tools/install.py --venv $(VENV) test  && exec $(BIN)/pytest -m soak $(ARGS)
bench:        ; @$(PYTHON) tools/install.py --venv $(VENV) test  && exec $(BIN)/python -m benchmarks $(ARGS)
lint:         ; @$(PYTHON) tools/install.py --venv $(VENV) lint  && exec tools/lint $(BIN)
docs:         ; @$(PYTHON) tools/install.py --venv $(VENV) docs  && exec $(BIN)/sphinx-build -qWb html docs docs/_build/html

.PHONY: demo test test-matrix soak bench lint docs
