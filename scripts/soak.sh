#!/usr/bin/env bash
# The whole reliability programme: every crash point at every step, in both ways; kills at seeded
# bytes; replicas; and many seeds of the simulation. Takes an hour or two.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Longest time of each step, in seconds.
readonly BUILD=1800
readonly SOAK=21600
# Stories of the crash tests that are told at the same time.
readonly AT_ONCE=12

usage() {
  cat <<TEXT
Usage: scripts/soak.sh [--seeds N]

Runs the tests that are named soak_, and N seeds (10000) of the simulation of queue and leases.
Prints points, deaths, ambiguous outcomes, duplicates, losses and times to resume. Exit status: 0 when
everything holds, 1 when something does not, 2 when the command line is wrong.
TEXT
}

seeds=10000
while [ $# -gt 0 ]; do
  case $1 in
    --seeds)
      [[ ${2:-} =~ ^[0-9]+$ ]] || { usage >&2 && exit 2; }
      seeds=$2
      shift 2
      ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
  esac
done

scripts/test.sh --only crash
readonly TESTS=(cargo test --locked --profile soak --features fail-points,weaken --test it)
timeout --kill-after=20 "$BUILD" "${TESTS[@]}" --no-run
timeout --kill-after=20 "$SOAK" env \
  ADO_COWORKER_TEST_CRASH_BINARY="$PWD/target/soak/ado-coworker" ADO_COWORKER_TEST_SEEDS="$seeds" \
  ADO_COWORKER_TEST_AT_ONCE="$AT_ONCE" \
  "${TESTS[@]}" -- --ignored --nocapture --test-threads 1 soak_
