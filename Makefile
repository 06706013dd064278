# make demo               install, then search, mine, train pico, score and release on real code;
#                         on yours with CODE=path [QUERY="plain words"]
# make demo-mini          the same with mini, which takes minutes longer to train
# make test               the test suite
# make test-all           the same, and every combination where the test suite walks a cover of them
# make lint               style and types
# make compat             the release in other environments: sentence-transformers 3.4.1, huggingface-hub 1.33
# make test-newest        the test suite with the newest versions that pyproject.toml admits
# make test-lowest        the same with the lowest
# make llama              llama.cpp, compiled here in minutes, so that the test suite reads GGUF files with it

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS := --numprocesses=2 --dist=loadfile --max-worker-restart=0   # of one thread each; a crash is named at once
CODE ?=
QUERY ?=

.PHONY: demo demo-mini test lint compat test-all test-newest test-lowest llama clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --progress-bar on --constraint constraints.txt --editable '.[all]' --group test --group lint
	cp constraints.txt $@   # a test compares what is installed with it

# What the demo needs and no more. Not compiled ahead: of what is installed it imports a part.
$(VENV)/demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	test -e $(VENV)/installed || $(BIN)/pip install --no-compile --progress-bar on \
		--constraint constraints.txt --editable '.[train,benchmark]'
	touch $@

demo demo-mini: $(VENV)/demo
	$(BIN)/python -m codequarry.cli.demo --base $(if $(filter demo-mini,$@),mini,pico) $(if $(CODE),--code '$(CODE)') $(if $(QUERY),--query '$(QUERY)')

test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS)

test-all: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS) -m ''

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	.ci/types $(BIN)

compat: $(VENV)/installed
	.ci/compat $(PYTHON) $(BIN)

test-newest test-lowest:
	.ci/versions $(PYTHON) $(@:test-%=%)

llama: $(VENV)/installed
	CMAKE_ARGS=-DLLAVA_BUILD=OFF $(BIN)/pip install --progress-bar off --constraint constraints.txt llama-cpp-python \
		|| echo 'llama.cpp could not be compiled: the tests that run it are skipped'

clean:
	rm -rf $(VENV) .compat .versions .demo build dist *.egg-info
