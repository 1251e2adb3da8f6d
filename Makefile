# `make help` lists the targets. INVENTORY chooses the drawing.
INVENTORY ?= inventories/monolith
NAME      := $(notdir $(patsubst %/,%,$(INVENTORY)))
VENV      := .venv
PATH      := $(CURDIR)/$(VENV)/bin:$(PATH)
OVERLAY   := .lab/$(NAME)/inventory
BOTH      := -i $(INVENTORY) -i $(OVERLAY)
export PATH

.DEFAULT_GOAL := help
.PHONY: help venv venv-test up down converge verify status diagram bench deploy-demo check test test-full lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

venv: $(VENV)/.control
$(VENV)/.control: requirements.lock
	@echo "==> control node: installing Ansible into $(VENV)"
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	@test -x $(VENV)/bin/python || python3 -m venv $(VENV) || { echo "Install the package python3-venv first" >&2; exit 1; }
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

venv-test: $(VENV)/.test
$(VENV)/.test: requirements-test.lock $(VENV)/.control
	@echo "==> control node: installing the test tools into $(VENV)"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-test.lock
	@touch $@

up: venv ## Raise the drawing in the lab, prove it, print its URL
	@python3 molecule/lab up $(INVENTORY)
	@ansible-playbook $(BOTH) site.yml
	@ansible-playbook $(BOTH) playbooks/verify.yml
	@python3 molecule/lab url $(INVENTORY)

down: ## Take the lab down
	@python3 molecule/lab down $(INVENTORY)

status: ## Show the lab's machines
	@python3 molecule/lab status $(INVENTORY)

converge: venv ## Run site.yml on the lab that is up
	@ansible-playbook $(BOTH) site.yml

verify: venv ## Prove the appliance that is up in the lab
	@ansible-playbook $(BOTH) playbooks/verify.yml

diagram: venv ## Print the drawing as Mermaid
	@$(VENV)/bin/python docs/diagram.py $(INVENTORY)

# Another one than INVENTORY, whose default is the smaller drawing.
DRAWING ?= $(firstword $(wildcard inventories/monolith_advanced) inventories/monolith)
ROUNDS  ?= 5
SECONDS ?= 2
bench: venv ## Measure it beside stock peers (ROUNDS= SECONDS= DRAWING= ONLY= QUICK=1 KEEP=1 REUSE=1 RECORD=1)
	@$(VENV)/bin/python bench --inventory $(DRAWING) --rounds $(ROUNDS) --seconds $(SECONDS) \
		$(if $(ONLY),--only "$(ONLY)") $(if $(QUICK),--quick) $(if $(KEEP),--keep) $(if $(REUSE),--reuse) $(if $(RECORD),--record)

deploy-demo: venv ## Show a good release, a broken one and a rollback in the lab, under load (KEEP=1)
	@$(VENV)/bin/python tests/deploy_demo.py $(if $(KEEP),--keep)

check: venv-test ## Static checks only, in under a minute
	@tests/run check

test: venv-test ## The daily gate: static checks, the monolith raised, broken and proven, the advanced one raised and proven
	@tests/run test

test-full: venv-test ## All of it, the long ones too
	@tests/run full

lock: ## Write the lock files anew (needs uv)
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
	uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --group test -o requirements-test.lock

clean: ## Remove what was made here, secrets excepted
	rm -rf $(VENV) .cache build .pytest_cache .ruff_cache
