#!/usr/bin/env bash
# Everything that must hold, in one command. Installs what the tests need where it can.
# The parts are called by name, which shellcheck does not see.
# shellcheck disable=SC2317
set -euo pipefail

readonly PARTS=(fmt compose clippy test crash exchanges browser)
readonly PLAYWRIGHT=1.65.1
readonly AXE=4.14.0
readonly AZURE_DEVOPS=7.1.0b4
readonly KUBERNETES_VALIDATE=1.37.0
# The Kubernetes whose schemas the manifests must fit.
readonly KUBERNETES=1.31
# Official documents and recordings of the service; beside the repository where they are at hand.
readonly REFERENCE=../shared/azure-devops
# Longest time of each step, in seconds.
readonly -A LIMIT=([install]=600 [fmt]=60 [compose]=60 [clippy]=1500 [test]=1800 [crash]=600 [build]=1200 [exchanges]=300 [browser]=600)

cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<TEXT
Usage: scripts/test.sh [--only PART]

Parts, in this order:
  fmt       cargo fmt --check
  compose   compose.yaml is one that docker-compose reads, with and without its profile, and the manifests
            of deploy/kubernetes fit the schemas of Kubernetes
  clippy    cargo clippy, warnings are errors
  test      cargo test: unit tests, the house rules, the main job by its API, and clients that we
            did not write (git, the official Python client) against the simulated organisation
  crash     the process is killed once at every point of its work, and at seeded bytes; two
            replicas; and each defence is switched off once, to see that the checks notice, and that
            it is what stops its attacks.
            scripts/soak.sh runs all points, steps and seeds
  exchanges what went to and fro in the tests, against the official documents and recordings
            of the service, where ../shared is present
  browser   the main job and the approvals in Chromium, against the built program

What a part needs is installed first where it can be: with apt-get, as root or with sudo, and
from npm and PyPI into .test/. Exit status: 0 when everything holds, 1 when something does not, 2 when
the command line is wrong.
TEXT
}

say() { printf '%s\n' "$*" >&2; }

# limited NAME COMMAND...: runs it for at most LIMIT[NAME] seconds.
limited() {
  local name=$1 status=0
  shift
  timeout --kill-after=20 "${LIMIT[$name]}" "$@" || status=$?
  if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
    say "$name: stopped after ${LIMIT[$name]} seconds: $*"
  fi
  return "$status"
}

# have_command COMMAND PACKAGE WHY: it is there, or is installed from Debian's PACKAGE.
have_command() {
  local command=$1 package=$2 why=$3
  command -v "$command" >/dev/null && return 0
  have_package "$package" "$why" || return 1
  if ! command -v "$command" >/dev/null; then
    say "$package was installed, but $command is still missing. It is needed to $why."
    return 1
  fi
}

# have_package PACKAGE WHY: installs Debian's PACKAGE, as root or with sudo.
have_package() {
  local package=$1 why=$2
  local -a as_root=()
  if ! command -v apt-get >/dev/null; then
    say "$package is missing. It is needed to $why. This system has no apt-get: install $package and run this again."
    return 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      say "$package is missing. It is needed to $why. Install it: apt-get install $package"
      return 1
    fi
    as_root=(sudo -n)
  fi
  say "installing $package, which is needed to $why"
  if [ -z "${APT_IS_FRESH:-}" ]; then
    limited install "${as_root[@]}" apt-get update -qq || return 1
    APT_IS_FRESH=yes
  fi
  limited install "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$package" >/dev/null || return 1
}

have_rust() {
  if ! command -v cargo >/dev/null; then
    say "cargo is missing. It is needed to build and test the program: install Rust from https://rustup.rs"
    return 1
  fi
  have_command cc gcc "compile SQLite, libgit2 and ring" || return 1
  have_command git git "run the simulated organisation's repositories"
}

installed_version() {
  node -p "try { require('./.test/node_modules/$1/package.json').version } catch { '' }"
}

have_browser() {
  have_command node nodejs "run the browser tests" || return 1
  have_command npm npm "fetch the library that drives the browser" || return 1
  [ -x "${CHROMIUM:-}" ] || have_command chromium chromium "look at the page in a real browser" || return 1
  mkdir -p .test
  if [ "$(installed_version playwright-core)" != "$PLAYWRIGHT" ] ||
    [ "$(installed_version @axe-core/playwright)" != "$AXE" ]; then
    say "fetching playwright-core $PLAYWRIGHT and @axe-core/playwright $AXE into .test/"
    limited install npm install --prefix .test --no-save --no-audit --no-fund --loglevel=error --ignore-scripts \
      "playwright-core@$PLAYWRIGHT" "@axe-core/playwright@$AXE" >&2
  fi
}

# have_venv WHY: .test/venv is there.
have_venv() {
  local python=.test/venv/bin/python
  have_command python3 python3 "$1" || return 1
  if [ ! -x "$python" ]; then
    python3 -c 'import ensurepip' 2>/dev/null || have_package python3-venv "make .test/venv" || return 1
    say "making .test/venv"
    limited install python3 -m venv .test/venv || return 1
  fi
}

have_python() {
  local python=.test/venv/bin/python
  have_venv "drive the simulated organisation with the official Python client" || return 1
  if [[ $("$python" -m pip show azure-devops 2>/dev/null) != *"Version: $AZURE_DEVOPS"* ]]; then
    say "fetching azure-devops $AZURE_DEVOPS into .test/venv"
    limited install "$python" -m pip install --quiet --disable-pip-version-check "azure-devops==$AZURE_DEVOPS" >&2
  fi
}

part_fmt() {
  have_rust || return 1
  limited fmt cargo fmt --check
}

part_compose() {
  have_command docker-compose docker-compose "check compose.yaml" || return 1
  limited compose docker-compose --file compose.yaml config --quiet || return 1
  limited compose docker-compose --file compose.yaml --profile real config --quiet || return 1
  local python=.test/venv/bin/python
  have_venv "check the manifests of Kubernetes" || return 1
  if [[ $("$python" -m pip show kubernetes-validate 2>/dev/null) != *"Version: $KUBERNETES_VALIDATE"* ]]; then
    say "fetching kubernetes-validate $KUBERNETES_VALIDATE into .test/venv"
    limited install "$python" -m pip install --quiet --disable-pip-version-check \
      "kubernetes-validate==$KUBERNETES_VALIDATE" >&2 || return 1
  fi
  limited compose .test/venv/bin/kubernetes-validate --strict --quiet --kubernetes-version "$KUBERNETES" \
    deploy/kubernetes/*.yaml
}

part_clippy() {
  have_rust || return 1
  limited clippy cargo clippy --locked --all-targets -- -D warnings
}

# The tests start a server of their own; only its programs are needed.
have_postgres() {
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return 0
  have_package postgresql "run the journal's tests on PostgreSQL, in a folder of their own" || return 1
  if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    say "postgresql was installed, but /usr/lib/postgresql/*/bin/initdb is missing. The journal's tests need it."
    return 1
  fi
}

part_test() {
  have_rust || return 1
  have_python || return 1
  have_postgres || return 1
  local -a recording=()
  if [ -d "$REFERENCE" ]; then
    rm -rf .test/exchanges
    recording=("ADO_COWORKER_TEST_EXCHANGES=$PWD/.test/exchanges")
  fi
  limited test env "${recording[@]}" ADO_COWORKER_TEST_PYTHON=.test/venv/bin/python cargo test --locked --no-fail-fast
}

part_crash() {
  have_rust || return 1
  have_postgres || return 1
  # Beside the binary that everything else uses: both are built in one folder, where all that
  # they share is built once.
  limited build cargo build --locked --features fail-points,weaken --bin ado-coworker || return 1
  mkdir -p target/fail-points
  cp target/debug/ado-coworker target/fail-points/ado-coworker
  limited build cargo test --locked --test it --no-run || return 1
  limited crash env ADO_COWORKER_TEST_CRASH_BINARY="$PWD/target/fail-points/ado-coworker" \
    cargo test --locked --test it -- --ignored --nocapture --skip soak_ crash:: || return 1
  # With each defence switched off once, its attacks must come through.
  limited crash env ADO_COWORKER_TEST_WEAK_BINARY="$PWD/target/fail-points/ado-coworker" \
    cargo test --locked --test it -- --ignored --nocapture scenario::
}

part_exchanges() {
  local -a recorded=()
  if [ ! -d "$REFERENCE" ]; then
    say "$REFERENCE is not here: nothing to compare with"
    return 0
  fi
  have_rust || return 1
  have_command python3 python3 "compare exchanges with the official documents" || return 1
  limited build cargo build --locked || return 1
  if [ -d .test/exchanges ]; then
    recorded=(--exchanges .test/exchanges)
  else
    say "no exchanges of the tests are here (part test writes them down): only recordings are replayed"
  fi
  limited exchanges python3 scripts/check_exchanges.py "${recorded[@]}"
}

part_browser() {
  have_rust || return 1
  have_browser || return 1
  # The profile of `cargo run` and `cargo test`: all three share one build.
  limited build cargo build --locked || return 1
  limited browser node tests/browser/main_job.mjs || return 1
  limited browser node tests/browser/replay.mjs || return 1
  limited browser node tests/browser/approvals.mjs
}

main() {
  local -a chosen=("${PARTS[@]}") summary=()
  local part began status failed=0
  while [ $# -gt 0 ]; do
    case $1 in
      --only)
        if [[ " ${PARTS[*]} " != *" ${2:-none} "* ]]; then
          say "--only wants one of: ${PARTS[*]}"
          exit 2
        fi
        chosen=("$2")
        shift 2
        ;;
      -h | --help) usage && exit 0 ;;
      *) usage >&2 && exit 2 ;;
    esac
  done
  for part in "${chosen[@]}"; do
    say "== $part"
    began=$SECONDS status=0
    "part_$part" || status=$?
    if [ "$status" -eq 0 ]; then
      summary+=("$(printf '%-9s ok      %4d s' "$part" $((SECONDS - began)))")
    else
      summary+=("$(printf '%-9s FAILED  %4d s' "$part" $((SECONDS - began)))")
      failed=1
    fi
  done
  say "== summary"
  printf '%s\n' "${summary[@]}" "$(printf '%-9s %-7s %4d s' all "$([ $failed = 0 ] && echo ok || echo FAILED)" "$SECONDS")"
  exit "$failed"
}

main "$@"
