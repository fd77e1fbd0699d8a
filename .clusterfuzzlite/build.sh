#!/bin/bash
# Puts into $OUT all that the target needs where it runs: itself, the kernel that it enters, and
# a corpus. The target carries its engine: it boots the kernel with itself as the program.
set -euo pipefail
cd "$SRC/inflight"
cargo build --release --manifest-path fuzz/Cargo.toml --target-dir target --locked --bin scenario
cp target/release/scenario "$OUT/scenario-in-kernel"
cp /usr/local/bin/inflight /kernel/*.tar.gz "$OUT"
# It ends with _fuzzer so that it is taken for a target.
cat >"$OUT/scenario_fuzzer" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
INFLIGHT_CACHE=$(mktemp -d)
INFLIGHT_KERNEL=6.12-patched-kcov
export INFLIGHT_CACHE INFLIGHT_KERNEL
trap 'rm -rf "$INFLIGHT_CACHE"' EXIT
"$here/inflight" kernel import "$here"/*.tar.gz >&2
"$here/scenario-in-kernel" "$@"
WRAPPER
chmod +x "$OUT/scenario_fuzzer"
# Files of several folders have one name.
(cd corpus && find . -name '*.scn' -print0 | xargs -0 zip -q "$OUT/scenario_fuzzer_seed_corpus.zip")
