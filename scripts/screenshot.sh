#!/usr/bin/env bash
# Makes docs/page.png, the picture in README.md, from the real page.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if [ ! -d .test/node_modules/playwright-core ]; then
  echo "run scripts/test.sh --only browser first: it installs the browser and what drives it" >&2
  exit 1
fi
timeout 1200 cargo build --locked
timeout 600 node tests/browser/main_job.mjs --screenshots "$folder"
mkdir -p docs
cp "$folder/run-light.png" docs/page.png
echo "docs/page.png is new" >&2
