# make run    install into .venv and serve a temporary directory on port 9999
# make test   all that the project promises: lint, types, tests
# make demo   one whole grading job, step by step
# make test-crash  the whole proof that nothing acknowledged is lost: cut points, kills, power cuts, errors, fuzzing
# make docs   write docs/settings.md anew, of the code
# make dist   the sdist and the wheel, into dist/
# make rpm    the rpm, its source rpm and what that is made of, into dist/; needs rpmbuild (Debian package rpm)
# make footprint   memory and bytes written for transfers of 2 GiB; needs 12 GiB of disk
# make fsync-cost  what durability costs, against the same server without fsync; needs the Debian package eatmydata

PYTHON ?= python3
# What the packages and Debian's web servers run on: 3.11 or newer.
SYSTEM_PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
# On Debian --nodeps, as rpmbuild does not know what apt has installed.
RPM_OPTIONS ?= $(if $(wildcard /etc/debian_version),--nodeps)

.PHONY: run demo test test-fast test-crash docs dist rpm footprint fsync-cost lint types lock clean

run: $(VENV)/installed
	@$(BIN)/python fileserver.py runserver 9999

demo: $(VENV)/installed
	@$(BIN)/python fileserver.py demo

test: lint types $(VENV)/packages $(VENV)/deployed/installed $(VENV)/wheels
	$(BIN)/python -m pytest

test-fast: $(VENV)/installed-test
	$(BIN)/python -m pytest -m "not server and not slow"

test-crash: $(VENV)/installed-test $(VENV)/packages
	$(BIN)/python -m pytest tests/crash --proof=full

docs: $(VENV)/installed
	$(BIN)/python fileserver.py settings --markdown > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md

# With the pinned setuptools, not with one from the network.
dist: $(VENV)/installed-test
	$(BIN)/python -m build --no-isolation --outdir dist .

# Fedora's builders have no network, so the wheels are a source of the package.
rpm: dist $(VENV)/wheels
	tar --create --dereference --sort=name --owner=root --group=root --file dist/recodex-fileserver-wheels.tar \
	  --directory $(VENV) wheels
	cp requirements.txt dist
	rpmbuild -ba $(RPM_OPTIONS) --define "_topdir $(CURDIR)/build/rpm" --define "_sourcedir $(CURDIR)/dist" \
	  --define "_rpmdir $(CURDIR)/dist" --define "_srcrpmdir $(CURDIR)/dist" \
	  --define "__python3 $(SYSTEM_PYTHON)" recodex-fileserver.spec

footprint: $(VENV)/installed
	$(BIN)/python bench/footprint.py

fsync-cost: $(VENV)/installed
	$(BIN)/python bench/fsync_cost.py

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/mypy

$(VENV)/created:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: requirements.txt | $(VENV)/created
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	touch $@

$(VENV)/installed-test: tests/requirements.txt $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	touch $@

# What the packages are made of: the wheels that are pinned, for the system's Python and this machine.
$(VENV)/wheels: requirements.txt requirements-build.txt | $(VENV)/created
	rm -rf $@
	$(BIN)/pip --python $(SYSTEM_PYTHON) download --quiet --disable-pip-version-check --require-hashes \
	  --only-binary :all: --dest $@ -r requirements.txt -r requirements-build.txt
	touch $@

# The real tools that tests run against, from Debian's packages.
$(VENV)/packages: tests/packages.txt | $(VENV)/created
	@missing=$$(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' $$(cat tests/packages.txt) 2>&1 | grep -v '^installed ' || true); \
	test -z "$$missing" || { apt-get update -qq && apt-get install -y -qq --no-install-recommends $$(cat tests/packages.txt); } \
	|| { echo "the tests need these Debian packages: $$(cat tests/packages.txt | tr '\n' ' ')" >&2; exit 1; }
	touch $@

# What Apache and uWSGI run in the tests: the packages of Debian have the system's Python inside.
$(VENV)/deployed/installed: requirements.txt | $(VENV)/packages
	$(SYSTEM_PYTHON) -m venv $(VENV)/deployed
	$(VENV)/deployed/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	touch $@

# Pins anew what pyproject.toml asks for; run it to take new versions of the libraries.
lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet pip-tools
	$(VENV)-lock/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-find-links -o requirements.txt pyproject.toml
	$(VENV)-lock/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-find-links --only-build-deps --all-build-deps -o requirements-build.txt pyproject.toml
	$(VENV)-lock/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras \
	  --no-emit-index-url --no-emit-find-links --extra test --extra tracing -c requirements.txt \
	  -c requirements-build.txt -o tests/requirements.txt pyproject.toml
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
