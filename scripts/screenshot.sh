#!/usr/bin/env bash
# Makes the pictures of README.md, docs/page.png and docs/work.png, from the real page.
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
cp "$folder/page.png" "$folder/work.png" docs/
echo "docs/page.png and docs/work.png are new" >&2
